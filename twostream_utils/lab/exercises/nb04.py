"""Checkers of notebook 04: the first layer on its way from 3 to N channels."""

import numpy as np
import torch

from .checking import NO_RETURN, ExerciseError, checker, compare, picture, prediction, unchanged

__all__ = ["transform_first_layer", "keep_colours", "rescaled", "picture", "prediction"]


@checker("Every filter keeps its own mean over RGB, once for each new channel.")
def transform_first_layer(answer):
    """``answer(weight (O, 3, k, k), in_channels)`` → ``(O, in_channels, k, k)``, not rescaled."""
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    channels = 10
    w = weight.numpy()
    mean = w.mean(1, keepdims=True)
    wanted = mean.repeat(channels, axis=1)
    cycled = w[:, np.arange(channels) % 3]
    slips = {
        "All output filters are equal: you took filter 0 for all (the [0] of the original code). "
        "Each output filter has its own mean": np.broadcast_to(wanted[:1], wanted.shape),
        "That is the sum over RGB, three times too large; take the mean": 3 * wanted,
        "The mean over RGB is missing: the three colour filters are only repeated": cycled,
        "Each value is 3/in_channels of the expected one: rescaling was not asked for here": (
            wanted * (3 / channels)
        ),
    }
    with unchanged("The weight that came in was changed; return a new tensor", weight):
        result = answer(weight, channels)
    compare(result, wanted, "the new weight", slips)
    compare(answer(weight[:2, :, :1], 3), mean[:2, :, :1].repeat(3, 1), "the new weight", {})


@checker("Colours kept, every frame counts alike, and the response keeps its size.")
def keep_colours(answer):
    """``answer(weight (O, 3, k, k), frames)`` → ``(O, 3·frames, k, k)`` that keeps the colours.

    To a stack of one frame over and over it must respond as ``weight`` does to that frame.
    """
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    frames = 5
    w = weight.numpy()
    wanted = np.tile(w, (1, frames, 1, 1)) / frames
    middle = np.zeros_like(wanted)
    middle[:, 3 * (frames // 2) : 3 * (frames // 2) + 3] = w
    mean = np.repeat(w.mean(1, keepdims=True), 3 * frames, axis=1)
    slips = {
        "Repeated but not divided: a stack of equal frames gives a response that is as many times "
        "too large as there are frames": wanted * frames,
        "Divided by the number of channels; it is frames that are counted": wanted / 3,
        "The channels come in the order r r r … g g g … b b b …; a stack has r g b r g b …": (
            np.repeat(w, frames, axis=1) / frames
        ),
        "That is the mean over RGB: the colours are gone": [mean, mean / frames],
        "Only the frame in the middle counts; all frames should count alike": middle,
    }
    with unchanged("The weight that came in was changed; return a new tensor", weight):
        result = answer(weight, frames)
    compare(result, wanted, "the new weight", slips)


@checker("As strong as before on equal channels, and the bias is the one that was learned.")
def rescaled(answer):
    """``answer(weight (O, 3, k, k), bias (O,), in_channels N)`` → new weight · 3 / N, and bias."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 3, 3, generator=generator)
    bias = torch.randn(4, generator=generator)
    channels = 12
    w, b = weight.numpy(), bias.numpy()
    mean = np.repeat(w.mean(1, keepdims=True), channels, axis=1)
    wanted = mean * 3 / channels
    changed = "The weight or the bias that came in was changed; return new tensors"
    with unchanged(changed, weight, bias):
        result = answer(weight, bias, channels)
    if result is None:
        raise ExerciseError(NO_RETURN.format("The result"))
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise ExerciseError("Return two tensors: the new weight and the bias")
    slips = {
        "All output filters are equal: you took filter 0 for all (the [0] of the original code)": (
            np.broadcast_to(wanted[:1], wanted.shape)
        ),
        "Not rescaled: equal channels would answer N / 3 times as strongly": mean,
        "Divided by N, but three channels gave the old answer: the factor is 3 / N": (
            mean / channels
        ),
        "Multiplied by N / 3, which makes a strong answer stronger still; it is 3 / N": (
            mean * channels / 3
        ),
        "Three times too large: take the mean over RGB, not the sum": wanted * 3,
        "Rescaled by √(3 / N): right for unrelated channels, asked for are equal ones": (
            mean * (3 / channels) ** 0.5
        ),
    }
    compare(result[0], wanted, "the new weight", slips)
    kept = {
        "The bias is scaled as well. It is added once, however many channels there are": (
            b * 3 / channels
        ),
        "The bias is lost; copy the one that was learned, as the original forgot to": b * 0,
    }
    compare(result[1], b, "the bias", kept)
