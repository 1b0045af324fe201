"""Fusions beside those of the course: of scores by an SVM, of maps as Feichtenhofer et al. 2016."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from twostream_utils.conv_fusion import ConvFusion
from twostream_utils.fusion import softmax
from twostream_utils.vgg import VGG

KINDS = ("sum", "max", "concat")


def svm_fusion(
    held_out: tuple[np.ndarray, np.ndarray], labels: np.ndarray, spatial: np.ndarray,
    temporal: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Fuse by a linear SVM on stacked L2-normalised softmax scores (Simonyan & Zisserman 2014, §2).

    Trained on ``held_out`` = (spatial, temporal) logits, each ``(M, classes)``, with ``labels``
    ``(M,)``: clips that the streams were not trained on, or their scores are too sure to learn
    from. Returns the decision values of the test clips, ``(N, classes)``, one against the rest;
    a class without a clip among the held-out ones gets the lowest value. C = 1.

    Raises ``ValueError`` for labels of fewer than two classes.
    """
    from sklearn.svm import LinearSVC

    known = np.unique(labels)
    if len(known) < 2:
        raise ValueError(f"an SVM needs clips of two classes or more, got labels {known.tolist()}")
    machine = LinearSVC(C=1.0, dual="auto").fit(_stacked(*held_out), labels)
    values = machine.decision_function(_stacked(spatial, temporal))
    if len(known) == 2:
        values = np.stack([-values, values], axis=1)
    scores = np.full((len(values), np.shape(spatial)[1]), values.min() - 1)
    scores[:, known] = values
    return scores


def _stacked(spatial: np.ndarray, temporal: np.ndarray) -> np.ndarray:
    both = [softmax(x) for x in (spatial, temporal)]
    return np.concatenate([x / np.linalg.norm(x, axis=1, keepdims=True) for x in both], axis=1)


class MapFusion(ConvFusion):
    """Two maps of one place joined by something else than a convolution (the same paper, §3.1).

    ``kind``: ``"sum"`` and ``"max"`` match map m with map m; ``"concat"`` stacks them and leaves
    the matching to the next layer with weights, the first fully connected one, which starts as both
    streams' own side by side. Raises ``ValueError`` for any other.
    """

    def __init__(self, spatial: VGG, temporal: VGG, kind: str, train_trunks: bool = False):
        if kind not in KINDS:
            raise ValueError(f"no kind {kind!r}; there are {', '.join(KINDS)}")
        super().__init__(spatial, temporal, train_trunks=train_trunks)
        self.kind = kind
        del self.fuse
        if kind == "concat":
            # It numbers its inputs map by map: stacked maps are columns side by side here too.
            own, other = self.classifier[0], temporal.classifier[0]
            self.classifier[0] = layer = nn.Linear(2 * own.in_features, own.out_features)
            with torch.no_grad():
                layer.weight.copy_(torch.cat([own.weight, other.weight], dim=1) / 2)
                layer.bias.copy_((own.bias + other.bias) / 2)

    def forward(self, rgb: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        a, b = self.trunks(rgb, flow)
        if self.kind == "concat":
            maps = torch.cat([a, b], dim=1)
        else:
            maps = a + b if self.kind == "sum" else torch.maximum(a, b)
        return self.classifier(self.avgpool(self.rest(maps)).flatten(1))
