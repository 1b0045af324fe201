"""Right and wrong answers to exercises on loops over a network: notebooks 05 and 06."""
# ruff: noqa: E731 (a table: what fits on a line is a line)

from __future__ import annotations

import numpy as np
import torch

from twostream_utils.lab.exercises import nb05, nb06

ONLY_U = torch.tensor([-1, 1]).view(2, 1, 1)


def loop(network, loader, mode=False, grad=False, end=None, arrange=lambda rows, n: rows):
    """The evaluation loop with something to get wrong."""
    network.train(mode)
    found, wanted = [], []
    with torch.set_grad_enabled(grad):
        for stacks, labels in loader[:end]:
            rows = network(*stacks).unflatten(0, (len(labels), -1))
            found.append(arrange(rows, len(labels)))
            wanted.append(labels)
    return torch.cat(found), torch.cat(wanted)


def loop_numpy(network, loader):
    network.eval()
    rows, labels = [], []
    for stacks, of_batch in loader:
        logits = network(*stacks).detach().numpy()
        views = len(logits) // len(of_batch)
        rows += [logits[k * views : (k + 1) * views] for k in range(len(of_batch))]
        labels += of_batch.tolist()
    return np.array(rows), labels


def mixed(rows, n):
    return rows.flatten(0, 1).unflatten(0, (-1, n)).transpose(0, 1)


def last_batch(network, loader):
    return loop(network, loader[-1:])


def backwards(f, sign=-1, order=1, plus=0):
    return plus + sign * f.flip(order)


def matrix(network, loader, classes, change=backwards, mode=False, start=0):
    """The matrix of answers with something to get wrong."""
    network.train(mode)
    counts = torch.zeros(classes, classes, dtype=torch.long)
    for (x,), labels in loader[start:]:
        said = network(change(x.unflatten(1, (-1, 2))).flatten(1, 2)).argmax(1)
        for pair in zip(labels, said):
            counts[pair] += 1
    return counts


def matrix_numpy(network, loader, classes):
    network.eval()
    counts = np.zeros((classes, classes))
    for (x,), labels in loader:
        fields = x.numpy().reshape(len(x), -1, 2, *x.shape[2:])[:, ::-1]
        said = network(torch.from_numpy(-fields.reshape(x.shape))).argmax(1)
        np.add.at(counts, (labels.numpy(), said.numpy()), 1)
    return counts


def matrix_once(network, loader, classes):
    network.eval()
    counts = np.zeros((classes, classes))
    for (x,), labels in loader:
        said = network(backwards(x.unflatten(1, (-1, 2))).flatten(1, 2)).argmax(1)
        counts[labels.numpy(), said.numpy()] += 1
    return counts


def changing(network, loader, classes):
    found = matrix(network, loader, classes)
    for (x,), _ in loader:
        x.neg_()
    return found


RIGHT = {
    nb05.evaluation_loop: [loop, loop_numpy],
    nb06.backwards_matrix: [matrix, matrix_numpy],
}

WRONG = {
    nb05.evaluation_loop: [
        (lambda n, d: loop(n, d, mode=True), "training mode"),
        (lambda n, d: loop(n, d, grad=True), "gradients"),
        (lambda n, d: loop(n, d, arrange=lambda r, k: r.mean(1)), "one row a clip"),
        (lambda n, d: loop(n, d, arrange=lambda r, k: r.flatten(0, 1)), "in one row"),
        (lambda n, d: loop(n, d, arrange=mixed), "mixed"),
        (lambda n, d: loop(n, d, arrange=lambda r, k: r.softmax(-1)), "softmax"),
        (last_batch, "last batch alone"),
        (lambda n, d: loop(n, d, end=2), "got lost"),
        (lambda n, d: ([loop(n, [b])[0] for b in d], loop(n, d)[1]), "torch.cat"),
        (lambda n, d: loop(n, d)[0], "two things"),
    ],
    nb06.backwards_matrix: [
        (lambda n, d, k: matrix(n, d, k, change=lambda f: f), "as they are"),
        (lambda n, d, k: matrix(n, d, k, change=lambda f: backwards(f, 1)), "minus"),
        (lambda n, d, k: matrix(n, d, k, change=lambda f: backwards(f, ONLY_U)), "Only u"),
        (lambda n, d, k: matrix(n, d, k, change=lambda f: -f), "last field"),
        (lambda n, d, k: matrix(n, d, k, change=lambda f: backwards(f, order=(1, 2))), "v stands"),
        (lambda n, d, k: matrix(n, d, k, change=lambda f: backwards(f, plus=255)), "normalised"),
        (lambda n, d, k: matrix(n, d, k, mode=True), "training mode"),
        (lambda n, d, k: matrix(n, d, k).T, "swapped"),
        (lambda n, d, k: matrix(n, d, k, start=2), "last batch alone"),
        (matrix_once, "only once"),
        (changing, "were changed"),
    ],
}
