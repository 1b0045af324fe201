"""Right and wrong answers to exercises: one's own video, and who waits for whom (10, 11)."""
# ruff: noqa: E731 (a table: what fits on a line is a line)

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import nn

from twostream_utils.lab.exercises import nb10, nb11
from twostream_utils.lab.speed import timeline


def tuned_plain(stream, batches, classes, epochs=10, lr=0.01):
    """Without grad on the features, AdamW, and a classifier built anew but for its weights."""
    model = copy.deepcopy(stream).eval()
    layers = list(model.classifier)[:-1]
    model.classifier = nn.Sequential(*layers, nn.Linear(layers[-3].out_features, classes))
    optimizer = torch.optim.AdamW(model.classifier.parameters(), lr=lr / 10)
    for _ in range(epochs):
        model.classifier.train()
        for x, y in batches:
            with torch.no_grad():
                maps = model.maps(x[0])
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(model.classify(maps), y).backward()
            optimizer.step()
    return model.eval()


def tuned_frozen(stream, batches, classes, epochs=10, lr=0.01, copied=True, first=True, stats=True,
                 features=False, rounds=None, zero=True, ready=True, last=True):  # fmt: skip
    """As the module does it, with a switch for every slip."""
    model = copy.deepcopy(stream) if copied else stream
    if last:
        model.classifier[6] = nn.Linear(model.classifier[6].in_features, classes)
    for parameter in model.features.parameters():
        parameter.requires_grad = features
    if not first:
        for parameter in model.classifier[0].parameters():
            parameter.requires_grad = False
    model.train()
    if stats:
        model.features.train(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=lr if zero else 100 * lr, momentum=0.9)
    for _ in range(rounds or epochs):
        for x, y in batches:
            if zero:
                optimizer.zero_grad()
            nn.functional.cross_entropy(model(*x), y % model.classifier[6].out_features).backward()
            optimizer.step()
    return model.eval() if ready else model


def slip(**switches):
    return lambda *given: tuned_frozen(*given, **switches)


ticks_of = lambda times, rate: np.arange(0, times[-1] + 1e-9, 1 / rate)


def nearest_table(times, rate):
    return np.abs(times[None] - ticks_of(times, rate)[:, None]).argmin(axis=1)


def nearest_loop(times, rate):
    out, k = [], 0
    while k / rate <= times[-1] + 1e-9:
        out.append(min(range(len(times)), key=lambda i: (abs(times[i] - k / rate), -i)))
        k += 1
    return out


def events(cores, load_ms, gpu_clips, clips, ahead=2):
    """The time line by dictionaries, GPU first; lists in place of tuples."""
    ends, takes, out = {}, {}, []
    for k in range(clips):
        start = max(ends.get(k - cores, 0), takes.get(k - ahead * cores, 0))
        ends[k] = start + load_ms
        takes[k] = max(ends[k], takes[k - 1] + 1000 / gpu_clips if k else 0)
        out.append(["GPU", k, takes[k], takes[k] + 1000 / gpu_clips])
        out.append([f"worker {k % cores + 1}", k, start, ends[k]])
    return out


def late(**switches):
    """As the checker has it, with a slip."""
    from twostream_utils.lab.exercises.nb11 import _jobs as jobs

    return lambda *given: [(*key, *times) for key, times in jobs(*given, **switches).items()]


share_slice = lambda rank, processes, n: list(range(n))[rank::processes]
share_blocks = lambda rank, processes, n: np.array_split(np.arange(n), processes)[rank]


def share_rounded_up(rank, processes, n):
    size = math.ceil(n / processes)
    return range(rank * size, min(n, (rank + 1) * size))


def share_padded(rank, processes, n):
    return [k % n for k in range(rank, processes * math.ceil(n / processes), processes)]


RIGHT = {
    nb10.fine_tune: [tuned_plain, tuned_frozen],
    nb10.steady_frames: [nearest_table, nearest_loop],
    nb11.timeline: [timeline, events],
    nb11.share: [lambda r, p, n: range(r, n, p), share_slice, share_blocks],
}

WRONG = {
    nb10.fine_tune: [
        (lambda *given: tuned_frozen(*given) and None, "return at the end"),
        (slip(last=False, rounds=1), "gives 7 numbers, but there are 4"),
        (slip(copied=False, rounds=1), "work on a copy"),
        (slip(features=True, rounds=1), "convolutions were trained, too"),
        (slip(stats=False, rounds=1), "went on counting"),
        (slip(rounds=1), "1 times, not 15"),
        (slip(ready=False), "still in training mode"),
        (slip(first=False), "not the last one alone"),
        (slip(zero=False), "hardly learned"),
    ],
    nb10.steady_frames: [
        (lambda t, r: nearest_table(t, r) + 1, "count from 1"),
        (lambda t, r: t[nearest_table(t, r)], "times of the frames"),
        (ticks_of, "Those are the ticks"),
        (lambda t, r: np.searchsorted(t, ticks_of(t, r)), "after the tick"),
        (lambda t, r: np.searchsorted(t, ticks_of(t, r), side="right") - 1, "before the tick"),
        (lambda t, r: nearest_table(t, r)[:-1], "missing"),
    ],
    nb11.timeline: [
        (late(bounded=False), "run ahead without end"),
        (late(meanwhile=False), "may load the next one meanwhile"),
        (late(loaded=False), "not loaded yet"),
        (late(one_by_one=False), "two clips at once"),
        (late(places=1), "ahead * cores clips back"),
        (lambda *given: timeline(*given)[:-1], "No job of GPU for clip 7"),
        (lambda *given: [job[1:] for job in timeline(*given)], "a name and three numbers"),
        (lambda c, ms, gpu, n, ahead: timeline(c, ms, 2 * gpu, n, ahead), "you have"),
    ],
    nb11.share: [
        (share_padded, "more than once with 7 clips"),
        (share_rounded_up, "the most"),
        (lambda r, p, n: range(r, n - n % p, p), "scored by nobody with 7"),
        (lambda r, p, n: range(r + 1, n + 1, p), "scored by nobody"),
        (lambda r, p, n: range(n), "more than once"),
        (lambda r, p, n: range(r, n + p, p), "no clip"),
    ],
}
