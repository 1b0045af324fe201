"""From a profile to trained networks and scores: what one notebook makes, the next one loads."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .conv_fusion import fuse_streams
from .device import processes, wait_for_all
from .evaluation import Scores, score
from .fusion import METHODS, weigh
from .profiles import INPUTS, Profile, Recipe
from .splits import class_order, given_split, group_folds, hold_out_groups, official_split
from .stacks import StackDataset
from .store import FrameStore
from .training import fit, train_epoch
from .vgg import VGG, vgg19


@dataclass
class Course:
    """One data set, one split and one seed at the sizes of a profile.

    ``train``, ``val`` and ``test`` are clip names, no group in two of them. Checkpoints and score
    files are in ``run_dir`` under names that follow from everything that shaped them. The networks
    are ``"spatial"``, ``"temporal"`` and ``"conv"``. ``choices`` are those of
    ``conv_fusion.fuse_streams``, such as ``form="seed"``, and go before the profile's; ``network``
    among them is what makes another fusion out of the two streams.
    """

    profile: Profile
    store: FrameStore
    run_dir: Path
    split: int = 1
    seed: int = 0
    workers: int = 0
    sides: dict[str, str] | None = None  # a split of one's own: clip to "train", "val" or "test"
    scratch: Path | None = None  # for unfinished checkpoints; otherwise they lie in run_dir

    def __post_init__(self):
        wanted = self.profile.classes
        labels = {c: self.store.label(c) for c in self.store.clips}
        labels = {c: label for c, label in labels.items() if not wanted or label in wanted}
        groups = {c: self.store.group(c) for c in labels}
        self.classes = class_order(labels.values())
        if len(self.classes) < 2:
            raise ValueError(f"{self.store.root} has one class, {self.classes}: a course needs two")
        sides = {c: s for c, s in (self.sides or self.store.sides).items() if c in labels}
        self.val: list[str] = []
        if sides:
            self.train, self.val, self.test = given_split(sides)
        elif self.profile.split_rule == "official":
            self.train, self.test = official_split(groups, self.split)
        else:
            folds = group_folds(groups, max(2, min(3, len({*groups.values()}))), seed=0)
            if not 1 <= self.split <= len(folds):
                raise ValueError(f"split {self.split}: this data set has folds 1 to {len(folds)}")
            self.train, self.test = folds[self.split - 1]
        for part in "train", "test":
            if not getattr(self, part):
                raise ValueError(
                    f"no clips to {part} on: of the {len(groups)} clips in {self.store.root} that "
                    f"profile {self.profile.name!r} takes, split {self.split} has none for it. "
                    "data_scripts/verify.py lists what is missing"
                )
        if (share := self.profile.val_fraction) > 0 and not self.val:
            self.train, self.val = hold_out_groups(self.train, groups, share, 0, labels)

    def dataset(
        self, part: str, streams: tuple[str, ...] = ("rgb", "flow"), crops: str | None = None,
        over_time: bool = False,
    ) -> StackDataset:  # fmt: skip
        """Return the stacks of ``part``: ``"train"`` (random views), ``"val"`` or ``"test"``.

        Test views are cut as the profile says. ``crops`` asks for test views of any part and for
        another cut, see ``views.eval_views``. ``over_time`` takes all of the profile's ``chunks``.
        """
        if part not in ("train", "val", "test"):
            raise ValueError(f"no part {part!r} of the clips; there are 'train', 'val' and 'test'")
        clips, p = getattr(self, part), self.profile
        return StackDataset(
            self.store, clips, self.classes, p.over_time() if over_time and p.chunks > 1 else p,
            streams, train=part == "train" and crops is None, seed=self.seed,
            repeat=max(1, math.ceil(p.epoch_clips / max(1, len(clips)))), crops=crops or p.crops,
        )  # fmt: skip

    def groups(self, clips: Sequence[str]) -> list[str]:
        """Return what each clip shares with others, as keys of ``evaluation.bootstrap_interval``.

        Where the split is UCF101's, g07 of one class and g07 of another are two people, so the key
        is class and group; elsewhere one person may act in every class, and the group is the key.
        """
        official = self.profile.split_rule == "official"
        return [self.store.label(c) * official + self.store.group(c) for c in clips]

    def recipe(self, name: str) -> Recipe:
        """Return how a network is trained here. Raises ``ValueError`` for a name that is none."""
        if name not in INPUTS:
            raise ValueError(f"no network {name!r}; there are {', '.join(INPUTS)}")
        recipe, clips = getattr(self.profile, name), self.profile.recipe_clips or len(self.train)
        return replace(recipe, steps=round(recipe.steps * (len(self.train) / clips) ** 0.5))

    def new_stream(self, name: str) -> VGG:
        """Return an untrained stream: pre-trained VGG-19 with its first layer transformed."""
        p, _ = self.profile, self.recipe(name)  # which says so if there is no such network
        (kind,), classes = INPUTS[name], len(self.classes)
        how = p.rgb_first_layer if kind == "rgb" else p.flow_first_layer
        torch.manual_seed(self.seed)
        model = vgg19(p.channels[kind], classes, p.width, p.batch_norm, p.weights, how)
        return self.with_dropout(name, model)

    def with_dropout(self, name: str, model: nn.Module) -> nn.Module:
        """Give both hidden layers of each classifier in ``model`` the dropout of the recipe."""
        rates = cycle(np.broadcast_to(self.recipe(name).dropout, 2).tolist())
        for layer in model.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = next(rates)
        return model

    def new(self, name: str, **choices) -> nn.Module:
        """Return an untrained network; conv fusion starts from both trained streams."""
        if name != "conv":
            return self.new_stream(name)
        trunks = self.trained("spatial"), self.trained("temporal")
        torch.manual_seed(self.seed)  # after them: training draws, loading does not
        choices = self._choices(choices)
        return self.with_dropout(name, choices.pop("network", fuse_streams)(*trunks, **choices))

    def _over_time(self, name: str, choices: dict) -> bool:
        return name == "conv" and self._choices(choices).get("chunks", 1) > 1

    def _choices(self, choices: dict) -> dict:
        """What conv fusion is made with: ``choices``, and the profile's where they say nothing."""
        own = {} if "network" in choices else self.profile.fusion_choices
        return {"train_trunks": self.recipe("conv").trunk_lr > 0} | own | choices

    @cached_property
    def _data(self) -> str:
        """What names the course's clips; others in the same folder do not count."""
        return self.store.fingerprint([*self.train, *self.val, *self.test])

    def checkpoint(self, name: str, **choices) -> Path:
        """Return the path of a network's checkpoint."""
        self.recipe(name)
        settings = self.profile.shaping(name) | {"classes": self.classes, "data": self._data}
        if name == "conv":
            choices = self._choices(choices)
            named = {"network": choices["network"].__name__} if "network" in choices else {}
            settings |= {"fusion": choices | named}
        folder = self.run_dir / f"split{self.split}_seed{self.seed}"
        text = json.dumps(settings, sort_keys=True, default=str)
        return folder / f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:8]}.pt"

    def fit(
        self, name: str, model: nn.Module, on_epoch: Callable[[list[dict]], None] | None = None,
        compiled: bool = False, loop: Callable = train_epoch, **choices,
    ) -> list[dict]:  # fmt: skip
        """Train ``model`` as ``name``, or load it if it is complete (see ``training.fit``)."""
        over = self._over_time(name, choices)
        checkpoint = self.checkpoint(name, **choices)
        scratch = self.scratch and self.scratch / checkpoint.parent.relative_to(self.run_dir.parent)
        val = self.dataset("val", INPUTS[name], "single", over) if self.val else None
        return fit(
            model, self.dataset("train", INPUTS[name], over_time=over), self.recipe(name),
            checkpoint, val, seed=self.seed, workers=self.workers, scratch=scratch,
            on_epoch=on_epoch, val_every=self.profile.val_every, compiled=compiled, loop=loop,
        )  # fmt: skip

    def trained(self, name: str, **choices) -> nn.Module:
        """Return a trained network: loaded if it is there and trained if it is not."""
        model = self.new(name, **choices)
        self.fit(name, model, **choices)
        return model

    def scores(self, name: str, part: str = "test", crops: str | None = None, **choices) -> Scores:
        """Return the scores on ``part``, from their file if there; ``crops`` as in `dataset`."""
        crops = crops or self.profile.crops
        which = [f"{self.profile.positions}x2", *sorted({part, crops} - {"test", "centre"})]
        checkpoint = self.checkpoint(name, **choices)
        path = checkpoint.with_name(f"{checkpoint.stem}_{'_'.join(which)}.npz")
        dataset = self.dataset(part, INPUTS[name], crops, self._over_time(name, choices))
        if path.exists() and (kept := Scores.load(path)).clips == tuple(dataset.clips):
            return kept
        model = self.new(name, **choices)
        seconds = sum(row["seconds"] for row in self.fit(name, model, **choices))
        began = time.perf_counter()
        scores = score(model, dataset, workers=self.workers)
        scores = replace(scores, seconds=seconds + time.perf_counter() - began)
        if processes()[0] == 0:
            scores.save(path)
        wait_for_all()  # else one process would find the file and another would score again
        return scores

    def held_out(self) -> list[tuple[Course, str]]:
        """Return courses, each with the part of its clips whose groups it does not train on.

        This one and "val", or, for all seeds, one for each half of the training groups; or none.
        """
        if self.val:
            return [(self, "val")]
        groups = {clip: self.store.group(clip) for clip in self.train}
        folds = group_folds(groups, 2) if len({*groups.values()}) > 1 else []
        sides = [dict.fromkeys(a, "train") | dict.fromkeys(b, "test") for a, b in folds]
        return [(replace(self, seed=0, run_dir=self.run_dir / f"half{k}", sides=half), "test")
                for k, half in enumerate(sides, 1)]  # fmt: skip

    @cached_property
    def weights(self) -> tuple[tuple[float, ...], float]:
        """``fusion.weigh`` of all networks on :meth:`held_out`, and the seconds that it took."""
        found = [[c.scores(name, part) for name in INPUTS] for c, part in self.held_out()]
        if not found:
            return (1.0,) * len(INPUTS), 0.0
        logits = np.concatenate([[s.clip_logits() for s in each] for each in found], axis=1)
        seconds = sum(s.seconds for each in found for s in each) * (not self.val)
        return weigh(logits, np.concatenate([each[0].labels for each in found])), seconds

    def method_scores(self, crops: str | None = None, view: int | None = None) -> dict[str, tuple]:
        """Return ``{method: (probabilities (N, classes), labels (N,), seconds)}`` of ``METHODS``.

        ``crops`` as in :meth:`scores`; ``view`` takes one of the views in place of their mean.
        """
        found = {}
        for key, method in METHODS.items():
            logits, seconds = {}, 0.0
            for name in method.networks:
                told = self.scores(name, crops=crops, **(method.choices if name == "conv" else {}))
                logits[name] = told.clip_logits() if view is None else told.logits[:, view]
                seconds += told.seconds
            if method.weighted:
                logits["weights"], more = self.weights
                seconds += more
            found[key] = method.fuse(logits), told.labels, seconds
        return found
