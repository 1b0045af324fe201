"""Checkers of notebook 06: flow in the mirror, films played backwards, who reads what."""

import numpy as np
import torch
from torch import nn

from .checking import ExerciseError, as_array, checker, choice_question, compare, unchanged

__all__ = ["mirror_stack", "backwards_matrix", "exchanged", "knows_time"]


@checker("Mirrored, and what moved right now moves left, in every field.")
def mirror_stack(answer):
    """``answer(stack (2L, H, W) uint8, u1 v1 u2 …)`` → mirrored in x, u negated (255 − u)."""
    stack = np.random.default_rng(0).integers(1, 255, (6, 4, 5), dtype=np.uint8)
    mirrored = stack[..., ::-1].astype(int)
    wanted = mirrored.copy()
    wanted[0::2] = 255 - wanted[0::2]
    not_mirrored = stack.astype(int)
    not_mirrored[0::2] = 255 - not_mirrored[0::2]
    only_v, first, half, minus = (mirrored.copy() for _ in range(4))
    only_v[1::2] = 255 - only_v[1::2]
    first[0] = 255 - first[0]
    half[: len(half) // 2] = 255 - half[: len(half) // 2]
    minus[0::2] = -minus[0::2]
    upside_down = stack[:, ::-1].astype(int)
    upside_down[0::2] = 255 - upside_down[0::2]
    slips = {
        "u is mirrored but not negated: in a mirror, right goes left": mirrored,
        "u is negated but the pictures are not mirrored from left to right": not_mirrored,
        "v is negated as well: up stays up in a left-right mirror": 255 - mirrored,
        "v is negated where u should be: u, along x, is in channels 0, 2, 4, …": only_v,
        "Only the first u is negated: there is one in every second channel": first,
        "The first half of the channels is negated, but u and v take turns: u1, v1, u2, …": half,
        "The pictures are turned upside down: mirror along the last axis, x": upside_down,
        "The channels are reversed, so that v stands where u should be": stack[::-1].astype(int),
        "u is negated as -u, but rest is 127.5 in quantised flow: the opposite is 255 - u": minus,
        "u is negated as -u, which wraps around in uint8; the opposite is 255 - u": minus % 256,
    }
    with unchanged("The stack that came in was changed; return a new one", stack):
        result = as_array(answer(stack), "the mirrored stack")
    compare(result, wanted, "the mirrored stack", slips)
    if result.dtype != np.uint8:
        raise ExerciseError(f"The values are right, but the type is {result.dtype}, not uint8")


class Ordered(nn.Module):
    """Answers by the first field's sign and the last field's strength; it has no way to cheat."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u, strength = x[:, 0].mean((1, 2)), x[:, -1].mean((1, 2))
        scores = torch.stack([u > 0, u < 0, strength > 1.5, strength < -1.5], dim=1).float()
        return self.dropout(scores + torch.tensor([0.0, 0.1, 0.5, 0.4], device=x.device))


@checker("The last field first, every motion the other way, and counted class by class.")
def backwards_matrix(answer):
    """``answer(network, loader, classes)`` → counts ``(classes, classes)``, true in rows."""
    generator, network, classes = torch.Generator().manual_seed(0), Ordered(), 5
    films = torch.randn(40, 6, 1, 1, generator=generator).expand(-1, -1, 2, 2).contiguous()
    labels = torch.randint(4, (40,), generator=generator)
    loader = [([films[k : k + 16]], labels[k : k + 16]) for k in (0, 16, 32)]

    def counted(change, labels=labels, films=films) -> np.ndarray:
        network.eval()
        said = network(change(films.unflatten(1, (-1, 2))).flatten(1, 2)).argmax(1)
        counts = np.zeros((classes, classes))
        np.add.at(counts, (labels.numpy(), said.numpy()), 1)
        return counts

    wanted = counted(lambda f: -f.flip(1))
    slips = {
        "Those are the films as they are: nothing was played backwards": counted(lambda f: f),
        "The fields are reversed, but what moved right must now move left: minus": counted(
            lambda f: f.flip(1)
        ),
        "Only u is negated: in a film played backwards, what went up comes down, too": counted(
            lambda f: f.flip(1) * torch.tensor([-1, 1]).view(2, 1, 1)
        ),
        "Every motion is reversed, but the last field should come first": counted(lambda f: -f),
        "All channels are reversed one by one, so v stands where u should be": [
            counted(lambda f: -f.flip(1, 2)),
            counted(lambda f: f.flip(1, 2)),
        ],
        "Motion is reversed as 255 − x, but these stacks are normalised: rest is 0": [
            counted(lambda f: 255 - f.flip(1)),
            counted(lambda f: 1 - f.flip(1)),
        ],
        "Rows and columns are swapped: a row is a true class, a column an answer": wanted.T,
        "Those are shares of each row; counts were asked for": (
            wanted / wanted.sum(axis=1, keepdims=True).clip(1)
        ),
        "That is the last batch alone: go on counting from batch to batch": counted(
            lambda f: -f.flip(1), labels[32:], films[32:]
        ),
        "Each pair counts at most once a batch: counts[labels, answers] += 1 adds only once per "
        "place": sum(
            np.minimum(counted(lambda f: -f.flip(1), labels[k : k + 16], films[k : k + 16]), 1)
            for k in (0, 16, 32)
        ),
    }
    network.train()
    with unchanged("The stacks that came in were changed; make new ones", films):
        result = answer(network, loader, classes)
    if network.training:
        raise ExerciseError("The network is still in training mode: dropout is on, so it guesses")
    compare(result, wanted, "the matrix", slips)


exchanged = choice_question(
    "All filters of the first layer start alike, so it does not matter which channel is which, as "
    "long as training and test agree.",
    right="a",
    wrong={
        "b": "Is there anything by which the network could know that channel 0 ought to be u? Its "
        "first layer starts with equal filters in all channels",
        "c": "Chance would mean that nothing can be learned from the stacks. All of the motion is "
        "still in them, only in other channels",
    },
)

knows_time = choice_question(
    "Shuffled it tosses a coin, backwards it answers the other class: it goes by the order.",
    right="b",
    wrong={
        "a": "It does not mind shuffling, nor playing backwards: it must see something that both "
        "leave as it was",
        "c": "It never knew the two apart, so nothing can be taken from it",
        "d": "Shuffling ruins it but playing backwards doesn't: it likes smooth films and doesn't "
        "mind which way they run",
    },
)
