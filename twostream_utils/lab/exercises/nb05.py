"""Checkers of notebook 05: the learning rate, the evaluation loop over views."""

import torch
from torch import nn

from .checking import ExerciseError, as_array, checker, compare, number_question, picture

__all__ = ["half_way", "evaluation_loop", "picture"]

half_way = number_question(
    "Half of the way down the cosine is half of the peak.",
    right=0.01,
    tolerance=2e-4,
    slips={
        "That is the factor; times the peak of 0.02 it is the learning rate": 0.5,
        "A straight line from the peak at step 10 to zero, counted from step 0? The cosine begins "
        "after the warm-up": 0.02 * (1 - 60 / 110),
        "The warm-up has to be taken off both the step and the total: (60 − 10) / (110 − 10)": (
            0.01 * (1 + torch.cos(torch.tensor(torch.pi * 60 / 110)).item())
        ),
        "That is still the peak: after the warm-up the rate falls": 0.02,
    },
)


class Shifty(nn.Module):
    """A network of one layer whose dropout would show, and that never sees a stack twice."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@checker("Every view of every clip, without dropout and without a way back.")
def evaluation_loop(answer):
    """``answer(network, loader)`` → logits ``(N, V, classes)`` and labels ``(N,)``."""
    network, views = Shifty(), 3
    stacks = torch.randn(7 * views, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([2, 0, 1, 3, 3, 0, 2])
    loader = [([stacks[k * views : (k + 3) * views]], labels[k : k + 3]) for k in (0, 3, 6)]
    network.eval()
    with torch.no_grad():
        rows = network(stacks)
    wanted = rows.unflatten(0, (7, views))
    network.train()
    result = answer(network, loader)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise ExerciseError("Return two things: the logits and the labels")
    logits, found = result
    if isinstance(logits, list) and [getattr(x, "ndim", 0) for x in logits] == [3, 3, 3]:
        raise ExerciseError("That is a list of three batches: join them with torch.cat")
    if isinstance(logits, torch.Tensor) and logits.requires_grad:
        raise ExerciseError("The logits keep their gradients, which fills the memory: no_grad")
    shape = as_array(logits, "the tensor of logits").shape
    if shape == (7, 4):
        raise ExerciseError("That is one row a clip; every view was asked for, (N, V, classes)")
    if shape == (21, 4):
        raise ExerciseError("All views stand in one row; which of them belong to one clip?")
    if shape == (1, 3, 4):
        raise ExerciseError("That is the last batch alone: collect them all and join them")
    if shape == (6, 3, 4):
        raise ExerciseError("The last batch, which is smaller, got lost")
    slips = {
        "Views of different clips are mixed: those of one clip lie side by side, so the first axis "
        "becomes (clips, views)": [
            torch.cat([r.unflatten(0, (views, -1)).transpose(0, 1) for r in rows.split(9)]),
            rows.unflatten(0, (views, 7)).transpose(0, 1),
        ],
        "That is the softmax; logits were asked for": wanted.softmax(-1),
    }
    if network.training:
        raise ExerciseError("The network is still in training mode: dropout is on, so it guesses")
    compare(logits, wanted, "the tensor of logits", slips)
    compare(found, labels, "the tensor of labels", {})
