"""Trained networks with all that it takes to ask them: what they answer, how often they were right
on held-out clips, and one file that takes them to another machine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.metrics import confusion_matrix
from torch import nn

from ..conv_fusion import ConvFusion, fuse_streams
from ..course import INPUTS, Course
from ..device import Prepared, pick_device, to_model_layout
from ..evaluation import score, view_logits
from ..files import atomic_write
from ..fusion import METHODS
from ..profiles import Profile
from ..stacks import normalise, read_stacks
from ..store import FrameStore
from ..vgg import VGG
from ..views import eval_views
from .start import sentence_alone


@dataclass(frozen=True)
class Prediction:
    """What every method predicts for one clip.

    ``scores`` maps keys of ``fusion.METHODS`` to probabilities ``(classes,)`` float64; ``logits``
    holds what the networks gave, the mean over the clip's views. ``answer`` is the class that
    ``method`` prefers: weighted fusion or the average where they are there, else the one stream.
    """

    clip: str
    classes: tuple[str, ...]
    scores: dict[str, np.ndarray]
    logits: dict[str, np.ndarray] = field(repr=False)

    @property
    def method(self) -> str:
        """The method that gives the answer."""
        return answering(self.scores)

    @property
    def answer(self) -> str:
        """The class that ``method`` prefers."""
        return self.top(self.method, 1)[0][0]

    def top(self, method: str, k: int = 5) -> list[tuple[str, float]]:
        """Return the ``k`` best classes of a method with their probabilities, best first."""
        values = self.scores[method]
        best = np.argsort(-values, kind="stable")[:k]
        return [(self.classes[i], float(values[i])) for i in best]


@dataclass(frozen=True)
class Trained:
    """Networks, and what they have to be asked with.

    ``networks`` maps ``"spatial"``, ``"temporal"`` and ``"conv"``, or some of them, to networks for
    the stacks of ``profile`` and the same ``classes``. ``held_out`` is the confusion matrix of
    their answer on clips that they were not trained on, ``(classes, classes)`` int64, true rows.
    ``weights`` are those of ``fusion.weigh``, where all three are as the course trained them.
    """

    networks: dict[str, nn.Module]
    profile: Profile
    classes: tuple[str, ...]
    held_out: np.ndarray
    weights: tuple[float, ...] = ()

    def predict(self, store: FrameStore, clip: str) -> Prediction:
        """Return what the networks predict for one clip, the mean over its test views."""
        device, own = pick_device(), self.profile
        size = store.size(clip)
        logits = {}
        for name, network in self.networks.items():
            sizes = own.over_time() if name == "conv" and own.chunks > 1 else own
            views = eval_views(store.n_frames(clip), size, sizes, sizes.crops)
            stacks = []
            for stream in INPUTS[name]:
                read = read_stacks(store, clip, views, sizes, stream)
                stacks.append(normalise(read.to(device), stream))
            ready = Prepared(to_model_layout(network, device), device)
            of_views, _ = view_logits(ready, [(stacks, torch.zeros(1))])
            logits[name] = of_views[0].mean(0).cpu().numpy()
        return Prediction(clip, self.classes, fused(logits, self.weights), logits)

    def record(self, answer: str) -> str:
        """Say in a sentence how far an answer could be trusted on held-out clips."""
        k = self.classes.index(answer)
        clips, said, right = self.held_out[k].sum(), self.held_out[:, k].sum(), self.held_out[k, k]
        return (
            f"On held-out clips: {clips} showed {answer} and {right} of them were recognised; the "
            f"answer {answer} came {said} times and was right {right} times."
        )

    def save(self, path: str | os.PathLike) -> Path:
        """Write everything to one safetensors file and return its path.

        Of conv fusion only what its training changed is written: the rest are both streams.
        """
        tensors = {}
        for name, network in self.networks.items():
            same = self._fusion().state_dict() if name == "conv" else {}
            for key, tensor in network.state_dict().items():
                tensor = tensor.detach().cpu().contiguous()
                if key not in same or not torch.equal(tensor, same[key].cpu()):
                    tensors[f"{name}.{key}"] = tensor
        sizes = {k: v for k, v in asdict(self.profile).items() if k not in (*INPUTS, "classes")}
        told = {"profile": sizes, "classes": self.classes, "networks": list(self.networks)}
        told |= {"held_out": np.asarray(self.held_out).tolist(), "weights": self.weights}
        with atomic_write(path := Path(path)) as part:
            save_file(tensors, part, {"two_stream": json.dumps(told)})
        return path

    @classmethod
    @sentence_alone()
    def load(cls, path: str | os.PathLike) -> Trained:
        """Read what :meth:`save` wrote, as data only: no code of the file runs.

        Raises ``FileNotFoundError``, and ``ValueError`` for another kind of file.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no file {path}")
        try:
            with safe_open(str(path), "pt") as file:
                told = json.loads((file.metadata() or {})["two_stream"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}
            profile, classes = Profile(**told["profile"]), tuple(told["classes"])
            wanted = sorted(told["networks"], key=[*INPUTS].index)  # conv is made of the others
            networks = {
                name: VGG(profile.channels[INPUTS[name][0]], len(classes), profile.width,
                          profile.batch_norm) for name in wanted if name != "conv"
            }  # fmt: skip
            held_out, weights = np.array(told["held_out"], np.int64), tuple(told["weights"])
            found = cls(networks, profile, classes, held_out, weights)
            for name in wanted:
                model = networks[name] if name in networks else found._fusion()
                own = {k.removeprefix(f"{name}."): t for k, t in tensors.items()
                       if k.startswith(f"{name}.")}  # fmt: skip
                model.load_state_dict((model.state_dict() if name == "conv" else {}) | own)
                networks[name] = model.eval()
        except (SafetensorError, KeyError, TypeError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"{path} does not hold networks that this version of the course can read: make it "
                f"with Trained.save ({type(error).__name__}: {error})"
            ) from None
        return found

    def _fusion(self) -> ConvFusion:
        """Conv fusion of both streams before any training."""
        streams = self.networks["spatial"], self.networks["temporal"]
        return fuse_streams(*streams, **self.profile.fusion_choices)


def trained(course: Course, networks: Mapping[str, nn.Module] | None = None) -> Trained:
    """Return the networks of a course with their record on its test clips.

    They are trained if they are not yet. ``networks`` takes the place of the course's own, for
    instance fine-tuned ones.
    """
    logits, own = {}, networks is None
    networks = {name: course.trained(name) for name in INPUTS} if own else dict(networks)
    for name, model in networks.items():
        clips = course.dataset("test", INPUTS[name], over_time=name == "conv")
        found = course.scores(name) if own else score(model, clips)
        logits[name], labels = found.clip_logits(), found.labels
    weights = course.weights[0] if own else ()
    methods = fused(logits, weights)
    said, every = methods[answering(methods)].argmax(axis=1), range(len(course.classes))
    held_out = confusion_matrix(labels, said, labels=every)
    return Trained(networks, course.profile, tuple(course.classes), held_out, weights)


def fused(
    logits: Mapping[str, np.ndarray], weights: tuple[float, ...] = ()
) -> dict[str, np.ndarray]:
    """Return the probabilities of every method of ``METHODS`` that has its logits and weights."""
    return {
        key: method.fuse({**logits, "weights": weights}) for key, method in METHODS.items()
        if not method.choices and set(method.networks) <= set(logits)
        and (weights or not method.weighted)
    }  # fmt: skip


def answering(methods: Mapping[str, object]) -> str:
    """Return the key of the method that gives the answer: a fusion, else the first there is."""
    return next(key for key in ("weighted_fusion", "average_fusion", *methods) if key in methods)
