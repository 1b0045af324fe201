"""Conv fusion: the two streams' maps of one place joined before they are classified."""

from __future__ import annotations

import copy

import torch
from torch import nn

from .vgg import VGG


def fusion_layer(channels: int, mix: tuple[float, float] = (0.25, 0.75)) -> nn.Conv2d:
    """Return the 1×1 convolution 2M→M that starts as ``mix[0]``·spatial + ``mix[1]``·temporal.

    Its weight ``(M, 2M, 1, 1)`` is the identity of both streams side by side: map m of one meets
    map m of the other (Feichtenhofer et al. 2016, §3.4). The bias starts at 0.
    """
    layer = nn.Conv2d(2 * channels, channels, kernel_size=1)
    eye = torch.eye(channels)
    with torch.no_grad():
        layer.weight.copy_(torch.cat([mix[0] * eye, mix[1] * eye], dim=1)[:, :, None, None])
        layer.bias.zero_()
    return layer


class ConvFusion(nn.Module):
    """Two trained streams joined at ReLU5 by :func:`fusion_layer` (Feichtenhofer et al. 2016, §3).

    ``forward(rgb, flow)`` maps ``(B, 3·frames, H, W)`` and ``(B, 2·fields, H, W)`` float32 to
    logits ``(B, classes)``. What follows the fusion is the spatial stream's own pool and
    classifier, trained further. The trunks before it stay as they are, batch statistics included,
    unless ``train_trunks``.

    ``towers=2`` keeps the temporal stream's classifier beside the fusion: logits
    ``(B, 2, classes)`` in training mode, a loss for each, and the mean of both otherwise.

    Raises ``ValueError`` for streams of different sizes or another number of towers.
    """

    def __init__(
        self,
        spatial: VGG,
        temporal: VGG,
        towers: int = 1,
        mix: tuple[float, float] = (0.25, 0.75),
        train_trunks: bool = False,
    ):
        super().__init__()
        check_streams(spatial, temporal)
        if towers not in (1, 2):
            raise ValueError(f"there are 1 or 2 towers, not {towers!r}")
        spatial, temporal = copy.deepcopy(spatial), copy.deepcopy(temporal)
        self.towers, self.train_trunks = towers, train_trunks
        self.spatial = spatial.features[:-1].requires_grad_(train_trunks)
        self.temporal = temporal.features[:-1].requires_grad_(train_trunks)
        self.fuse = fusion_layer(spatial.map_channels, mix)
        self.pool, self.avgpool = spatial.features[-1], spatial.avgpool
        self.classifier = spatial.classifier
        if towers == 2:
            self.temporal_classifier = temporal.classifier

    def train(self, mode: bool = True) -> ConvFusion:
        """Switch to training; frozen trunks stay in evaluation mode."""
        super().train(mode)
        if not self.train_trunks:
            self.spatial.eval()
            self.temporal.eval()
        return self

    def trunks(self, rgb: torch.Tensor, flow: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both streams' ReLU5 maps, each ``(B, M, H/16, W/16)``."""
        with torch.set_grad_enabled(self.train_trunks and torch.is_grad_enabled()):
            return self.spatial(rgb), self.temporal(flow)

    def fused(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Fuse the maps of both streams, each ``(B, M, h, w)``, to ``(B, M, h, w)``."""
        return torch.relu(self.fuse(torch.cat([a, b], dim=1)))

    def head(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Fuse, pool and classify the maps of :meth:`trunks`; all that is trained by default."""
        logits = self.classifier(self.avgpool(self.pool(self.fused(a, b))).flatten(1))
        if self.towers == 1:
            return logits
        other = self.temporal_classifier(self.avgpool(self.pool(b)).flatten(1))
        both = torch.stack([logits, other], dim=1)
        return both if self.training else both.mean(dim=1)

    def forward(self, rgb: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        return self.head(*self.trunks(rgb, flow))


def check_streams(spatial: VGG, temporal: VGG) -> None:
    """Raise ``ValueError`` unless both streams have as many maps, layers and classes."""
    both = spatial, temporal
    a, b = ((s.map_channels, len(s.features), s.classifier[-1].out_features) for s in both)
    if a != b:
        raise ValueError(f"the streams do not fit: (maps, layers, classes) are {a} and {b}")
