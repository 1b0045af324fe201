"""Right and wrong answers to the exercises about speed.

RIGHT maps a checker to right answers written in different ways; WRONG to pairs of a wrong answer
and a part of the message that names its slip.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from twostream_utils.lab.exercises import speed as ex


def pace_branch(cores, decode_ms, gpu_clips):
    seconds = decode_ms / 1000 / cores
    return gpu_clips if seconds < 1 / gpu_clips else 1 / seconds


def share_slice(rank, processes, n):
    return list(range(n))[rank::processes]


def share_blocks(rank, processes, n):
    return np.array_split(np.arange(n), processes)[rank]


def share_rounded_up(rank, processes, n):
    size = math.ceil(n / processes)
    return range(rank * size, min(n, (rank + 1) * size))


def share_padded(rank, processes, n):
    return [k % n for k in range(rank, processes * math.ceil(n / processes), processes)]


def scaled_in_place(gradient, scale):
    return gradient.mul_(scale).half().float() / scale


RIGHT = {
    ex.check_pace: [lambda c, ms, gpu: min(1000 * c / ms, gpu), pace_branch],
    ex.check_cores: [6, lambda: math.ceil(60 * 90 / 1000)],
    ex.check_scaled: [
        lambda g, s: (g * s).half().float() / s,
        lambda g, s: torch.mul(g, s).to(torch.float16).to(torch.float32).div(s),
        lambda g, s: np.float32((g.numpy() * np.float32(s)).astype(np.float16)) / np.float32(s),
    ],
    ex.check_share: [lambda r, p, n: range(r, n, p), share_slice, share_blocks],
    ex.check_bottleneck: ["c", lambda: "(C)"],
}

WRONG = {
    ex.check_pace: [
        (lambda c, ms, gpu: max(1000 * c / ms, gpu), "slower one"),
        (lambda c, ms, gpu: 1000 * c / ms + gpu, "do not add up"),
        (lambda c, ms, gpu: min(c / ms, gpu), "1000 ms"),
        (lambda c, ms, gpu: 1 / (ms / 1000 / c + 1 / gpu), "load ahead"),
        (lambda c, ms, gpu: min(1000 / ms, gpu), "one core's"),
        (lambda c, ms, gpu: 1000 * c / ms, "faster side"),
        (lambda c, ms, gpu: 7, "you said 7"),
        (lambda c, ms, gpu: None, "return"),
    ],
    ex.check_cores: [
        (5, "round up"),
        (5.4, "no part of a core"),
        (1000 / 90, "one core"),
        (8, "too high"),
    ],
    ex.check_scaled: [
        (lambda g, s: (g * s).half(), "float16"),
        (lambda g, s: (g * s).half().float(), "never taken out"),
        (lambda g, s: g.half().float() * s / s, "scale before the cast"),
        (lambda g, s: ((g * s).half() / s).float(), "float32 again"),
        (lambda g, s: g, "shows nothing"),
        (lambda g, s: (g / s).half().float() * s, "divided first"),
        (lambda g, s: g[:2], "shape"),
        (scaled_in_place, "was changed"),
        (lambda g, s: 2 * (g * s).half().float() / s, "parts of"),
    ],
    ex.check_share: [
        (share_padded, "more than once with 7 clips"),
        (share_rounded_up, "the most"),
        (lambda r, p, n: range(r, n - n % p, p), "scored by nobody with 7"),
        (lambda r, p, n: range(r + 1, n + 1, p), "scored by nobody"),
        (lambda r, p, n: range(n), "more than once"),
        (lambda r, p, n: range(r, n + p, p), "no clip"),
    ],
    ex.check_bottleneck: [("a", "wait longer"), ("b", "waits already"), ("d", "as many clips"),
                          ("e", "one of a, b, c, d")],
}  # fmt: skip
