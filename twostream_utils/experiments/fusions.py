"""Fusions beside those of the course: of scores by an SVM, of maps in every way of the paper."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from twostream_utils.conv_fusion import ConvFusion
from twostream_utils.fusion import softmax
from twostream_utils.vgg import VGG

KINDS = ("sum", "max", "concat", "conv", "bilinear")
LAYERS = ("relu2", "relu3", "relu4", "relu5", "relu5+fc8")


def svm_fusion(
    held_out: tuple[np.ndarray, np.ndarray],
    labels: np.ndarray,
    spatial: np.ndarray,
    temporal: np.ndarray,
) -> np.ndarray:
    """Fuse by a linear SVM on stacked L2-normalised softmax scores (Simonyan & Zisserman 2014, §5).

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


class Bilinear(nn.Module):
    """Sum over places (and moments) of the outer product of both streams' maps.

    Two maps ``(B, M, N)`` over N places become ``(B, M²)``: signed square root, then unit length
    (Feichtenhofer et al. 2016, §3.1, eq. 5; Lin et al. 2015 for the normalisation).
    """

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        # The largest activations squared and summed leave the range of float16.
        with torch.autocast(a.device.type, enabled=False):
            product = torch.einsum("bin,bjn->bij", a.float(), b.float()).flatten(1) / a.shape[2]
            # sqrt has an infinite slope at 0, where every pair of silent maps is
            root = product.sign() * (product.abs() + 1e-8).sqrt()
            return nn.functional.normalize(root)


class MapFusion(ConvFusion):
    """Fusion of maps by another function or at another layer (Feichtenhofer et al. 2016, §3).

    ``kind``: how two maps ``(B, M, h, w)`` of one place become one. ``"sum"`` and ``"max"`` match
    map m with map m; ``"concat"`` stacks them and leaves the matching to the next layer, which
    starts as both streams' own weights side by side; ``"conv"`` learns the matching;
    ``"bilinear"`` multiplies every pair of maps and feeds a linear classifier.

    ``layer``: after the last ReLU of which block. What follows are the spatial stream's own
    layers, trained further. ``"relu5+fc8"`` keeps the temporal stream's classifier too and fuses a
    second time, a linear layer on both towers' class scores that starts as their mean.

    Raises ``ValueError`` for an unknown choice, or choices that exclude each other.
    """

    def __init__(
        self, spatial: VGG, temporal: VGG, kind: str = "conv", layer: str = "relu5",
        mix: tuple[float, float] = (0.25, 0.75), train_trunks: bool = False,
    ):  # fmt: skip
        for what, value, known in ("kind", kind, KINDS), ("layer", layer, LAYERS):
            if value not in known:
                raise ValueError(f"no {what} {value!r}; there are {', '.join(known)}")
        if kind == "bilinear" and layer != "relu5":
            raise ValueError("bilinear fusion feeds its own classifier: take layer 'relu5'")
        super().__init__(spatial, temporal, mix, int(layer[4]), train_trunks)
        temporal = copy.deepcopy(temporal)
        channels, classes = self.fuse.out_channels, self.classifier[-1].out_features
        self.kind = kind
        if kind == "bilinear":
            self.fuse = Bilinear()
            self.rest, self.classifier = nn.Identity(), nn.Linear(channels**2, classes)
        elif kind != "conv":
            del self.fuse
        others = temporal.features[-len(self.rest) :] if kind != "bilinear" else []
        if kind == "concat":
            after, other = self.rest, others
            if len(others) == 1:  # a pool alone: the classifier is the next layer with weights
                after, other = self.classifier, temporal.classifier
            place = 0 if after is self.classifier else 1
            after[place] = _side_by_side(after[place], other[place])
        if layer == "relu5+fc8":
            self.temporal_rest = others
            self.temporal_classifier = temporal.classifier
            self.fuse_scores = nn.Linear(2 * classes, classes)
            with torch.no_grad():
                eye = torch.eye(classes) / 2
                self.fuse_scores.weight.copy_(torch.cat([eye, eye], dim=1))
                self.fuse_scores.bias.zero_()

    def fused(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Fuse two maps ``(B, M, h, w)`` to ``(B, M, h, w)``, 2M of them for concat."""
        if self.kind == "sum":
            return a + b
        if self.kind == "max":
            return torch.maximum(a, b)
        joined = torch.cat([a, b], dim=1)
        return joined if self.kind == "concat" else torch.relu(self.fuse(joined))

    def forward(self, rgb: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        a, b = self.trunks(rgb, flow)
        if self.kind == "bilinear":
            return self.classifier(self.fuse(a.flatten(2), b.flatten(2)))
        logits = self.classifier(self.avgpool(self.rest(self.fused(a, b))).flatten(1))
        if not hasattr(self, "fuse_scores"):
            return logits
        other = self.temporal_classifier(self.avgpool(self.temporal_rest(b)).flatten(1))
        return self.fuse_scores(torch.cat([logits, other], dim=1))


def _side_by_side(spatial: nn.Module, temporal: nn.Module) -> nn.Module:
    """Return a layer for concatenated input: both streams' weights, the mean of their biases.

    A fully connected layer numbers its inputs channel by channel, so concatenated channels are
    concatenated columns here too.
    """
    if isinstance(spatial, nn.Conv2d):
        layer = nn.Conv2d(2 * spatial.in_channels, spatial.out_channels, 3, padding=1)
    else:
        layer = nn.Linear(2 * spatial.in_features, spatial.out_features)
    with torch.no_grad():
        layer.weight.copy_(torch.cat([spatial.weight, temporal.weight], dim=1) / 2)
        layer.bias.copy_((spatial.bias + temporal.bias) / 2)
    return layer
