"""Checkers accept right answers however written, and name typical wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from twostream_utils import exercises as ex
from twostream_utils import score_exercises


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


def flip_slices(q):
    mirrored = q[:, ::-1].copy()
    mirrored[..., 0] = 255 - mirrored[..., 0]
    return mirrored


def flip_stacked(q):
    u, v = np.fliplr(q[..., 0]), np.fliplr(q[..., 1])
    return np.dstack([~u, v])


def fuse_torch(a, b):
    return (a.softmax(1) + b.softmax(1)) / 2


def fuse_numpy(a, b):
    def soft(x):
        e = np.exp(np.asarray(x) - np.asarray(x).max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    return 0.5 * soft(a) + 0.5 * soft(b)


def indices_list(n, count, step, start):
    return [(start - 1 + k * step) % n + 1 for k in range(count)]


def indices_walk(n, count, step, start):
    out, at = [], start
    for _ in range(count):
        out.append(at)
        at += step
        while at > n:
            at -= n
    return torch.tensor(out)


def interleave_transpose(flow):
    return flow.transpose(0, 3, 1, 2).reshape(-1, *flow.shape[1:3])


def interleave_slots(flow):
    out = np.empty((2 * len(flow), *flow.shape[1:3]), flow.dtype)
    out[0::2], out[1::2] = flow[..., 0], flow[..., 1]
    return torch.from_numpy(out)


def quantise_round(x):
    return np.round(255 * (np.clip(x, -20, 20) + 20) / 40).astype(np.uint8)


def quantise_torch(x):
    x = torch.as_tensor(x).double().clamp(-20, 20)
    return ((x / 40 + 0.5) * 255 + 0.5).floor().to(torch.uint8)


def confusion_loop(predicted, labels, classes):
    matrix = np.zeros((classes, classes), dtype=int)
    for true, said in zip(labels, predicted):
        matrix[true, said] += 1
    return matrix


def confusion_bincount(predicted, labels, classes):
    pairs = torch.as_tensor(labels) * classes + torch.as_tensor(predicted)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def backwards_reshape(stack):
    fields = stack.reshape(-1, 2, *stack.shape[1:])
    return (255 - fields[::-1]).reshape(stack.shape)


def backwards_slots(stack):
    out = torch.from_numpy(stack.copy())
    for k in range(len(stack) // 2):
        out[2 * k], out[2 * k + 1] = (
            255 - torch.from_numpy(stack[len(stack) - 2 - 2 * k + part].copy()) for part in (0, 1)
        )
    return out


def mix_eye(channels, mix):
    eye = torch.eye(channels)
    return torch.cat([mix[0] * eye, mix[1] * eye], dim=1)[:, :, None, None]


def mix_loop(channels, mix):
    weight = np.zeros((channels, 2 * channels, 1, 1), np.float32)
    for o in range(channels):
        weight[o, o], weight[o, channels + o] = mix
    return weight


def top_k_argsort(scores, labels, k):
    best = np.argsort(scores, axis=1)[:, -k:]
    return np.mean([label in row for label, row in zip(labels, best)])


def top_k_torch(scores, labels, k):
    best = torch.as_tensor(scores).topk(k, dim=1).indices
    return (best == torch.as_tensor(labels)[:, None]).any(1).float().mean()


def hold_out_slices(names, numbers):
    return sorted(n for n in names if int(n[-6:-4]) in numbers)


def hold_out_loop(names, numbers):
    held = []
    for name in names:
        _, group, _ = name.rsplit("_", 2)
        if group in {f"g{number:02d}" for number in numbers}:
            held.append(name)
    held.sort()
    return tuple(held)


def group_number(name):
    return int(name.split("_")[-2][1:])


def colours_repeat(weight, frames):
    return weight.repeat(1, frames, 1, 1) / frames


def colours_cat(weight, frames):
    return torch.cat([weight / frames] * frames, dim=1)


RIGHT = {
    ex.check_keep_colours: [colours_repeat, colours_cat],
    ex.check_group_split: [hold_out_slices, hold_out_loop],
    ex.check_transform_first_layer: [mean_repeat, mean_einsum, mean_loop],
    ex.check_flip_flow: [flip_slices, flip_stacked],
    score_exercises.check_late_fusion: [fuse_torch, fuse_numpy],
    ex.check_stack_indices: [indices_list, indices_walk],
    ex.check_interleave: [interleave_transpose, interleave_slots],
    ex.check_quantise: [quantise_round, quantise_torch],
    score_exercises.check_confusion: [confusion_loop, confusion_bincount],
    ex.check_play_backwards: [backwards_reshape, backwards_slots],
    score_exercises.check_identity_mix: [mix_eye, mix_loop],
    score_exercises.check_top_k: [top_k_argsort, top_k_torch],
}

# checker: (wrong answer, a word of the message that names the slip)
WRONG = {
    ex.check_keep_colours: [
        (lambda w, n: w.repeat(1, n, 1, 1), "not divided"),
        (lambda w, n: w.repeat_interleave(n, dim=1) / n, "order"),
        (lambda w, n: mean_repeat(w, 3 * n), "colours are gone"),
        (lambda w, n: mean_repeat(w, 3 * n) / n, "colours are gone"),
        (lambda w, n: w.repeat(1, n, 1, 1) / (3 * n), "frames that are counted"),
        (lambda w, n: colours_repeat(w.div_(n), n), "was changed"),
        (lambda w, n: w, "shape"),
    ],
    ex.check_group_split: [
        (lambda names, g: sorted(n for n in names if group_number(n) not in g), "train on"),
        (lambda names, g: sorted(n for n in names if int(n[-2:]) in g), "number of the clip"),
        (lambda names, g: [n for n in names if group_number(n) in g], "not sorted"),
        (lambda names, g: sorted(n for n in names if any(f"{k}_" in n for k in g)), "whole group"),
        (lambda names, g: hold_out_slices(names, g)[::3], "siblings"),
        (lambda names, g: hold_out_slices(names, g)[1:], "look at"),
        (lambda names, g: None, "return"),
    ],
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
    ex.check_flip_flow: [
        (lambda q: q[:, ::-1], "not negated"),
        (lambda q: np.stack([255 - q[..., 0], q[..., 1]], -1), "not mirrored"),
        (lambda q: 255 - q[:, ::-1], "v is negated as well"),
        (lambda q: np.stack([q[:, ::-1, 0], 255 - q[:, ::-1, 1]], -1), "channel 0"),
        (lambda q: flip_slices(q.swapaxes(0, 1)).swapaxes(0, 1), "upside down"),
        (lambda q: np.stack([-q[:, ::-1, 0], q[:, ::-1, 1]], -1), "wraps around"),
        (lambda q: flip_slices(q).astype(np.float32), "uint8"),
    ],
    score_exercises.check_late_fusion: [
        (lambda a, b: ((a + b) / 2).softmax(1), "logits are averaged"),
        (lambda a, b: (a + b) / 2, "no softmax"),
        (lambda a, b: a.softmax(1) + b.softmax(1), "not halved"),
        (lambda a, b: a.softmax(1) * b.softmax(1), "multiplied"),
        (lambda a, b: (a.log_softmax(1) + b.log_softmax(1)).softmax(1), "multiplied"),
        (lambda a, b: (a.softmax(0) + b.softmax(0)) / 2, "over the clips"),
        (lambda a, b: a.softmax(1), "expected"),
    ],
    ex.check_stack_indices: [
        (lambda n, c, s, a: [i - 1 for i in indices_list(n, c, s, a)], "0-based"),
        (lambda n, c, s, a: [a + k * s for k in range(c)], "beyond the end"),
        (lambda n, c, s, a: [min(a + k * s, n) for k in range(c)], "last frame is repeated"),
        (lambda n, c, s, a: np.roll(indices_list(n, c, s, a), 1), "rotated"),
        (lambda n, c, s, a: indices_list(n, c, s, 1), "start is ignored"),
        (lambda n, c, s, a: [(a + k * s) % n for k in range(c)], "Modulo"),
        (lambda n, c, s, a: indices_list(n, c, s, a)[:-1], "shape"),
    ],
    ex.check_interleave: [
        (lambda f: np.roll(interleave_transpose(f), -2, axis=0), "channels -2 and -1"),
        (lambda f: np.concatenate([f[..., 0], f[..., 1]]), "All u come first"),
        (lambda f: interleave_transpose(f[..., ::-1]), "v comes before u"),
        (lambda f: f.reshape(-1, *f.shape[1:3]), "only reshaped"),
        (lambda f: interleave_transpose(f[::-1]), "reverse"),
        (lambda f: f.transpose(0, 3, 1, 2), "shape"),
    ],
    ex.check_quantise: [
        (lambda x: np.rint(255 * (x + 20) / 40).astype(np.int64).astype(np.uint8), "wraps around"),
        (lambda x: (255 * (np.clip(x, -20, 20) + 20) / 40).astype(np.uint8), "rounded"),
        (lambda x: (255 * (x - x.min()) / np.ptp(x)).astype(np.uint8), "Stretched"),
        (lambda x: np.rint(255 * (x - x.min()) / np.ptp(x)).astype(np.uint8), "Stretched"),
        (lambda x: quantise_round(x).astype(np.float32), "uint8"),
        (lambda x: np.rint(255 * np.clip(x, 0, 20) / 20).astype(np.uint8), "expected"),
    ],
    score_exercises.check_confusion: [
        (lambda p, t, c: confusion_loop(t, p, c), "swapped"),
        (
            lambda p, t, c: (
                confusion_loop(p, t, c) / confusion_loop(p, t, c).sum(1).clip(1)[:, None]
            ),
            "shares",
        ),
        (lambda p, t, c: (confusion_loop(p, t, c) > 0).astype(int), "only once"),
        (lambda p, t, c: confusion_loop(p, t, c)[:4], "shape"),
        (lambda p, t, c: np.diag(np.bincount(t[t == p], minlength=c)), "diagonal"),
    ],
    ex.check_play_backwards: [
        (lambda s: 255 - backwards_reshape(s), "must now move left"),
        (lambda s: 255 - s, "last field should come first"),
        (lambda s: 255 - s[::-1], "v stands where u"),
        (lambda s: s[::-1], "v stands where u"),
        (lambda s: -(255 - backwards_reshape(s)), "wraps around"),
        (lambda s: 255 - s[:, ::-1], "expected"),
        (lambda s: s.__imul__(0) + backwards_reshape(s), "expected"),
    ],
    score_exercises.check_identity_mix: [
        (lambda m, mix: mix_eye(m, mix[::-1]), "temporal half stands first"),
        (lambda m, mix: mix_eye(m, mix).transpose(0, 1), "swapped"),
        (lambda m, mix: mix_eye(m, (1, 1)), "not used"),
        (lambda m, mix: mix_eye(m, mix)[:, :, 0, 0], "shape"),
        (
            lambda m, mix: torch.tensor([mix[0]] * m + [mix[1]] * m).expand(m, -1)[
                :, :, None, None
            ],
            "all input maps",
        ),
    ],
    score_exercises.check_top_k: [
        (lambda s, t, k: top_k_argsort(-s, t, k), "lowest"),
        (lambda s, t, k: top_k_argsort(s, t, k) * len(t), "number of clips"),
        (lambda s, t, k: top_k_argsort(s, t, 1), "k is ignored"),
        (lambda s, t, k: (np.argsort(-s, 1)[:, k - 1] == t).mean(), "exactly in place k"),
        (lambda s, t, k: top_k_torch(s, t, min(k + 1, 9)), "too many"),
        (lambda s, t, k: (np.argsort(-s, 1)[:, :k] == t[:, None]).any(1), "shape"),
    ],
}


@pytest.mark.parametrize("check", RIGHT, ids=lambda check: check.__name__)
def test_right_answers_pass_however_written(check, capsys):
    for answer in RIGHT[check]:
        assert check(answer), (answer.__name__, capsys.readouterr().out)
        assert capsys.readouterr().out.startswith("✅")


@pytest.mark.parametrize("check", WRONG, ids=lambda check: check.__name__)
def test_wrong_answers_are_rejected_by_name(check, capsys):
    assert len(WRONG[check]) >= 3
    for answer, word in WRONG[check]:
        assert not check(answer), word
        said = capsys.readouterr().out
        assert said.startswith("❌") and word in said


def test_stub_says_not_yet_and_the_notebook_runs_on(capsys):
    def stub(*_):
        raise NotImplementedError("your turn")

    for check in RIGHT:
        assert not check(stub)
        assert capsys.readouterr().out.startswith("⏳")


def test_every_checker_is_tested():
    found = {**vars(ex), **vars(score_exercises)}
    checkers = {value for name, value in found.items() if name.startswith("check_")}
    assert checkers == set(RIGHT) == set(WRONG)
