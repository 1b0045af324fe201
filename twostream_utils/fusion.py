"""Fusion of the two streams: of their scores (late) and of their convolutional maps."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from .vgg import VGG


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis, the same shape, float64."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True, initial=-np.inf), dtype=np.float64)
    return shifted / shifted.sum(axis=-1, keepdims=True)


def late_fusion(
    spatial: np.ndarray,
    temporal: np.ndarray,
    weights: Sequence[float] = (1, 1),
    space: str = "softmax",
) -> np.ndarray:
    """Average the two streams' scores (Simonyan & Zisserman 2014, §2).

    ``spatial`` and ``temporal`` are logits ``(N, classes)`` of the same clips in the same order.
    ``space="softmax"`` averages probabilities, ``"logit"`` averages the logits and takes the
    softmax afterwards; ``weights`` are (spatial, temporal). Returns probabilities
    ``(N, classes)``, each row summing to 1.

    Raises ``ValueError`` for shapes that differ, weights that do not sum to more than zero, or an
    unknown space.
    """
    spatial, temporal = np.asarray(spatial), np.asarray(temporal)
    if spatial.shape != temporal.shape:
        raise ValueError(
            f"scores of different clips or classes: spatial is {spatial.shape}, "
            f"temporal is {temporal.shape}"
        )
    a, b = np.asarray(weights, dtype=np.float64)
    if a < 0 or b < 0 or a + b <= 0:
        raise ValueError(f"weights must be positive and not both zero, got {tuple(weights)}")
    a, b = a / (a + b), b / (a + b)
    if space == "softmax":
        return a * softmax(spatial) + b * softmax(temporal)
    if space == "logit":
        return softmax(a * spatial + b * temporal)
    raise ValueError(f"no space {space!r}; there are 'softmax' and 'logit'")


class ConvFusion(nn.Module):
    """Two trained streams joined after ReLU5 (Feichtenhofer et al. 2016, arXiv:1604.06573, §3).

    Both trunks end in their ReLU5 maps. These are concatenated, ``(B, 2M, h, w)``, brought back to
    M channels by a 1×1 convolution and ReLU, max-pooled and classified by the spatial stream's own
    fully connected layers (M = 512 at width 1). The convolution starts as the identity of both
    streams, 0.25 of the spatial and 0.75 of the temporal channel: temporal activations are about
    three times smaller. Trunks are frozen unless ``train_trunks``, batch statistics included.

    ``forward(rgb, flow)`` maps ``(B, 3·frames, H, W)`` and ``(B, 2·fields, H, W)`` float32 to
    logits ``(B, classes)``. Raises ``ValueError`` when the two streams' maps do not match.
    """

    def __init__(
        self,
        spatial: VGG,
        temporal: VGG,
        mix: tuple[float, float] = (0.25, 0.75),
        train_trunks: bool = False,
    ):
        super().__init__()
        if spatial.map_channels != temporal.map_channels:
            raise ValueError(
                f"the streams' maps differ: spatial has {spatial.map_channels} channels, "
                f"temporal {temporal.map_channels}"
            )
        channels = spatial.map_channels
        self.spatial = copy.deepcopy(spatial.features[:-1])
        self.temporal = copy.deepcopy(temporal.features[:-1])
        self.fuse = nn.Conv2d(2 * channels, channels, kernel_size=1)
        self.pool = copy.deepcopy(spatial.features[-1])
        self.avgpool = copy.deepcopy(spatial.avgpool)
        self.classifier = copy.deepcopy(spatial.classifier)
        self.train_trunks = train_trunks
        for trunk in (self.spatial, self.temporal):
            trunk.requires_grad_(train_trunks)
        with torch.no_grad():
            eye = torch.eye(channels)
            self.fuse.weight.copy_(torch.cat([mix[0] * eye, mix[1] * eye], 1)[:, :, None, None])
            self.fuse.bias.zero_()

    def train(self, mode: bool = True) -> ConvFusion:
        """Switch to training; frozen trunks stay in evaluation mode."""
        super().train(mode)
        if not self.train_trunks:
            self.spatial.eval()
            self.temporal.eval()
        return self

    def maps(self, rgb: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        """Return the fused maps before pooling, ``(B, M, h, w)`` float32."""
        with torch.set_grad_enabled(self.train_trunks and torch.is_grad_enabled()):
            a, b = self.spatial(rgb), self.temporal(flow)
        if a.shape != b.shape:
            raise ValueError(
                f"the streams' maps differ: spatial {tuple(a.shape)}, temporal {tuple(b.shape)}; "
                f"are both fed crops of one size?"
            )
        return torch.relu(self.fuse(torch.cat([a, b], dim=1)))

    def forward(self, rgb: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.avgpool(self.pool(self.maps(rgb, flow))).flatten(1))
