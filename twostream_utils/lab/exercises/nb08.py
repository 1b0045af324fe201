"""Checkers of notebook 08: the fusion layer, the size behind a Conv3d, what is trained."""

import numpy as np
import torch
from torch import nn

from .checking import NO_RETURN, ExerciseError, checker, compare, picture, prediction

__all__ = ["fusion_layer", "conv3d_size", "trained_count", "picture", "prediction"]


@checker("Map o of the result is a mix of map o of both streams; with (1, 1) it is sum fusion.")
def fusion_layer(answer):
    """``answer(channels M, mix)`` → a 1×1 ``nn.Conv2d`` from cat([a, b]), 2M, to M maps."""
    generator = torch.Generator().manual_seed(0)
    for channels, (s, t) in (4, (0.25, 0.75)), (3, (1.0, 1.0)), (3, (1.0, 0.5)):
        a, b = torch.rand(2, 2, channels, 3, 3, generator=generator)
        layer = answer(channels, (s, t))
        if layer is None:
            raise ExerciseError(NO_RETURN.format("The result"))
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
            made = layer(torch.cat([a, b], dim=1))
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
        compare(made, s * a + t * b, what, slips, 1e-5)


@checker("Each axis alike, time included: size + 2 · padding − kernel + 1.")
def conv3d_size(answer):
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
        compare(answer(size, kernel, padding), wanted, what, slips)


@checker("What has a gradient is trained; all else is frozen.")
def trained_count(answer):
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
        compare(answer(model), float(wanted), "the count", slips, tolerance=0.5)
