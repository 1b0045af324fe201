"""VGG-19 at any width and for any number of input channels, and the first-layer transformation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from .device import pooling_device

# Configuration E of Simonyan & Zisserman 2015 (arXiv:1409.1556), table 1; "M" is a 2×2 max pool.
VGG19 = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M",
         512, 512, 512, 512, "M", 512, 512, 512, 512, "M")  # fmt: skip
MINI_WEIGHTS = Path(__file__).parent / "weights" / "vgg19_bn_quarter_stills.safetensors"


def transform_first_layer(
    weight: torch.Tensor, in_channels: int, rescale: bool = False
) -> torch.Tensor:
    """Fit the first convolution of an RGB network to a stack of ``in_channels`` channels.

    ``weight`` is ``(O, 3, kH, kW)``; the result ``(O, in_channels, kH, kW)`` of the same dtype.
    Every output filter is averaged over its own RGB channels and the average is repeated over the
    input channels (Wang et al. 2015, arXiv:1507.02159, §3 "pre-training for two-stream
    ConvNets"). Repeating multiplies the response to input that is alike in all channels
    by in_channels/3; ``rescale`` takes that factor out again.

    Raises ``ValueError`` unless ``weight`` has four dimensions.
    """
    if weight.ndim != 4 or in_channels < 1:
        got = f"{tuple(weight.shape)} and {in_channels}"
        raise ValueError(f"need a weight (O, 3, kH, kW) and an input channel or more, got {got}")
    mean = weight.mean(dim=1, keepdim=True)
    repeated = mean.repeat(1, in_channels, 1, 1)
    return repeated * (weight.shape[1] / in_channels) if rescale else repeated


class AveragePool(nn.AdaptiveAvgPool2d):
    """Pools ``(B, M, h, w)`` to ``(B, M, size, size)``, on the CPU where the device cannot."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.to(pooling_device(x, self.output_size))).to(x.device)


class VGG(nn.Module):
    """VGG with torchvision's parameter names, ``features`` and ``classifier``.

    ``forward`` maps ``(B, in_channels, H, W)`` float32 to logits ``(B, num_classes)``; ``maps``
    returns the last convolutional maps after their ReLU (ReLU5_4) and before the last pool:
    ``(B, 512·width, H/16, W/16)``.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 1000,
        width: float = 1.0,
        batch_norm: bool = False,
        dropout: float = 0.5,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for size in VGG19:
            if size == "M":
                layers.append(nn.MaxPool2d(2, 2))
                continue
            out = max(1, round(size * width))
            layers.append(nn.Conv2d(channels, out, 3, padding=1))
            layers += [nn.BatchNorm2d(out)] * batch_norm
            layers.append(nn.ReLU(inplace=True))
            channels = out
        hidden = round(4096 * width)
        self.features = nn.Sequential(*layers)
        self.avgpool = AveragePool(7)
        self.classifier = nn.Sequential(
            nn.Linear(channels * 49, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )  # fmt: skip
        self.apply(_initialise)

    @property
    def map_channels(self) -> int:
        """Number of channels of the ReLU5 maps: 512 at width 1."""
        return self.classifier[0].in_features // 49

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """Return the ReLU5 maps, ``(B, map_channels, H/16, W/16)``."""
        return self.features[:-1](x)

    def classify(self, maps: torch.Tensor) -> torch.Tensor:
        """Pool ReLU5 maps and classify them: ``(B, map_channels, h, w)`` to ``(B, classes)``."""
        return self.classifier(self.avgpool(self.features[-1](maps)).flatten(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.maps(x))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
        nn.init.zeros_(module.bias)


def load_weights(weights: str | Path | Mapping[str, torch.Tensor], batch_norm: bool) -> dict:
    """Return a state dict: ``"imagenet"`` (torchvision's), ``"mini"`` (shipped) or a file.

    torchvision downloads its file once (548 MB) and checks its hash. Files are read as data only,
    safetensors or a pickle restricted to tensors. Raises ``FileNotFoundError`` naming the file, and
    ``RuntimeError`` with the way out if torchvision's cannot be fetched.
    """
    if isinstance(weights, Mapping):
        return dict(weights)
    if weights == "imagenet":
        from torchvision.models import VGG19_BN_Weights, VGG19_Weights

        which = (VGG19_BN_Weights if batch_norm else VGG19_Weights).IMAGENET1K_V1
        try:
            return which.get_state_dict(check_hash=True, weights_only=True)
        except OSError as error:
            place = Path(torch.hub.get_dir()) / "checkpoints" / which.url.rsplit("/", 1)[1]
            raise RuntimeError(
                f"the ImageNet weights could not be fetched ({error}). Download {which.url} "
                f"elsewhere and put it at {place}, or take the profile 'mini', which has its own"
            ) from error
    path = MINI_WEIGHTS if weights == "mini" else Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}; give 'imagenet', 'mini' or a file")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return {name: tensor.float() if tensor.is_floating_point() else tensor
                for name, tensor in load_file(path).items()}  # fmt: skip
    return torch.load(path, map_location="cpu", weights_only=True)


def vgg19(
    in_channels: int = 3,
    num_classes: int = 1000,
    width: float = 1.0,
    batch_norm: bool = False,
    weights: str | Path | Mapping[str, torch.Tensor] | None = None,
    rescale: bool = False,
    dropout: float = 0.5,
) -> VGG:
    """Build VGG-19 for stacks of ``in_channels`` channels, pre-trained if ``weights`` are given.

    Pre-trained first-layer weights go through :func:`transform_first_layer` when ``in_channels``
    is not 3; their bias is kept. Layers that the weights do not hold, and a last layer of another
    number of classes, start as torchvision's do: He initialisation for convolutions, a deviation of
    0.01 for fully connected layers.

    Raises ``RuntimeError`` naming the layer and both shapes when weights and network do not match.
    """
    model = VGG(in_channels, num_classes, width, batch_norm, dropout)
    if weights is None:
        return model
    state = load_weights(weights, batch_norm)
    first, last = "features.0.weight", "classifier.6."
    if first in state and state[first].shape[1] != in_channels:
        state[first] = transform_first_layer(state[first], in_channels, rescale)
    if last + "bias" in state and len(state[last + "bias"]) != num_classes:
        state = {name: tensor for name, tensor in state.items() if not name.startswith(last)}
    model.load_state_dict(model.state_dict() | state)
    return model
