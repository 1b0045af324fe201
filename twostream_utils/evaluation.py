"""Scores of clips, saved once; every accuracy, interval and table is computed from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .device import Prepared, pick_device, processes, to_model_layout
from .files import atomic_write
from .stacks import StackDataset, inputs, make_loader, worker_trouble_explained


@dataclass(frozen=True)
class Scores:
    """The logits of every view of every test clip.

    ``clips`` N names, ``labels`` ``(N,)`` int64, ``logits`` ``(N, V, classes)`` float32,
    ``classes`` their names, ``seconds`` the time that training and scoring took.
    """

    clips: tuple[str, ...]
    labels: np.ndarray
    logits: np.ndarray
    classes: tuple[str, ...]
    seconds: float = 0.0

    def clip_logits(self) -> np.ndarray:
        """One row of logits a clip: the mean over its views, ``(N, classes)`` float32."""
        return self.logits.mean(axis=1)

    def save(self, path: str | Path) -> None:
        """Write the scores to ``path`` (npz, no pickles), aside and then renamed."""
        with atomic_write(path) as part, open(part, "wb") as file:
            np.savez_compressed(file, **vars(self))

    @classmethod
    def load(cls, path: str | Path) -> Scores:
        """Read scores back. Raises ``ValueError`` naming a file that is damaged."""
        try:
            with np.load(path, allow_pickle=False) as f:
                clips, classes = tuple(f["clips"].tolist()), tuple(f["classes"].tolist())
                return cls(clips, f["labels"], f["logits"], classes, float(f["seconds"]))
        except FileNotFoundError:
            raise
        except Exception as error:
            fault = f"{path} is no score file ({error}); delete it to score again"
            raise ValueError(fault) from error


def view_logits(network: nn.Module, loader: Iterable) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits of every view ``(N, V, classes)`` float32, and the labels ``(N,)`` int64.

    ``loader`` yields ``(stacks, labels)`` as ``stacks.inputs`` does: a list of ``(B·V, C, H, W)``,
    one a stream, in which all views of a clip lie side by side, and ``(B,)``.
    """
    network.eval()
    found, wanted = [], []
    # Not inference_mode: what moves to the device under it could never be trained again.
    with torch.no_grad():
        for stacks, labels in loader:
            logits = network(*stacks)
            found.append(logits.unflatten(0, (len(labels), -1)))
            wanted.append(labels)
    return torch.cat(found), torch.cat(wanted)


def validate(network: nn.Module, loader: Iterable) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return the sum of losses, of right clips, and of clips; a clip's logits are its views' mean.

    ``loader`` as for :func:`view_logits`.
    """
    network.eval()
    loss_sum, right, seen = 0.0, 0, 0
    with torch.no_grad():
        for stacks, labels in loader:
            logits = network(*stacks).unflatten(0, (len(labels), -1)).mean(dim=1)
            loss_sum += nn.functional.cross_entropy(logits, labels, reduction="sum")
            right += (logits.argmax(dim=1) == labels).sum()
            seen += len(labels)
    return loss_sum, right, seen


@worker_trouble_explained()
def score(model: nn.Module, dataset: StackDataset, at_once: int = 48, workers: int = 0) -> Scores:
    """Score every test view of every clip of ``dataset`` (Simonyan & Zisserman 2014, §5).

    A batch has up to ``at_once`` views, but those of a clip stay together. Under torchrun each
    process scores every Nth clip, and all of them return the whole. Raises ``ValueError`` for a
    training dataset.
    """
    if dataset.train:
        raise ValueError("score needs a dataset of test views; make it with train=False")
    device = pick_device()
    clips = max(1, at_once // len(dataset.views(0)))
    batches = inputs(make_loader(dataset, clips, workers, 0), device, dataset.streams, "scoring")
    network = Prepared(to_model_layout(model, device), device)
    shares = [mine := list(view_logits(network, batches)[0].cpu().numpy())]
    if (count := processes()[1]) > 1:
        shares = [None] * count
        torch.distributed.all_gather_object(shares, mine)
    logits = [shares[clip % count][clip // count] for clip in range(len(dataset.clips))]
    labels = np.array(dataset.labels, dtype=np.int64)
    return Scores(tuple(dataset.clips), labels, np.stack(logits), tuple(dataset.classes))


def correct(scores: np.ndarray, labels: np.ndarray, k: int = 1) -> np.ndarray:
    """Return for each clip whether its label is among the k highest scores, ``(N,)`` bool.

    Raises ``ValueError`` for another number of labels.
    """
    if len(labels) != len(scores):
        raise ValueError(f"scores of {len(scores)} clips, but {len(labels)} labels")
    k = min(k, scores.shape[1])
    return (np.argsort(-scores, axis=1, kind="stable")[:, :k] == labels[:, None]).any(axis=1)


def bootstrap_interval(
    values: np.ndarray, groups: Sequence | None = None, confidence: float = 0.95,
    draws: int = 10_000, seed: int = 0,
) -> tuple[float, float]:  # fmt: skip
    """Return the percentile bootstrap interval of a mean (Efron 1979), over whole groups.

    ``values`` are those of clips, ``(N,)``: 0/1 for an accuracy, the difference of two methods for
    a paired comparison. Clips with equal keys in ``groups`` ``(N,)`` are drawn together
    (``course.Course.groups``), without it each one alone. Values of several trainings are
    ``(seeds, N)``: each draw then takes seeds as well. Raises ``ValueError`` for another number of
    keys than of clips.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    seeds, clips = values.shape
    keys = range(clips) if groups is None else groups
    if len(keys) != clips:
        raise ValueError(f"values of {clips} clips, but {len(keys)} groups")
    member = np.unique(np.asarray(keys), return_inverse=True)[1]
    sizes = np.bincount(member)
    sums = np.stack([np.bincount(member, row) for row in values])
    rng = np.random.default_rng(seed)
    times = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    chosen = rng.integers(len(sizes), size=(draws, len(sizes)))
    drawn = np.take_along_axis(times @ sums, chosen, axis=1).sum(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn / sizes[chosen].sum(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def paired_difference(
    better: np.ndarray, worse: np.ndarray, labels: np.ndarray, groups: Sequence | None = None
) -> tuple[float, tuple[float, float]]:
    """Top-1 of one method minus that of another on the same clips, with its bootstrap interval."""
    gain = correct(better, labels).astype(float) - correct(worse, labels)
    return float(gain.mean()), bootstrap_interval(gain, groups)
