"""Exercise checkers for layers: the first one, the fusion layer, shapes and parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from .checking import ExerciseError, as_array, checker, compare, unchanged
from .questions import number_question


@checker("Every filter keeps its own mean over RGB, once for each new channel.")
def check_transform_first_layer(answer: Callable) -> None:
    """``answer(weight (O, 3, k, k), in_channels)`` → ``(O, in_channels, k, k)``, not rescaled."""
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    channels = 10
    w = weight.numpy()
    mean, rgb_sum = w.mean(1, keepdims=True), w.sum(1, keepdims=True)
    first = np.broadcast_to(mean[:1], mean.shape)
    cycled = w[:, np.arange(channels) % 3]
    slips = {
        "All output filters are equal: you took filter 0 for all (the [0] of the original code). "
        "Each output filter has its own mean": first,
        "That is the sum over RGB, three times too large; take the mean": rgb_sum,
        "The mean over RGB is missing: the three colour filters are only repeated": cycled,
        "Each value is 3/in_channels of the expected one: rescaling was not asked for here": mean
        * (3 / channels),
    }
    slips = {
        text: values if values.shape[1] == channels else values.repeat(channels, axis=1)
        for text, values in slips.items()
    }
    with unchanged("The weight that came in was changed; return a new tensor", weight):
        result = answer(weight, channels)
    compare(result, mean.repeat(channels, axis=1), "the new weight", slips)
    compare(answer(weight[:2, :, :1], 3), mean[:2, :, :1].repeat(3, 1), "the new weight", {})


@checker("Colours kept, every frame counts alike, and the response keeps its size.")
def check_keep_colours(answer: Callable) -> None:
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
        "That is the mean over RGB: the colours are gone": mean,
        "That is the mean over RGB: the colours are gone.": mean / frames,
        "Only the frame in the middle counts; all frames should count alike": middle,
    }
    with unchanged("The weight that came in was changed; return a new tensor", weight):
        result = answer(weight, frames)
    compare(result, wanted, "the new weight", slips)


@checker("As strong as before on equal channels, and the bias is the one that was learned.")
def check_rescaled(answer: Callable) -> None:
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
        raise ExerciseError("The result is None: is there a return at the end?")
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


check_first_layer_count = number_question(
    "64 filters of 30 channels and 3 × 3 pixels, and 64 biases.",
    right=64 * 30 * 9 + 64,
    tolerance=0,
    slips={
        "The biases are missing: one for each of the 64 filters": 64 * 30 * 9,
        "That is the layer for one RGB frame; the stack has 30 channels": 64 * 3 * 9 + 64,
        "That is the layer for one RGB frame, without biases; the stack has 30 channels": 64 * 27,
        "Ten frames have three colours each: 30 channels": 64 * 10 * 9 + 64,
        "Every filter has 3 × 3 pixels in each channel": 64 * 30 + 64,
        "Each filter has one bias, not one for each channel": 64 * 30 * 9 + 64 * 30,
        "That is one filter; the layer has 64": 30 * 9 + 1,
    },
)


@checker("Map o of the result is a mix of map o of both streams; with (1, 1) it is sum fusion.")
def check_fusion_layer(answer: Callable) -> None:
    """``answer(channels M, mix)`` → a 1×1 ``nn.Conv2d`` from cat([a, b]), 2M, to M maps."""
    generator = torch.Generator().manual_seed(0)
    for channels, (s, t) in (4, (0.25, 0.75)), (3, (1.0, 1.0)), (3, (1.0, 0.5)):
        a, b = torch.rand(2, 2, channels, 3, 3, generator=generator)
        layer = answer(channels, (s, t))
        if layer is None:
            raise ExerciseError("The result is None: is there a return at the end?")
        if not isinstance(layer, nn.Conv2d):
            raise ExerciseError(f"Return an nn.Conv2d, not {type(layer).__name__}")
        shape, wanted_shape = tuple(layer.weight.shape), (channels, 2 * channels, 1, 1)
        if shape == (2 * channels, channels, 1, 1):
            raise ExerciseError("In and out are exchanged: 2M maps come in, M go out")
        if shape != wanted_shape:
            raise ExerciseError(f"The weight has shape {shape}, expected {wanted_shape}")
        if layer.bias is not None and layer.bias.detach().abs().max() > 1e-6:
            raise ExerciseError(
                "The bias is not zero: nn.Conv2d draws it at random, so set it to zero or leave it "
                "out"
            )
        with torch.no_grad():
            made = layer(torch.cat([a, b], dim=1)).numpy()
        every = (s * a + t * b).sum(1, keepdim=True).expand_as(a)
        interleaved = torch.cat([a, b], dim=1)[:, 0::2] * s + torch.cat([a, b], 1)[:, 1::2] * t
        slips = {
            "The temporal half stands first; the maps are concatenated [spatial, temporal]": (
                t * a + s * b
            ),
            "Every output map mixes all input maps; it should see map o of each stream only": every,
            "The mix is not used: both streams get weight 1": a + b,
            "Neighbouring channels are mixed, but cat puts all spatial maps before all temporal "
            "ones": interleaved,
        }
        what = f"layer(cat([a, b])) for the mix ({s:g}, {t:g})"
        compare(made, (s * a + t * b).numpy(), what, {k: v.numpy() for k, v in slips.items()}, 1e-5)


@checker("Each axis alike, time included: size + 2 · padding − kernel + 1.")
def check_conv3d_size(answer: Callable) -> None:
    """``answer(size (D, H, W), kernel, padding)`` → size behind a Conv3d of stride 1."""
    cases = ((2, 9, 9), 2, 2), ((1, 7, 7), 1, 1), ((5, 14, 14), 3, 1), ((4, 6, 8), 3, 0)
    for size, kernel, padding in cases:
        n = np.array(size)
        wanted = n + 2 * padding - kernel + 1
        flat = wanted.copy()
        flat[0] = n[0]
        slips = {
            "Padding is added at both ends of an axis": n + padding - kernel + 1,
            "One too few: a kernel as large as the input fits once": n + 2 * padding - kernel,
            "The size is taken to stay as it is; that holds only for kernel = 2 · padding + 1": n,
            "Depth is padded too, as padding stands for all three axes": flat,
            "The padding is left out": n - kernel + 1,
        }
        what = f"the size behind (size={size}, kernel={kernel}, padding={padding})"
        result = as_array(answer(size, kernel, padding), what)
        compare(result, wanted, what, slips)


@checker("What has a gradient is trained; all else is frozen.")
def check_trained_count(answer: Callable) -> None:
    """``answer(model)`` → how many numbers of ``model`` are trained, an int."""
    for frozen_bias in False, True:
        trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        trunk.requires_grad_(False)
        model = nn.Sequential(trunk, nn.Flatten(), nn.Linear(36, 5), nn.Linear(5, 2))
        model[2].bias.requires_grad_(not frozen_bias)
        everything = list(model.parameters())
        trained = [weights for weights in everything if weights.requires_grad]
        wanted = sum(weights.numel() for weights in trained)
        total = sum(weights.numel() for weights in everything)
        buffers = sum(buffer.numel() for buffer in model.buffers())
        slips = {
            "Those are all parameters; leave out the frozen ones": total,
            "Those are the frozen ones": total - wanted,
            "That is the number of tensors; count the numbers in them with numel()": len(trained),
            "That is the number of all tensors; count the numbers in those that are trained": len(
                everything
            ),
            "Running means and variances are no parameters, and none of them is trained": (
                wanted + buffers
            ),
            "That is all of state_dict(), running means and frozen weights included": (
                total + buffers
            ),
            "Biases are trained as well": 36 * 5 + 5 * 2,
        }
        slips = {text: np.asarray(float(value)) for text, value in slips.items()}
        result = answer(model)
        compare(result, np.asarray(float(wanted)), "the count", slips, tolerance=0.5)
