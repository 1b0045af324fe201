"""From a profile to trained networks and scores: what one notebook makes, the next one loads."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from .conv_fusion import ConvFusion
from .device import PRECISIONS, processes, wait_for_all
from .evaluation import Scores, check_same_clips, score, summary, write_json
from .fusion import METHODS
from .profiles import INPUTS, Profile, Recipe
from .splits import Split, class_order, group_folds, hold_out_groups, official_split
from .stacks import StackDataset
from .store import FrameStore
from .training import History, fingerprint, fit, trained_with
from .vgg import VGG, vgg19

FOLDS = 3


@dataclass
class Course:
    """One data set, one split and one seed at the sizes of a profile.

    ``train``, ``val`` and ``test`` are clip names, no group in two of them. Checkpoints and score
    files lie in ``run_dir`` under names that follow from everything that shaped them: change a
    size and the networks are trained anew beside the old ones, change it back and they are there.
    """

    profile: Profile
    store: FrameStore
    run_dir: Path
    split: int = 1
    seed: int = 0
    workers: int = 0
    classes: list[str] = field(init=False)
    train: list[str] = field(init=False)
    val: list[str] = field(init=False)
    test: list[str] = field(init=False)

    def __post_init__(self):
        wanted = self.profile.classes
        groups = {c: self.store.group(c) for c in self.store.clips}
        if wanted:
            groups = {c: g for c, g in groups.items() if self.store.label(c) in wanted}
        labels = {c: self.store.label(c) for c in groups}
        self.classes = class_order(labels.values())
        self.train, self.test = self._split(groups)
        for what, part in {"train": self.train, "test": self.test}.items():
            if not part:
                raise ValueError(
                    f"no clips to {what} on: of the {len(groups)} clips in {self.store.root} that "
                    f"profile {self.profile.name!r} takes, split {self.split} has none for it. "
                    "data_scripts/verify.py lists what is missing"
                )
        self.val = []
        if self.profile.val_fraction > 0:
            self.train, self.val = hold_out_groups(
                self.train, groups, self.profile.val_fraction, seed=0, labels=labels
            )

    def _split(self, groups: dict[str, str]) -> Split:
        if self.profile.split_rule == "official":
            return official_split(groups, self.split)
        folds = group_folds(groups, FOLDS, seed=0)
        if not 1 <= self.split <= len(folds):
            raise ValueError(f"split {self.split}: this data set has folds 1 to {len(folds)}")
        return folds[self.split - 1]

    def dataset(
        self, part: str, streams: tuple[str, ...] = ("rgb", "flow"), crops: str | None = None
    ) -> StackDataset:
        """Return the stacks of ``part``: ``"train"`` (random views), ``"val"`` or ``"test"``.

        Test views are cut as the profile says. ``crops`` asks for test views of any part and for
        another cut, see ``views.eval_views``; validation during training takes the centre.
        """
        clips = {"train": self.train, "val": self.val, "test": self.test}[part]
        repeat = max(1, math.ceil(self.profile.epoch_clips / max(1, len(clips))))
        return StackDataset(
            self.store,
            clips,
            self.classes,
            self.profile,
            streams,
            train=part == "train" and crops is None,
            seed=self.seed,
            repeat=repeat,
            crops=crops or self.profile.crops,
        )

    def snippets(self, chunks: int) -> Course:
        """Return the same course on snippets: 1 RGB frame and 1/``chunks`` of the flow fields."""
        fields = self.profile.flow_fields // chunks
        snippet = replace(self.profile, rgb_frames=1, rgb_step=1, flow_fields=fields)
        return replace(self, profile=snippet)

    def recipe(self, name: str) -> Recipe:
        """Return how ``"spatial"``, ``"temporal"`` or ``"conv"`` is trained in this profile."""
        if name not in INPUTS:
            raise ValueError(f"no network {name!r}; there are {', '.join(INPUTS)}")
        return getattr(self.profile, name)

    def new_stream(self, name: str) -> VGG:
        """Return an untrained stream: pre-trained VGG-19 with its first layer transformed."""
        profile = self.profile
        (stream,) = INPUTS[name]
        torch.manual_seed(self.seed)
        model = vgg19(
            profile.channels[stream], len(self.classes), profile.width, profile.batch_norm,
            profile.weights, profile.rescale, self.recipe(name).dropout,
        )  # fmt: skip
        model.window = profile.crop // 32
        return model

    def new(self, name: str, **fusion) -> nn.Module:
        """Return the untrained network ``name``; conv fusion starts from both trained streams.

        ``fusion`` are choices of :class:`~twostream_utils.conv_fusion.ConvFusion`, such as
        ``kind="sum"``, and go before the profile's. With ``chunks`` the streams are those of
        :meth:`snippets`.
        """
        if name != "conv":
            return self.new_stream(name)
        fusion = self._choices(fusion)
        chunks = fusion.get("chunks", 1)
        streams = self.snippets(chunks) if chunks > 1 else self
        trunks = streams.trained("spatial"), streams.trained("temporal")
        torch.manual_seed(self.seed)  # after them: training draws, loading does not
        model = ConvFusion(*trunks, **fusion)
        for layer in model.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = self.recipe(name).dropout
        return model

    def _choices(self, fusion: dict) -> dict:
        """The choices of conv fusion: those given go before the profile's."""
        return {**self.profile.fusion, **fusion}

    @cached_property
    def _data(self) -> str:
        """What names the course's clips; others in the same folder do not count."""
        return self.store.fingerprint([*self.train, *self.val, *self.test])

    def _key(self, name: str, fusion: dict) -> str:
        sizes = self.profile.describe()
        others = {n for n in INPUTS if n != name} if name != "conv" else set()
        settings = {
            k: v
            for k, v in sizes.items()
            if k not in {*others, "title", "cache_gb", "positions", "crops", "fusion"}
        }
        settings |= {"classes": self.classes, "data": self._data}
        if name == "conv" and (choices := self._choices(fusion)):
            settings |= {"fusion": choices}
        return f"{name}_{fingerprint(settings)}"

    @property
    def _folder(self) -> Path:
        return self.run_dir / f"split{self.split}_seed{self.seed}"

    def checkpoint(self, name: str, **fusion) -> Path:
        """Return the path of the checkpoint of ``name``."""
        return self._folder / f"{self._key(name, fusion)}.pt"

    def fit(
        self,
        name: str,
        model: nn.Module,
        on_epoch: Callable[[History], None] | None = None,
        compiled: bool = False,
        **fusion,
    ) -> History:
        """Train ``model`` as ``name``, or load it if its checkpoint is complete.

        ``on_epoch`` and ``compiled`` as in :func:`~twostream_utils.training.fit`.
        """
        val = self.dataset("val", INPUTS[name], "centre") if self.val else None
        return fit(
            model, self.dataset("train", INPUTS[name]), self.recipe(name),
            self.checkpoint(name, **fusion), val, seed=self.seed, workers=self.workers,
            on_epoch=on_epoch, compiled=compiled,
        )  # fmt: skip

    def trained(self, name: str, **fusion) -> nn.Module:
        """Return the trained network ``name``: loaded if it is there and trained if it is not."""
        model = self.new(name, **fusion)
        self.fit(name, model, **fusion)
        return model

    def scores(self, name: str, part: str = "test", crops: str | None = None, **fusion) -> Scores:
        """Return the scores of ``name`` on the test views of ``part``, from their file if there.

        A file of other clips than those of ``part`` is made anew. ``crops`` are those of
        ``views.eval_views``; without them, those of the profile.
        """
        crops = crops or self.profile.crops
        which = [f"{self.profile.positions}x2", *sorted({part, crops} - {"test", "centre"})]
        path = self._folder / f"{self._key(name, fusion)}_{'_'.join(which)}.npz"
        dataset = self.dataset(part, INPUTS[name], crops)
        if path.exists() and (kept := Scores.load(path)).clips == tuple(dataset.clips):
            return kept
        model = self.new(name, **fusion)
        history = self.fit(name, model, **fusion)
        began = time.perf_counter()
        scores = score(model, dataset, workers=self.workers)
        seconds = sum(row["seconds"] for row in history) + time.perf_counter() - began
        scores = replace(scores, seconds=seconds)
        if processes()[0] == 0:
            scores.save(path)
        wait_for_all()  # else one process would find the file and another would score again
        return scores

    def method_scores(self, crops: str | None = None, view: int | None = None) -> dict[str, tuple]:
        """Return ``{method: (probabilities (N, classes), labels (N,), seconds)}`` of ``METHODS``.

        ``crops`` as in :meth:`scores`; ``view`` takes one of the views in place of their mean.
        """
        networks = {name: self.scores(name, crops=crops) for name in INPUTS}
        logits, labels = {}, networks["spatial"].labels
        for name, scores in networks.items():
            check_same_clips(networks["spatial"], scores)
            logits[name] = scores.clip_logits() if view is None else scores.logits[:, view]
        return {
            key: (method.fuse(logits), labels, sum(networks[n].seconds for n in method.networks))
            for key, method in METHODS.items()
        }

    def trained_with(self) -> dict[str, str]:
        """Return ``{"device", "precision", "torch"}`` of the training of all three networks.

        From their checkpoints, so it does not matter who asks; several values of one are joined.
        """
        sessions = [s for name in INPUTS for s in trained_with(self.checkpoint(name))]
        sessions = [s | {"precision": PRECISIONS[s["precision"]]} for s in sessions]
        return {
            what: " and ".join(dict.fromkeys(s[what] for s in sessions)) or "not recorded"
            for what in ("device", "precision", "torch")
        }

    def results(self) -> dict:
        """Return the content of ``results.json``, computed from the score files."""
        methods = {n: summary(*values) for n, values in self.method_scores().items()}
        made = self.trained_with()
        return {
            "profile": self.profile.name,
            "split": self.split,
            "n_train": len(self.train),
            "n_val": len(self.val),
            "n_test": len(self.test),
            "classes": self.classes,
            "seed": self.seed,
            "torch": made["torch"],
            "device": f"{made['device']}, {made['precision']}",
            "methods": methods,
        }

    def write_results(self) -> Path:
        """Write ``results.json`` to ``run_dir`` and return its path."""
        path = self.run_dir / "results.json"
        write_json(path, self.results())
        return path
