"""Checkers of notebook 10: fine-tuning, frame times, and flow of half the frames."""

import copy

import numpy as np
import torch
from torch import nn

from ...vgg import vgg19
from .checking import ExerciseError, as_array, checker, compare, number_question, returned

__all__ = ["fine_tune", "steady_frames", "growth"]


class _Batches:
    """Four batches of stacks whose class can be seen, and how often one went through them."""

    def __init__(self, classes):
        generator = torch.Generator().manual_seed(0)
        patterns = torch.rand(classes, 3, 32, 32, generator=generator)
        self.rounds, self.batches = 0, []
        for _ in range(4):
            labels = torch.randperm(2 * classes, generator=generator) % classes
            noise = torch.randn(len(labels), 3, 32, 32, generator=generator)
            self.batches.append(([3 * patterns[labels] + 0.1 * noise], labels))

    def __iter__(self):
        self.rounds += 1
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)

    def loss(self, model):
        with torch.no_grad():
            losses = [nn.functional.cross_entropy(model(*x), y) for x, y in self.batches]
        return float(sum(losses)) / len(losses)


@checker("New classes on old features, and nothing of the old network was touched.")
def fine_tune(answer):
    """``answer(stream, batches, classes, epochs, lr)`` → a new VGG, its classifier trained."""
    torch.manual_seed(0)
    stream = vgg19(3, 7, 1 / 16, batch_norm=True, dropout=0.2).eval()
    with torch.no_grad():  # weights that give features of some size, as trained ones do
        for layer in stream.classifier:
            if isinstance(layer, nn.Linear):
                layer.weight *= 8
    before = copy.deepcopy(stream.state_dict())
    batches, classes, epochs = _Batches(4), 4, 15
    model = returned(answer(stream, batches, classes, epochs, 0.02), "The network")
    if not isinstance(model, nn.Module) or not hasattr(model, "classifier"):
        raise ExerciseError(f"A network like the one that came in is asked for, not {model!r:.60}")
    last = [layer for layer in model.classifier if isinstance(layer, nn.Linear)][-1]
    if last.out_features != classes:
        raise ExerciseError(
            f"The last layer gives {last.out_features} numbers, but there are {classes} classes "
            "now: replace classifier[-1]"
        )
    if len(stream.classifier) != len(model.classifier):
        raise ExerciseError("A layer was added to the classifier; its last one should be replaced")
    now = stream.state_dict()
    if model is stream or any(
        now[key].shape != value.shape or not torch.equal(now[key], value)
        for key, value in before.items()
    ):
        raise ExerciseError("The stream that came in has changed: work on a copy (copy.deepcopy)")
    tuned = model.state_dict()
    changed = {key for key, value in before.items() if key.startswith("features.")
               and not torch.equal(tuned[key], value)}  # fmt: skip
    counted = {key for key in changed if "running_" in key or "num_batches" in key}
    if changed - counted:
        raise ExerciseError(
            "The convolutions were trained, too. From a few clips they'd forget what they know: "
            "give the optimiser the parameters of the classifier only"
        )
    if counted:
        raise ExerciseError(
            "No weight of the features changed, but their batch norm went on counting: its running "
            "mean and variance are others now. Call features.eval() after train()"
        )
    if batches.rounds != epochs:
        raise ExerciseError(f"The batches were gone through {batches.rounds} times, not {epochs}")
    if model.training:
        raise ExerciseError("The network is still in training mode: its dropout would go on")
    if torch.equal(tuned["classifier.0.weight"], before["classifier.0.weight"]):
        raise ExerciseError(
            "The first layer of the classifier is as it was: train all layers of the classifier, "
            "not the last one alone"
        )
    loss = batches.loss(model)
    if not loss < 0.75 * np.log(classes):
        raise ExerciseError(
            f"It hardly learned: the loss on its training clips is {loss:.2f}, and guessing has "
            f"{np.log(classes):.2f}. Is zero_grad called in every step, step after backward, and "
            "has SGD its momentum?"
        )


@checker("For each tick the nearest frame, however unsteady the camera.")
def steady_frames(answer):
    """``answer(times (T,), rate)`` → 0-based indices of the frames nearest to 0, 1/rate, 2/rate …

    ``times`` in seconds, rising from 0; the last tick is not after the last time.
    """
    gaps = [0.03, 0.05, 0.04, 0.11, 0.02, 0.02, 0.13, 0.04, 0.21, 0.03, 0.02, 0.06]
    for times, rate in (
        (np.concatenate([[0.0], np.cumsum(gaps)]), 13.0),
        (np.arange(31) / 30, 12.5),
    ):
        ticks = np.arange(0, times[-1] + 1e-9, 1 / rate)
        wanted = np.abs(times[None] - ticks[:, None]).argmin(axis=1)
        after = np.searchsorted(times, ticks).clip(0, len(times) - 1)
        before = (np.searchsorted(times, ticks, side="right") - 1).clip(0)
        mean = (len(times) - 1) / times[-1]
        counted = np.rint(np.arange(len(ticks)) * mean / rate).astype(int)
        slips = {
            "The indices count from 1; arrays count from 0": wanted + 1,
            "Those are the times of the frames; their indices are asked for": times[wanted],
            "Those are the ticks; the indices of the frames nearest to them are asked for": ticks,
            "Always the frame after the tick; the one before may be nearer": after,
            "Always the frame before the tick; the one after may be nearer": before,
            "That counts frames as if the rate were steady; look at the times": counted,
        }
        result = as_array(answer(times.copy(), rate), "the indices")
        if result.shape == (len(ticks) - 1,):
            raise ExerciseError(
                f"{len(ticks)} ticks fit, {len(result)} indices came back: is the first or the "
                "last tick missing?"
            )
        # A tick in the middle between two frames has two right answers.
        if result.shape == wanted.shape and result.dtype.kind in "iu":
            valid = result.clip(0, len(times) - 1) == result
            distance = np.abs(times[result.clip(0, len(times) - 1)] - ticks)
            if valid.all() and np.allclose(distance, np.abs(times[wanted] - ticks), atol=1e-6):
                continue
        compare(result, wanted, "the indices", slips, tolerance=1e-6)


growth = number_question(
    "Twice as far from one frame to the next: flow is px per frame, and not px per second.",
    2,
    {
        "Half the frames, but each step spans twice the time: flow grows": 0.5,
        "The motion is as fast as before in px per second; flow is px per frame": 1.0,
        "Both u and v double, and so does their length; it is not squared": 4.0,
    },
    0.01,
)
