"""Right and wrong answers to exercises: names, stored flow and stacks (00 to 03, 06)."""
# ruff: noqa: E731 (a table: what fits on a line is a line)

from __future__ import annotations

import cv2
import numpy as np
import torch

from twostream_utils.lab.exercises import nb00, nb01, nb02, nb03, nb06

quantise_round = lambda x: np.round(255 * (np.clip(x, -20, 20) + 20) / 40).astype(np.uint8)


def quantise_torch(x):
    x = torch.as_tensor(x).double().clamp(-20, 20)
    return ((x / 40 + 0.5) * 255 + 0.5).floor().to(torch.uint8)


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


def item_plain(frames, fields, count, step, side, rng, places=None, sign=True, order=False,
               white=255, both=False, fit=0):  # fmt: skip
    """The right answer, with room for slips."""
    start = rng.integers(max(len((frames, fields)[fit]) - (step * (count - 1) + 1), 0) + 1)
    top = rng.integers(frames.shape[1] - side + 1)
    left = rng.integers(frames.shape[2] - side + 1)
    flip, stacks = rng.random() < 0.5, []
    for images in frames, fields:
        at = start + step * np.arange(count)
        at = places(at, len(images)) if places else at % len(images)
        cut = images[at, top : top + side, left : left + side]
        if flip:
            cut = cut[:, :, ::-1].copy()
            if sign and (images is fields or both):
                cut[..., 0] = (white - cut[..., 0].astype(int)) % 256
        axes = (3, 0, 1, 2) if order else (0, 3, 1, 2)
        stacks.append(cut.transpose(axes).reshape(-1, side, side))
    return tuple(stacks)


def item_loop(frames, fields, count, step, side, rng):
    """Image by image, the coin first, and the mirror before the crop."""
    mirror = bool(rng.integers(2))
    y, x = (int(rng.random() * (n - side + 1)) for n in frames.shape[1:3])
    start = 1 + int(rng.random() * max(1, len(frames) - step * (count - 1)))
    rgb, flow = [], []
    for k in range(count):
        frame = torch.from_numpy(frames[(start - 1 + step * k) % len(frames)])
        u, v = torch.from_numpy(fields[(start - 1 + step * k) % len(fields)]).unbind(-1)
        planes = [*frame.unbind(-1), 255 - u if mirror else u, v]
        if mirror:
            planes = [plane.flip(1) for plane in planes]
        planes = [plane[y : y + side, x : x + side] for plane in planes]
        rgb, flow = rgb + planes[:3], flow + planes[3:]
    return [torch.stack(rgb), torch.stack(flow)]


def item_changed(**changes):
    return lambda *given: item_plain(*given, **changes)


def item_apart(frames, fields, *given):
    rgb, _ = item_plain(frames, fields, *given)
    return rgb, item_plain(frames, fields, *given)[1]


def item_v(frames, fields, *given):
    """v is negated in the mirror, in place of u."""
    rgb, flow = item_plain(frames, fields[..., ::-1], *given)
    return rgb, flow.reshape(-1, 2, *flow.shape[1:])[:, ::-1].reshape(flow.shape)


def item_mixed(*given):
    """Reshaped without bringing the colours before rows and columns."""
    side = given[4]
    planes = [
        stack.reshape(-1, parts, side, side).transpose(0, 2, 3, 1)
        for stack, parts in zip(item_plain(*given), (3, 2))
    ]
    return [images.reshape(-1, side, side) for images in planes]


def item_coins(which):
    """An answer that mirrors the stack ``which`` alone, by a coin of its own."""

    def answer(frames, fields, count, step, side, rng):
        class Forced:
            integers = rng.integers
            random = lambda self: 1.0

        stacks = list(item_plain(frames, fields, count, step, side, Forced()))
        if rng.random() < 0.5:
            stacks[which] = stacks[which][:, :, ::-1].copy()
            if which:
                stacks[1][::2] = 255 - stacks[1][::2]
        return stacks

    return answer


def item_jitter(frames, fields, count, step, side, rng):
    parts = [item_plain(frames, fields, 1, 1, side, rng)[0] for _ in range(count)]
    return np.concatenate(parts), item_plain(frames, fields, count, step, side, rng)[1]


def item_tight(frames, fields, count, step, side, rng):
    """Every upper end left out."""

    class Tight:
        random = rng.random
        integers = lambda self, n: rng.integers(max(n - 1, 1))

    return item_plain(frames, fields, count, step, side, Tight())


def item_anywhere(frames, fields, count, step, side, rng):
    class Anywhere:
        random = rng.random
        integers = lambda self, n: rng.integers(len(frames) if n in (1, 6) else n)

    return item_plain(frames, fields, count, step, side, Anywhere())


def item_no_coin(frames, fields, count, step, side, rng):
    class Never:
        integers = rng.integers
        random = lambda self: 1.0

    return item_plain(frames, fields, count, step, side, Never())


def segments_floor(n, count, rng):
    return (n / count * (np.arange(count) + rng.random(count))).astype(int) + 1


def segments_edges(n, count, rng):
    edges = np.linspace(0, n, count + 1).astype(int)
    return [int(rng.integers(low, high)) + 1 for low, high in zip(edges, edges[1:])]


def flow_lstsq(before, after):
    """Pixel by pixel, by least squares on a window of 13."""
    before, after = before.astype(float), after.astype(float)
    iy, ix = np.gradient((before + after) / 2)
    it, flow = after - before, np.zeros((*before.shape, 2))
    for y in range(6, before.shape[0] - 6):
        for x in range(6, before.shape[1] - 6):
            part = slice(y - 6, y + 7), slice(x - 6, x + 7)
            a = np.stack([ix[part].ravel(), iy[part].ravel()], axis=1)
            if np.linalg.svd(a, compute_uv=False)[1] > 1:
                flow[y, x] = np.linalg.lstsq(a, -it[part].ravel(), rcond=None)[0]
    return flow


def flow_blur(before, after, size=11, sign=-1, floor=1e-3, swap=False, average=None, change=None):
    """The closed form on means, with room for slips."""
    if change is None:
        before, after = before.astype(np.float32), after.astype(np.float32)
    iy, ix = np.gradient((before.astype(np.float32) + after) / 2)
    it = after - before
    around = average or (lambda x: cv2.blur(x.astype(np.float32), (size, size)))
    a, b, d = around(ix * ix), around(ix * iy), around(iy * iy)
    p, q = around(ix * it), around(iy * it)
    with np.errstate(all="ignore"):
        bad = a * d - b * b <= floor * (a + d) ** 2 if floor else False
        determinant = np.where(bad, np.inf, a * d - b * b)
        u, v = -sign * (b * q - d * p) / determinant, -sign * (b * p - a * q) / determinant
    return np.stack([v, u] if swap else [u, v], axis=-1)


def mirror_slots(stack):
    mirrored = stack[..., ::-1].copy()
    mirrored[0::2] = 255 - mirrored[0::2]
    return mirrored


def mirror_torch(stack):
    fields = torch.from_numpy(stack).flip(-1).unflatten(0, (-1, 2))
    return torch.stack([255 - fields[:, 0], fields[:, 1]], dim=1).flatten(0, 1)


RIGHT = {
    nb00.quantise: [quantise_round, quantise_torch],
    nb01.official_split: [sides(split_slices), sides(split_loop)],
    nb01.class_numbers: [numbers_lower, numbers_count],
    nb02.lucas_kanade: [flow_blur, flow_lstsq],
    nb03.item: [item_plain, item_loop],
    nb03.segment_positions: [segments_floor, segments_edges],
    nb06.mirror_stack: [mirror_slots, mirror_torch],
}

WRONG = {
    nb00.quantise: [
        (lambda x: np.rint(255 * (x + 20) / 40).astype(np.int64).astype(np.uint8), "wraps around"),
        (lambda x: (255 * (np.clip(x, -20, 20) + 20) / 40).astype(np.uint8), "rounded"),
        (lambda x: (255 * (x - x.min()) / np.ptp(x)).astype(np.uint8), "Stretched"),
        (lambda x: np.rint(255 * (x - x.min()) / np.ptp(x)).astype(np.uint8), "Stretched"),
    ],
    nb01.official_split: [
        (lambda names, s: sides(split_slices)(names, s)[::-1], "swapped"),
        (lambda names, s: sides(split_slices)(names, s)[1], "two lists"),
        (lambda names, s: dict(zip(("train", "test"), sides(split_slices)(names, s))), "two lists"),
        (lambda names, s: (sorted(names), sides(split_slices)(names, s)[1]), "as well"),
        (lambda names, s: sides(split_slices)(names, (s - 1) % 3 + 1), "no split 4"),
        (sides(lambda names, s: [n for n in names if (int(n[-2:]) - 1) // 7 == s - 1]), "the clip"),
        (sides(lambda names, s: in_groups(names, 7 * s - 6, 7 * s - 1)), "last test group"),
        (sides(lambda names, s: in_groups(names, 7 * s - 7, 7 * s - 1)), "shifted"),
        (sides(lambda names, s: split_slices(names, 1)), "whatever the split"),
        (sides(lambda names, s: split_slices(names, s)[::4]), "siblings"),
        (sides(lambda names, s: sorted(names)[: len(split_slices(names, s))]), "by position"),
        (sides(lambda names, s: [n for n in split_slices(names, s) if "g0" not in n]), "not g7"),
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
    nb02.lucas_kanade: [
        (lambda a, b: flow_blur(a, b, sign=1), "other way round"),
        (lambda a, b: flow_blur(a, b, swap=True), "u and v are swapped: u is to the right"),
        (lambda a, b: flow_blur(a, b, floor=0), "nan or"),
        (lambda a, b: flow_blur(a, b, average=lambda x: x.mean() + 0 * x), "around each pixel"),
        (lambda a, b: flow_blur(a, b, average=lambda x: x), "average over the patch"),
        (lambda a, b: flow_blur(a, b, change=True), "wraps around"),
        (lambda a, b: flow_blur(a, b)[..., 0], "shape"),
    ],
    nb03.item: [
        (item_changed(sign=False), "not negated"),
        (item_changed(white=256), "256 − u"),
        (item_changed(both=True), "Red is negated"),
        (item_v, "only u changes its sign"),
        (item_changed(places=lambda at, n: at % (n - 1)), "by their own number"),
        (item_changed(fit=1), "only the frames have to fit"),
        (item_changed(order=True), "red channels come first"),
        (item_changed(places=lambda at, n: np.minimum(at, n - 1)), "stays at the last"),
        (item_apart, "one view for both"),
        (item_coins(0), "RGB is mirrored and flow is not"),
        (item_coins(1), "Flow is mirrored and RGB is not"),
        (item_jitter, "different places"),
        (item_mixed, "a reshape alone mixes"),
        (item_tight, "never reached"),
        (item_anywhere, "though it would fit"),
        (item_no_coin, "toss a coin"),
        (lambda f, q, n, step, side, rng: item_plain(f, q, n, 1, side, rng), "step is ignored"),
        (lambda *given: item_plain(*given[:-1], np.random.default_rng(0)), "the same view"),
    ],
    nb03.segment_positions: [
        (lambda n, c, rng: segments_floor(n, c, rng) - 1, "counted from 0"),
        (lambda n, c, rng: rng.integers(1, n + 1, c), "Not in order"),
        (lambda n, c, rng: np.sort(rng.integers(1, n + 1, c)), "should have one position"),
        (lambda n, c, rng: (n / c * (np.arange(c) + 0.5)).astype(int) + 1, "same position"),
        (lambda n, c, rng: (n // c) * np.arange(c) + 1 + rng.integers(n // c), "share one draw"),
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
