"""Fusions beside those of the course: of scores by an SVM, of maps in every way of the paper."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from twostream_utils.conv_fusion import ConvFusion, check_streams, fusion_layer
from twostream_utils.fusion import softmax
from twostream_utils.vgg import VGG

KINDS = ("sum", "max", "concat", "conv", "bilinear")
LAYERS = ("relu2", "relu3", "relu4", "relu5", "relu5+fc8")
TIMES = ("2d", "3dpool", "3d")


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


def split_chunks(
    rgb: torch.Tensor, flow: torch.Tensor, chunks: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut both stacks of a view into ``chunks`` moments.

    ``rgb`` ``(B, 3·frames, H, W)`` becomes ``(B·T, 3, H, W)``, the frame in the middle of each
    chunk; ``flow`` ``(B, 2·fields, H, W)`` becomes ``(B·T, 2·fields/T, H, W)``: 50 fields as one
    stack, or the same 50 as five chunks of 10 (Feichtenhofer et al. 2016, §3.4). T = 1 changes
    nothing. Raises ``ValueError`` when the fields do not divide evenly or frames are too few.
    """
    if chunks == 1:
        return rgb, flow
    frames, fields = rgb.shape[1] // 3, flow.shape[1] // 2
    if fields % chunks or frames < chunks:
        raise ValueError(
            f"{chunks} chunks need at least as many RGB frames and a multiple of flow fields; "
            f"the stacks hold {frames} frames and {fields} fields"
        )
    middle = [(2 * k + 1) * frames // (2 * chunks) for k in range(chunks)]
    rgb = rgb.unflatten(1, (frames, 3))[:, middle]
    return rgb.flatten(0, 1), flow.unflatten(1, (chunks, -1)).flatten(0, 1)


def fusion_layer_3d(channels: int, mix: tuple[float, float]) -> nn.Conv3d:
    """Return a 3×3×3 convolution 2M→M, weight ``(M, 2M, 3, 3, 3)``, that starts as a blurred mix.

    The identity of :func:`~twostream_utils.conv_fusion.fusion_layer` times a Gaussian of σ = 1
    that sums to 1 (Feichtenhofer et al. 2016, §3.4 and the authors' code).
    """
    layer = nn.Conv3d(2 * channels, channels, kernel_size=3, padding=1)
    line = torch.exp(-(torch.tensor([-1.0, 0.0, 1.0]) ** 2) / 2)
    blur = torch.einsum("i,j,k->ijk", line, line, line)
    eye = torch.eye(channels)
    identity = torch.cat([mix[0] * eye, mix[1] * eye], dim=1)
    with torch.no_grad():
        layer.weight.copy_(identity[:, :, None, None, None] * (blur / blur.sum()))
        layer.bias.zero_()
    return layer


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
    """Conv fusion with every choice of Feichtenhofer et al. 2016, §3.

    ``kind``: how two maps ``(B, M, h, w)`` of one place become one. ``"sum"`` and ``"max"`` match
    map m with map m; ``"concat"`` stacks them and leaves the matching to the next layer, which
    starts as both streams' own weights side by side; ``"conv"`` learns the matching;
    ``"bilinear"`` multiplies every pair of maps and feeds a linear classifier.

    ``layer``: after the last ReLU of which block. What follows are the spatial stream's own
    layers, trained further. ``"relu5+fc8"`` keeps the temporal stream's classifier too and fuses a
    second time, a linear layer on both towers' class scores that starts as their mean.

    ``time``: what happens to T = ``chunks`` moments, see :func:`split_chunks`. ``"2d"``: each is
    fused, pooled and classified alone and the scores are averaged; ``"3dpool"``: 2D fusion, then
    one max pool 2×2 in space over all moments; ``"3d"``: a 3×3×3 convolution, then that pool.
    With more than one chunk the streams take one RGB frame and fields/chunks fields.

    Raises ``ValueError`` for an unknown choice, for choices that exclude each other, or streams
    that do not fit.
    """

    def __init__(
        self,
        spatial: VGG,
        temporal: VGG,
        kind: str = "conv",
        layer: str = "relu5",
        time: str = "2d",
        chunks: int = 1,
        towers: int = 1,
        mix: tuple[float, float] = (0.25, 0.75),
        train_trunks: bool = False,
    ):
        nn.Module.__init__(self)  # the layers of ConvFusion are among those chosen here
        check_streams(spatial, temporal)
        _check_choices(kind, layer, time, chunks, towers)
        spatial, temporal = copy.deepcopy(spatial), copy.deepcopy(temporal)
        pools = [k for k, m in enumerate(spatial.features) if isinstance(m, nn.MaxPool2d)]
        cut = pools[int(layer[4]) - 1]
        convolutions = [m for m in spatial.features[:cut] if isinstance(m, nn.Conv2d)]
        channels, classes = convolutions[-1].out_channels, spatial.classifier[-1].out_features
        self.kind, self.time, self.chunks, self.train_trunks = kind, time, chunks, train_trunks
        self.spatial = spatial.features[:cut].requires_grad_(train_trunks)
        self.temporal = temporal.features[:cut].requires_grad_(train_trunks)
        if kind == "bilinear":
            self.fuse = Bilinear()
            self.classifier = nn.Linear(channels**2, classes)
            return
        if kind == "conv":
            build = fusion_layer_3d if time == "3d" else fusion_layer
            self.fuse = build(channels, mix)
        self.rest, self.avgpool = spatial.features[cut + 1 :], spatial.avgpool
        self.classifier = spatial.classifier
        if kind == "concat":
            after = self.rest if len(self.rest) else self.classifier
            other = temporal.features[cut + 1 :] if len(self.rest) else temporal.classifier
            after[0] = _side_by_side(after[0], other[0])
        if towers == 2 or layer == "relu5+fc8":
            self.temporal_rest = temporal.features[cut + 1 :]
            self.temporal_classifier = temporal.classifier
        if layer == "relu5+fc8":
            self.fuse_scores = nn.Linear(2 * classes, classes)
            with torch.no_grad():
                eye = torch.eye(classes) / 2
                self.fuse_scores.weight.copy_(torch.cat([eye, eye], dim=1))
                self.fuse_scores.bias.zero_()

    def trunks(self, rgb: torch.Tensor, flow: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both streams' maps at the fusion layer, each ``(B·T, M, h, w)``."""
        return super().trunks(*split_chunks(rgb, flow, self.chunks))

    def fused(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Fuse two maps ``(B·T, M, h, w)`` to ``(B·T, M, h, w)``, 2M of them for concat."""
        if self.kind == "sum":
            return a + b
        if self.kind == "max":
            return torch.maximum(a, b)
        if self.kind == "concat":
            return torch.cat([a, b], dim=1)
        if self.time != "3d":
            return super().fused(a, b)
        volume = torch.cat([a, b], dim=1).unflatten(0, (-1, self.chunks)).transpose(1, 2)
        return torch.relu(self.fuse(volume)).transpose(1, 2).flatten(0, 1)

    def _classify(self, maps: torch.Tensor, rest: nn.Module, head: nn.Module) -> torch.Tensor:
        """Pool 2×2 in space, in 3D over all moments too, and classify."""
        if self.time != "2d":
            maps = maps.unflatten(0, (-1, self.chunks)).amax(dim=1)
        logits = head(self.avgpool(rest(nn.functional.max_pool2d(maps, 2))).flatten(1))
        # 2D keeps the moments apart up to here
        return logits.unflatten(0, (-1, self.chunks)).mean(1) if self.time == "2d" else logits

    def head(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Fuse, pool and classify two maps of :meth:`trunks`; all that is trained by default."""
        if self.kind == "bilinear":
            a, b = (x.unflatten(0, (-1, self.chunks)).transpose(1, 2).flatten(2) for x in (a, b))
            return self.classifier(self.fuse(a, b))
        logits = self._classify(self.fused(a, b), self.rest, self.classifier)
        if not hasattr(self, "temporal_classifier"):
            return logits
        other = self._classify(b, self.temporal_rest, self.temporal_classifier)
        if hasattr(self, "fuse_scores"):
            return self.fuse_scores(torch.cat([logits, other], dim=1))
        both = torch.stack([logits, other], dim=1)
        return both if self.training else both.mean(dim=1)


def _check_choices(kind: str, layer: str, time: str, chunks: int, towers: int) -> None:
    for what, value, known in (
        ("kind", kind, KINDS), ("layer", layer, LAYERS), ("time", time, TIMES),
        ("number of towers", towers, (1, 2)),
    ):  # fmt: skip
        if value not in known:
            raise ValueError(f"no {what} {value!r}; there are {', '.join(map(str, known))}")
    if chunks < 1 or (chunks == 1 and time != "2d"):
        raise ValueError(
            f"time={time!r} cannot fuse over {chunks} moment(s): take chunks=5, or time='2d' for "
            "stacks that are one moment"
        )
    if time == "3d" and kind != "conv":
        raise ValueError(f"a 3D convolution is of kind 'conv', not {kind!r}; take time='3dpool'")
    if kind == "bilinear" and (layer != "relu5" or towers == 2):
        raise ValueError("bilinear fusion feeds its own classifier: layer 'relu5' and one tower")
    if towers == 2 and layer == "relu5+fc8":
        raise ValueError("'relu5+fc8' fuses both towers' scores already; take towers=1")


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
