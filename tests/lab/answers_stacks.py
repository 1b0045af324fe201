"""Right and wrong answers to exercises: names, stored flow and stacks (00 to 02, 05)."""
# ruff: noqa: E731 (a table: what fits on a line is a line)

from __future__ import annotations

import numpy as np
import torch

from twostream_utils.lab.exercises import nb00, nb01, nb03, nb06

quantise_round = lambda x: np.round(255 * (np.clip(x, -20, 20) + 20) / 40).astype(np.uint8)


def quantise_torch(x):
    x = torch.as_tensor(x).double().clamp(-20, 20)
    return ((x / 40 + 0.5) * 255 + 0.5).floor().to(torch.uint8)


decode_scale = lambda q: q.astype(np.float32) * 40 / 255 - 20
decode_centre = lambda q: (torch.as_tensor(q).double() - 127.5) / 127.5 * 20
group_number = lambda name: int(name.split("_")[-2][1:])


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


def sides(test_of):
    """An answer to the official split from the test clips that it would take."""

    def answer(names, split):
        if split not in (1, 2, 3):
            raise ValueError(split)
        test = test_of(names, split)
        return sorted(set(names) - set(test)), test

    return answer


def in_groups(names, first, last):
    return sorted(name for name in names if first <= group_number(name) <= last)


numbers_lower = lambda labels: {label: k for k, label in enumerate(sorted(labels, key=str.lower))}


def numbers_count(labels):
    lower = [label.casefold() for label in labels]
    return {label: sum(x < label.casefold() for x in lower) for label in labels}


indices_list = lambda n, count, step, start: [(start - 1 + k * step) % n + 1 for k in range(count)]


def indices_walk(n, count, step, start):
    out, at = [], start
    for _ in range(count):
        out.append(at)
        at += step
        while at > n:
            at -= n
    return torch.tensor(out)


interleave_transpose = lambda flow: flow.transpose(0, 3, 1, 2).reshape(-1, *flow.shape[1:3])


def interleave_slots(flow):
    out = np.empty((2 * len(flow), *flow.shape[1:3]), flow.dtype)
    out[0::2], out[1::2] = flow[..., 0], flow[..., 1]
    return torch.from_numpy(out)


crop = lambda stack, top, left, side: stack[:, top : top + side, left : left + side]


def view_slices(frames, fields, side, rng):
    top = rng.integers(frames.shape[1] - side + 1)
    left = rng.integers(frames.shape[2] - side + 1)
    return crop(frames, top, left, side), crop(fields, top, left, side)


def view_torch(frames, fields, side, rng):
    left, top = (int(rng.random() * (n - side + 1)) for n in (frames.shape[2], frames.shape[1]))
    rgb, flow = (torch.from_numpy(x).narrow(1, top, side) for x in (frames, fields))
    return [rgb.narrow(2, left, side), flow.narrow(2, left, side)]


def crop_per_frame(frames, fields, side, rng):
    cut = [view_slices(frame[None], frame[None], side, rng)[0] for frame in frames]
    return np.concatenate(cut), view_slices(fields, fields, side, rng)[0]


def crop_per_stream(frames, fields, side, rng):
    return (view_slices(frames, fields, side, rng)[0], view_slices(frames, fields, side, rng)[1])


def flow_resized(frames, fields, side, rng):
    y, x = (np.linspace(0, n - 1, side).astype(int) for n in fields.shape[1:3])
    return view_slices(frames, fields, side, rng)[0], fields[:, y][:, :, x]


def crop_short(frames, fields, side, rng):
    top, left = rng.integers(frames.shape[1] - side), rng.integers(frames.shape[2] - side)
    return crop(frames, top, left, side), crop(fields, top, left, side)


def crop_tied(frames, fields, side, rng):
    place = rng.integers(frames.shape[1] - side + 1)
    return crop(frames, place, place, side), crop(fields, place, place, side)


def crop_scaled(frames, fields, side, rng):
    part = rng.random()
    top, left = (int(part * (n - side + 1)) for n in frames.shape[1:3])
    return crop(frames, top, left, side), crop(fields, top, left, side)


def crop_top(frames, fields, side, rng):
    left = rng.integers(frames.shape[2] - side + 1)
    return crop(frames, 2, left, side), crop(fields, 2, left, side)


def view_global(frames, fields, side, rng):
    return view_slices(frames, fields, side, np.random.default_rng())


def mirror_slots(stack):
    mirrored = stack[..., ::-1].copy()
    mirrored[0::2] = 255 - mirrored[0::2]
    return mirrored


def mirror_torch(stack):
    fields = torch.from_numpy(stack).flip(-1).unflatten(0, (-1, 2))
    return torch.stack([255 - fields[:, 0], fields[:, 1]], dim=1).flatten(0, 1)


RIGHT = {
    nb00.quantise: [quantise_round, quantise_torch],
    nb01.decode: [decode_scale, decode_centre],
    nb01.official_split: [sides(split_slices), sides(split_loop)],
    nb01.class_numbers: [numbers_lower, numbers_count],
    nb03.stack_indices: [indices_list, indices_walk],
    nb03.interleave: [interleave_transpose, interleave_slots],
    nb03.one_view: [view_slices, view_torch],
    nb06.mirror_stack: [mirror_slots, mirror_torch],
}

WRONG = {
    nb00.quantise: [
        (lambda x: np.rint(255 * (x + 20) / 40).astype(np.int64).astype(np.uint8), "wraps around"),
        (lambda x: (255 * (np.clip(x, -20, 20) + 20) / 40).astype(np.uint8), "rounded"),
        (lambda x: (255 * (x - x.min()) / np.ptp(x)).astype(np.uint8), "Stretched"),
        (lambda x: np.rint(255 * (x - x.min()) / np.ptp(x)).astype(np.uint8), "Stretched"),
    ],
    nb01.decode: [
        (lambda q: q * np.uint8(40) / 255 - 20, "wraps around"),
        (lambda q: q * (40 / 255), "not taken off"),
        (lambda q: q * (40 / 256) - 20, "255 steps"),
        (lambda q: (q - 128.0) * 40 / 255, "middle is 127.5"),
        (lambda q: (q - 127.5) / 127.5 * 40, "Twice too fast"),
        (lambda q: q / 127.5 - 1, "±1"),
        (lambda q: decode_scale(q).astype(int), "fractions are gone"),
    ],
    nb01.official_split: [
        (lambda names, s: sides(split_slices)(names, s)[::-1], "swapped"),
        (lambda names, s: sides(split_slices)(names, s)[1], "two lists"),
        (lambda names, s: (sorted(names), sides(split_slices)(names, s)[1]), "as well"),
        (lambda names, s: sides(split_slices)(names, (s - 1) % 3 + 1), "no split 4"),
        (sides(lambda names, s: [n for n in names if (int(n[-2:]) - 1) // 7 == s - 1]), "the clip"),
        (sides(lambda names, s: in_groups(names, 7 * s - 6, 7 * s - 1)), "last test group"),
        (sides(lambda names, s: in_groups(names, 7 * s - 7, 7 * s - 1)), "shifted"),
        (sides(lambda names, s: split_slices(names, 1)), "whatever the split"),
        (sides(lambda names, s: split_slices(names, s)[::4]), "siblings"),
        (sides(lambda names, s: sorted(names)[: len(split_slices(names, s))]), "by position"),
        (sides(lambda names, s: split_slices(names, s)[1:]), "Look at"),
        (sides(lambda names, s: split_slices(names, s) + split_slices(names, s)[:1]), "twice"),
        (sides(lambda names, s: split_slices(names, s)[::-1]), "not sorted"),
    ],
    nb01.class_numbers: [
        (lambda labels: {k: i for i, k in enumerate(sorted(labels))}, "overtakes"),
        (lambda labels: {k: i + 1 for k, i in numbers_lower(labels).items()}, "from 1"),
        (lambda labels: {k: i for i, k in enumerate(labels)}, "another list"),
        (lambda labels: {i: k for k, i in numbers_lower(labels).items()}, "other way round"),
        (lambda labels: {k.lower(): i for k, i in numbers_lower(labels).items()}, "changed"),
        (lambda labels: sorted(labels, key=str.lower), "dict"),
    ],
    nb03.stack_indices: [
        (lambda n, c, s, a: [i - 1 for i in indices_list(n, c, s, a)], "0-based"),
        (lambda n, c, s, a: [a + k * s for k in range(c)], "beyond the end"),
        (lambda n, c, s, a: [min(a + k * s, n) for k in range(c)], "last frame is repeated"),
        (lambda n, c, s, a: np.roll(indices_list(n, c, s, a), 1), "rotated"),
        (lambda n, c, s, a: indices_list(n, c, s, 1), "start is ignored"),
        (lambda n, c, s, a: [(a + k * s) % n for k in range(c)], "Modulo"),
    ],
    nb03.interleave: [
        (lambda f: np.roll(interleave_transpose(f), -2, axis=0), "channels -2 and -1"),
        (lambda f: np.concatenate([f[..., 0], f[..., 1]]), "All u come first"),
        (lambda f: interleave_transpose(f[..., ::-1]), "v comes before u"),
        (lambda f: f.reshape(-1, *f.shape[1:3]), "only reshaped"),
        (lambda f: interleave_transpose(f[::-1]), "reverse"),
    ],
    nb03.one_view: [
        (crop_per_frame, "crop of its own"),
        (crop_per_stream, "both streams"),
        (flow_resized, "resizes the flow"),
        (crop_short, "never reached"),
        (crop_top, "Only one of the two"),
        (crop_tied, "hang together"),
        (crop_scaled, "hang together"),
        (view_global, "rng that comes in"),
        (lambda f, q, side, rng: (f[:, :side, :side], q[:, :side, :side]), "the same square"),
        (lambda f, q, side, rng: [x[:, :, ::-1] for x in view_slices(f, q, side, rng)], "as it is"),
    ],
    nb06.mirror_stack: [
        (lambda s: s[..., ::-1], "not negated"),
        (lambda s: mirror_slots(s)[..., ::-1], "not mirrored"),
        (lambda s: 255 - s[..., ::-1], "v is negated as well"),
        (lambda s: 255 - mirror_slots(s), "where u should be"),
        (lambda s: np.concatenate([255 - s[:1, :, ::-1], s[1:, :, ::-1]]), "Only the first u"),
        (lambda s: np.concatenate([255 - s[:3, :, ::-1], s[3:, :, ::-1]]), "take turns"),
        (lambda s: mirror_slots(s.swapaxes(1, 2)).swapaxes(1, 2), "upside down"),
        (lambda s: s[::-1], "channels are reversed"),
        (lambda s: s.__imul__(0) + mirror_slots(s), "was changed"),
    ],
}
