"""Right and wrong answers to the exercises about layers and their weights.

RIGHT maps a checker to right answers written in different ways; WRONG to pairs of a wrong answer
and a part of the message that names its slip.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from twostream_utils.lab.exercises import layers as ex


def mean_repeat(weight, n):
    return weight.mean(dim=1, keepdim=True).repeat(1, n, 1, 1)


def mean_einsum(weight, n):
    return torch.einsum("oikl,c->ockl", weight, torch.ones(n)) / weight.shape[1]


def mean_loop(weight, n):
    out = torch.empty(len(weight), n, *weight.shape[2:])
    for o in range(len(weight)):
        for c in range(n):
            out[o, c] = (weight[o, 0] + weight[o, 1] + weight[o, 2]) / 3
    return out


def colours_repeat(weight, frames):
    return weight.repeat(1, frames, 1, 1) / frames


def colours_cat(weight, frames):
    return torch.cat([weight / frames] * frames, dim=1)


def rescaled_mean(weight, bias, n):
    return mean_repeat(weight, n) * 3 / n, bias


def rescaled_sum(weight, bias, n):
    return [weight.sum(1, keepdim=True).expand(-1, n, -1, -1) / n, bias.clone()]


def filter_0(weight, bias, n):
    return (weight.sum(1)[0] / 3).expand(len(weight), n, -1, -1) * 3 / n, bias


def fusion_eye(channels, mix):
    layer = nn.Conv2d(2 * channels, channels, 1, bias=False)
    eye = torch.eye(channels)
    layer.weight.data = torch.cat([mix[0] * eye, mix[1] * eye], dim=1)[:, :, None, None]
    return layer


def fusion_loop(channels, mix):
    layer = nn.Conv2d(2 * channels, channels, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        for o in range(channels):
            layer.weight[o, o], layer.weight[o, channels + o] = mix
    return layer


def fusion_with(weight, bias=False):
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=bias)
    layer.weight.data = weight[:, :, None, None].float()
    return layer


def all_maps(channels, mix):
    return fusion_with(torch.tensor([mix[0]] * channels + [mix[1]] * channels).expand(channels, -1))


def neighbours(channels, mix):
    weight = torch.zeros(channels, 2 * channels)
    for o in range(channels):
        weight[o, 2 * o], weight[o, 2 * o + 1] = mix
    return fusion_with(weight)


def size_formula(size, kernel, padding):
    return tuple(n + 2 * padding - kernel + 1 for n in size)


def size_measured(size, kernel, padding):
    return nn.Conv3d(1, 1, kernel, padding=padding)(torch.zeros(1, 1, *size)).shape[2:]


def count_sum(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def count_loop(model):
    total = torch.tensor(0)
    for part in model.modules():
        for weights in part.parameters(recurse=False):
            total += int(weights.requires_grad) * np.prod(weights.shape)
    return total


RIGHT = {
    ex.check_transform_first_layer: [mean_repeat, mean_einsum, mean_loop],
    ex.check_keep_colours: [colours_repeat, colours_cat],
    ex.check_rescaled: [rescaled_mean, rescaled_sum],
    ex.check_first_layer_count: [17_344, lambda: 64 * (30 * 9 + 1)],
    ex.check_fusion_layer: [fusion_eye, fusion_loop],
    ex.check_conv3d_size: [size_formula, size_measured],
    ex.check_trained_count: [count_sum, count_loop],
}

WRONG = {
    ex.check_transform_first_layer: [
        (lambda w, n: (w.sum(1)[0] / 3).expand(len(w), n, -1, -1), "filter 0"),
        (lambda w, n: w.sum(1, keepdim=True).repeat(1, n, 1, 1), "sum"),
        (lambda w, n: w[:, torch.arange(n) % 3], "mean over RGB is missing"),
        (lambda w, n: mean_repeat(w, n) * 3 / n, "rescaling"),
        (lambda w, n: w.mean(1), "shape"),
        (lambda w, n: mean_repeat(w, n).transpose(0, 1), "shape"),
        (lambda w, n: None, "return"),
        (lambda w, n: w.mean(5), "IndexError"),
        (lambda w, n: mean_repeat(w.mul_(1.0).add_(1.0), n), "was changed"),
    ],
    ex.check_keep_colours: [
        (lambda w, n: w.repeat(1, n, 1, 1), "not divided"),
        (lambda w, n: w.repeat_interleave(n, dim=1) / n, "order"),
        (lambda w, n: mean_repeat(w, 3 * n), "colours are gone"),
        (lambda w, n: mean_repeat(w, 3 * n) / n, "colours are gone"),
        (lambda w, n: w.repeat(1, n, 1, 1) / (3 * n), "frames that are counted"),
        (lambda w, n: colours_repeat(w.div_(n), n), "was changed"),
        (lambda w, n: w, "shape"),
    ],
    ex.check_rescaled: [
        (filter_0, "filter 0"),
        (lambda w, b, n: (mean_repeat(w, n), b), "Not rescaled"),
        (lambda w, b, n: (mean_repeat(w, n) / n, b), "3 / N"),
        (lambda w, b, n: (mean_repeat(w, n) * n / 3, b), "N / 3"),
        (lambda w, b, n: (mean_repeat(w, n) * 9 / n, b), "not the sum"),
        (lambda w, b, n: (mean_repeat(w, n) * (3 / n) ** 0.5, b), "unrelated"),
        (lambda w, b, n: (rescaled_mean(w, b, n)[0], b * 3 / n), "bias is scaled"),
        (lambda w, b, n: (rescaled_mean(w, b, n)[0], b * 0), "bias is lost"),
        (lambda w, b, n: rescaled_mean(w, b, n)[0], "two tensors"),
        (lambda w, b, n: rescaled_mean(w.mul_(3 / n), b, n), "was changed"),
    ],
    ex.check_first_layer_count: [
        (64 * 30 * 9, "biases are missing"),
        (64 * 3 * 9 + 64, "one RGB frame"),
        (64 * 10 * 9 + 64, "three colours"),
        (64 * 30 + 64, "3 × 3"),
        (271, "64"),
        (20_000, "too high"),
        ("17344", "one number"),
    ],
    ex.check_fusion_layer: [
        (lambda m, mix: fusion_eye(m, mix[::-1]), "temporal half stands first"),
        (lambda m, mix: nn.Conv2d(m, 2 * m, 1), "exchanged"),
        (lambda m, mix: fusion_eye(m, (1, 1)), "not used"),
        (lambda m, mix: nn.Conv2d(2 * m, m, 3, padding=1), "shape"),
        (lambda m, mix: fusion_with(fusion_eye(m, mix).weight[:, :, 0, 0], bias=True), "at random"),
        (all_maps, "all input maps"),
        (neighbours, "Neighbouring"),
        (lambda m, mix: fusion_eye(m, mix).weight, "nn.Conv2d"),
        (lambda m, mix: None, "return"),
    ],
    ex.check_conv3d_size: [
        (lambda s, k, p: [n + p - k + 1 for n in s], "both ends"),
        (lambda s, k, p: [n + 2 * p - k for n in s], "One too few"),
        (lambda s, k, p: s, "stay as it is"),
        (lambda s, k, p: (s[0], *size_formula(s, k, p)[1:]), "Depth is padded"),
        (lambda s, k, p: [n - k + 1 for n in s], "padding is left out"),
        (lambda s, k, p: size_formula(s, k, p)[1:], "shape"),
    ],
    ex.check_trained_count: [
        (lambda m: sum(p.numel() for p in m.parameters()), "all parameters"),
        (lambda m: sum(p.numel() for p in m.parameters() if not p.requires_grad), "the frozen"),
        (lambda m: sum(p.requires_grad for p in m.parameters()), "numel()"),
        (lambda m: len(list(m.parameters())), "all tensors"),
        (lambda m: count_sum(m) + sum(b.numel() for b in m.buffers()), "Running means"),
        (lambda m: sum(x.numel() for x in m.state_dict().values()), "state_dict"),
        (
            lambda m: sum(
                p.numel() for n, p in m.named_parameters() if p.requires_grad and "bias" not in n
            ),
            "Biases",
        ),
    ],
}
