"""Right and wrong answers to the exercises about names, splits and stored flow.

RIGHT maps a checker to right answers written in different ways; WRONG to pairs of a wrong answer
and a part of the message that names its slip.
"""

from __future__ import annotations

import numpy as np
import torch

from twostream_utils.lab.exercises import data as ex


def quantise_round(x):
    return np.round(255 * (np.clip(x, -20, 20) + 20) / 40).astype(np.uint8)


def quantise_torch(x):
    x = torch.as_tensor(x).double().clamp(-20, 20)
    return ((x / 40 + 0.5) * 255 + 0.5).floor().to(torch.uint8)


def decode_scale(q):
    return q.astype(np.float32) * 40 / 255 - 20


def decode_centre(q):
    return (torch.as_tensor(q).double() - 127.5) / 127.5 * 20


def group_number(name):
    return int(name.split("_")[-2][1:])


def split_slices(names, split):
    return sorted(name for name in names if (int(name[-6:-4]) - 1) // 7 == split - 1)


def split_loop(names, split):
    held = []
    for name in names:
        _, group, _ = name.rsplit("_", 2)
        if group in {f"g{number:02d}" for number in range(7 * split - 6, 7 * split + 1)}:
            held.append(name)
    held.sort()
    return tuple(held)


def in_groups(names, first, last):
    return sorted(name for name in names if first <= group_number(name) <= last)


def numbers_lower(labels):
    return {label: k for k, label in enumerate(sorted(labels, key=str.lower))}


def numbers_count(labels):
    lower = [label.casefold() for label in labels]
    return {label: sum(x < label.casefold() for x in lower) for label in labels}


RIGHT = {
    ex.check_quantise: [quantise_round, quantise_torch],
    ex.check_decode: [decode_scale, decode_centre],
    ex.check_official_split: [split_slices, split_loop],
    ex.check_class_numbers: [numbers_lower, numbers_count],
    ex.check_mixed_bounds: [4, lambda: 4.0, lambda: np.float32(153 * 40 / 255 - 20)],
}

WRONG = {
    ex.check_quantise: [
        (lambda x: np.rint(255 * (x + 20) / 40).astype(np.int64).astype(np.uint8), "wraps around"),
        (lambda x: (255 * (np.clip(x, -20, 20) + 20) / 40).astype(np.uint8), "rounded"),
        (lambda x: (255 * (x - x.min()) / np.ptp(x)).astype(np.uint8), "Stretched"),
        (lambda x: np.rint(255 * (x - x.min()) / np.ptp(x)).astype(np.uint8), "Stretched"),
        (lambda x: quantise_round(x).astype(np.float32), "uint8"),
        (lambda x: np.rint(255 * np.clip(x, 0, 20) / 20).astype(np.uint8), "expected"),
    ],
    ex.check_decode: [
        (lambda q: q * np.uint8(40) / 255 - 20, "wraps around"),
        (lambda q: q * (40 / 255), "not taken off"),
        (lambda q: q * (40 / 256) - 20, "255 steps"),
        (lambda q: (q - 128.0) * 40 / 255, "middle is 127.5"),
        (lambda q: (q - 127.5) / 127.5 * 40, "Twice too fast"),
        (lambda q: q / 127.5 - 1, "±1"),
        (lambda q: decode_scale(q).astype(int), "fractions are gone"),
        (lambda q: decode_scale(q).ravel(), "shape"),
    ],
    ex.check_official_split: [
        (lambda names, s: sorted(set(names) - set(split_slices(names, s))), "train on"),
        (lambda names, s: sorted(n for n in names if (int(n[-2:]) - 1) // 7 == s - 1), "the clip"),
        (lambda names, s: in_groups(names, 7 * s - 6, 7 * s - 1), "last test group"),
        (lambda names, s: in_groups(names, 7 * s - 7, 7 * s - 1), "shifted"),
        (lambda names, s: split_slices(names, 1), "whatever the split"),
        (lambda names, s: split_slices(names, s)[::4], "siblings"),
        (lambda names, s: sorted(names)[: len(split_slices(names, s))], "by position"),
        (lambda names, s: split_slices(names, s)[1:], "look at"),
        (lambda names, s: split_slices(names, s) + split_slices(names, s)[:1], "twice"),
        (lambda names, s: split_slices(names, s)[::-1], "not sorted"),
        (lambda names, s: None, "return"),
    ],
    ex.check_class_numbers: [
        (lambda labels: {k: i for i, k in enumerate(sorted(labels))}, "overtakes"),
        (lambda labels: {k: i + 1 for k, i in numbers_lower(labels).items()}, "from 1"),
        (lambda labels: {k: i for i, k in enumerate(labels)}, "another list"),
        (lambda labels: {i: k for k, i in numbers_lower(labels).items()}, "other way round"),
        (lambda labels: {k.lower(): i for k, i in numbers_lower(labels).items()}, "changed"),
        (lambda labels: sorted(labels, key=str.lower), "dict"),
        (lambda labels: {"Archery": 0}, "no number"),
        (lambda labels: numbers_lower(labels) | {"other": 6}, "7 numbers"),
    ],
    ex.check_mixed_bounds: [
        (1, "one bound"),
        (0.25, "other way round"),
        (lambda: 153, "level"),
        (24.0, "not taken off"),
        (9, "too high"),
        ("4", "one number"),
        (lambda: None, "return"),
    ],
}
