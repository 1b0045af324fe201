"""Conv fusion: the two streams' maps of one place joined before they are classified."""

import copy

import torch
from torch import nn

from .vgg import VGG


def fusion_layer(channels: int, mix: tuple[float, float] = (0.25, 0.75)) -> nn.Conv2d:
    """Return the 1×1 convolution 2M→M that starts as ``mix[0]``·spatial + ``mix[1]``·temporal.

    Two identities side by side, ``(M, 2M, 1, 1)``, bias 0 (Feichtenhofer et al. 2016, §3.4).
    """
    layer = nn.Conv2d(2 * channels, channels, kernel_size=1)
    eye = torch.eye(channels)
    start = torch.cat([mix[0] * eye, mix[1] * eye], dim=1)
    with torch.no_grad():
        layer.weight.copy_(start[:, :, None, None])
        layer.bias.zero_()
    return layer


class ConvFusion(nn.Module):
    """Two trained streams joined by :func:`fusion_layer` (Feichtenhofer et al. 2016, §3).

    ``forward(rgb, flow)`` maps ``(B, 3·frames, H, W)`` and ``(B, 2·fields, H, W)`` float32 to
    logits ``(B, classes)``. The streams meet after the last ReLU of ``block`` 1 to 5, and the
    spatial one's own layers follow. The trunks train, batch statistics too, if ``train_trunks``.
    """

    def __init__(self, spatial: VGG, temporal: VGG, mix: tuple[float, float] = (0.25, 0.75),
                 block: int = 5, train_trunks: bool = False):  # fmt: skip
        super().__init__()
        spatial, temporal = copy.deepcopy(spatial), copy.deepcopy(temporal)
        pools = [k for k, m in enumerate(spatial.features) if isinstance(m, nn.MaxPool2d)]
        cut = pools[block - 1]
        self.train_trunks = train_trunks
        self.spatial = spatial.features[:cut].requires_grad_(train_trunks)
        self.temporal = temporal.features[:cut].requires_grad_(train_trunks)
        channels = [m for m in self.spatial if isinstance(m, nn.Conv2d)][-1].out_channels
        self.fuse = fusion_layer(channels, mix)
        self.rest = spatial.features[cut:]
        self.avgpool = spatial.avgpool
        self.classifier = spatial.classifier

    def train(self, mode: bool = True) -> "ConvFusion":
        """Switch to training; frozen trunks stay in evaluation mode."""
        super().train(mode)
        if not self.train_trunks:
            self.spatial.eval()
            self.temporal.eval()
        return self

    def trunks(self, rgb: torch.Tensor, flow: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both streams' maps, each ``(B, M, h, w)``: H/16 and W/16 after block 5."""
        with torch.set_grad_enabled(self.train_trunks and torch.is_grad_enabled()):
            return self.spatial(rgb), self.temporal(flow)

    def forward(self, rgb: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        a, b = self.trunks(rgb, flow)
        joined = torch.cat([a, b], dim=1)
        fused = torch.relu(self.fuse(joined))
        maps = self.avgpool(self.rest(fused))
        return self.classifier(maps.flatten(1))


def fusion_layer_3d(channels: int, mix: tuple[float, float], kernel: int = 3) -> nn.Conv3d:
    """Return :func:`fusion_layer` over time and space, ``(M, 2M, kernel, kernel, kernel)``.

    Spread by a Gaussian of σ = 1 and sum 1 (Feichtenhofer et al. 2016, §3.4, the authors' code).
    """
    layer = nn.Conv3d(2 * channels, channels, kernel, padding=kernel // 2)
    line = torch.exp(-((torch.arange(kernel) - kernel // 2) ** 2) / 2)
    blur = torch.einsum("i,j,k->ijk", line, line, line)
    with torch.no_grad():
        layer.weight.copy_(fusion_layer(channels, mix).weight[..., None] * (blur / blur.sum()))
        layer.bias.zero_()
    return layer


class FusionOverTime(ConvFusion):
    """Conv fusion of T = ``chunks`` moments by a 3D convolution and a pool over all of time.

    ``forward`` takes T·frames and T·fields a clip; each moment goes through the trunks alone.
    ``pool_first`` fuses the maps after their pool. ``towers=2`` keeps the temporal stream's rest
    beside the fusion: logits ``(B, 2, classes)`` in training mode, else the mean of both.
    """

    def __init__(self, spatial: VGG, temporal: VGG, chunks: int = 1, kernel: int = 3,
                 pool_first: bool = False, towers: int = 1,
                 mix: tuple[float, float] = (0.25, 0.75), **choices):  # fmt: skip
        super().__init__(spatial, temporal, mix, **choices)
        self.chunks, self.towers = chunks, towers
        self.pool_first = self.rest[0] if pool_first else nn.Identity()
        self.rest = self.rest[1:] if pool_first else self.rest
        self.fuse = fusion_layer_3d(self.fuse.out_channels, mix, kernel)
        if towers == 2:
            temporal = copy.deepcopy(temporal)
            self.temporal_rest = temporal.features[len(temporal.features) - len(self.rest) :]
            self.temporal_classifier = temporal.classifier

    def forward(self, rgb: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        moments = (x.unflatten(1, (self.chunks, -1)).flatten(0, 1) for x in (rgb, flow))
        both = self.trunks(*moments)  # of (B·T, channels, H, W)
        both = (self.pool_first(maps).unflatten(0, (-1, self.chunks)) for maps in both)
        a, b = (maps.transpose(1, 2) for maps in both)  # (B, M, T, h, w)
        fused = torch.relu(self.fuse(torch.cat([a, b], dim=1)))
        # the strongest of all moments and the pool of what follows are one 3D pool
        maps = self.avgpool(self.rest(fused.amax(dim=2)))
        logits = self.classifier(maps.flatten(1))
        if self.towers == 1:
            return logits
        maps = self.avgpool(self.temporal_rest(b.amax(dim=2)))
        logits = torch.stack([logits, self.temporal_classifier(maps.flatten(1))], dim=1)
        return logits if self.training else logits.mean(dim=1)


# The words of a profile: 2D; with a second tower; the seed's, after the last pool; the paper's.
FORMS = {
    "conv": {}, "two_towers": {"kernel": 1, "towers": 2},
    "seed": {"kernel": 1, "pool_first": True}, "paper": {"kernel": 3, "towers": 2},
}  # fmt: skip


def fuse_streams(spatial: VGG, temporal: VGG, form="conv", chunks=1, **choices) -> ConvFusion:
    """Return a fusion in one of :data:`FORMS`; ``ValueError``, if the choices do not fit."""
    a, b = ((s.map_channels, len(s.features), s.classifier[-1].out_features)
            for s in (spatial, temporal))  # fmt: skip
    if a != b:
        raise ValueError(f"the streams do not fit: (maps, layers, classes) are {a} and {b}")
    if form not in FORMS:
        raise ValueError(f"no form {form!r} of conv fusion; there are {', '.join(FORMS)}")
    if not 1 <= choices.get("block", 5) <= 5:
        raise ValueError(f"no block {choices['block']} of VGG-19 to fuse after; there are 1 to 5")
    if form != "conv":
        return FusionOverTime(spatial, temporal, chunks, **(FORMS[form] | choices))
    if chunks != 1:
        raise ValueError(f"'conv' fuses one moment, not {chunks}: take 'seed' or 'paper'")
    return ConvFusion(spatial, temporal, **choices)
