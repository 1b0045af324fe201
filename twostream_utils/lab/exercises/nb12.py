"""Checkers of notebook 12, whose wrong answers are the original's own."""

import torch

from .checking import ExerciseError, checker, number_in, number_question, shown

__all__ = ["count_filters", "constant_share", "shown"]


@checker("It counts near copies once, so it would have found what no error reported.")
def count_filters(answer):
    """``answer(weight (O, C, k, k))`` → how many filters correlate by 0.999 at most, an int."""
    generator = torch.Generator().manual_seed(0)
    own, noise = torch.randn(2, 6, 4, 3, 3, generator=generator)
    same = own[:1].expand(6, 4, 3, 3).clone()
    pairs = own[[0, 0, 1, 1, 2, 5]].clone()
    shifted = own[:1].expand(6, 4, 3, 3).clone()
    shifted[3] = shifted[3].flip(-1)  # the same numbers in other places
    near, negative = pairs + 1e-3 * noise, same * torch.tensor([1, -1] * 3).view(6, 1, 1, 1)
    cases = (own, 6), (same, 1), (pairs, 4), (shifted, 2), (near, 4), (negative, 2)
    for weight, wanted in cases:
        found = number_in(answer(weight.clone()), "the count")
        if found == wanted:
            continue
        if weight is own and found == len(torch.unique(weight)):
            raise ExerciseError("Those are different numbers; whole filters were asked for (dim=0)")
        if weight is near and found == len(weight):
            raise ExerciseError(
                "These filters aren't equal, but some correlate by more than 0.999, as after a "
                "step of training: take those for one"
            )
        if weight is negative and found == 1:
            raise ExerciseError("A filter and its negative correlate by -1: these are two kinds")
        if found == len(weight):
            raise ExerciseError("That is the number of filters, equal ones counted again")
        if found == 1:
            raise ExerciseError("More than one of these filters is different from filter 0")
        raise ExerciseError(f"Counted {found:g} different filters where there are {wanted}")


constant_share = number_question(
    "194 of 243 values are the bias alone: the network pools over four fifths of nothing.",
    194 / 243,
    {
        "That is the share that carries an image; the rest was asked for": 49 / 243,
        "The slices before and behind are constant too: the output is 3×9×9": 32 / 81,
        "Only the slices before and behind were counted; the middle one has a border": 162 / 243,
        "That is a number of values; give a share of 1": 194.0,
    },
    0.006,
)
