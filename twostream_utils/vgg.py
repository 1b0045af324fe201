"""VGG-19 at any width and for any number of input channels, and the first-layer transformation."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

# Convolutions and channels of each block: Simonyan & Zisserman 2015 (arXiv:1409.1556), table 1, E.
VGG19 = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))
# Convolutional layers at a quarter of the width, with batch norm, by what they were trained on.
_FILES = sorted(Path(__file__).parent.glob("weights/vgg19_bn_quarter_*.safetensors"))
SHIPPED = {file.stem.rpartition("_")[2]: file for file in _FILES}


def transform_first_layer(
    weight: torch.Tensor, in_channels: int, how: str = "mean"
) -> torch.Tensor:
    """Fit the first weight of an RGB network, ``(O, 3, kH, kW)``, to ``(O, in_channels, kH, kW)``.

    ``"mean"`` repeats a filter's mean over RGB (Wang et al. 2015, arXiv:1507.02159, §3), and input
    that is alike in all channels gets in_channels/3 times its response; ``"mean_rescaled"`` does
    not; ``"inflate"`` repeats the colours for each frame, divided by the number of frames (Carreira
    & Zisserman 2017, arXiv:1705.07750). Raises ``ValueError``: another shape, an unknown word,
    channels that ``how`` cannot fill.
    """
    if weight.ndim != 4 or weight.shape[1] != 3 or in_channels < 1:
        got = f"{tuple(weight.shape)} and {in_channels}"
        raise ValueError(f"need a weight (O, 3, kH, kW) and an input channel or more, got {got}")
    if how == "inflate":
        frames = in_channels // 3
        if in_channels != 3 * frames:
            raise ValueError(f"'inflate' is for RGB frames: {in_channels} is no multiple of 3")
        return weight.repeat(1, frames, 1, 1) / frames
    mean = weight.mean(dim=1, keepdim=True)
    copies = mean.repeat(1, in_channels, 1, 1)
    if how == "mean":
        return copies
    if how == "mean_rescaled":
        return copies * 3 / in_channels
    raise ValueError(f"no {how!r}; a first layer is made by 'mean', 'mean_rescaled' or 'inflate'")


class AveragePool(nn.AdaptiveAvgPool2d):
    """Pools ``(B, M, h, w)`` to ``(B, M, size, size)``, on the CPU where the device cannot."""

    def place(self, x: torch.Tensor) -> torch.device:  # pytorch issue 96056
        even = all(max(s, self.output_size) % min(s, self.output_size) == 0 for s in x.shape[-2:])
        return x.device if even or x.device.type != "mps" else torch.device("cpu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.to(self.place(x))).to(x.device)


def vgg_block(convolutions: int, channels: int, out: int, batch_norm: bool) -> list[nn.Module]:
    """Return a block's layers: convolutions from ``channels`` to ``out`` channels, and a pool."""
    layers = []
    for _ in range(convolutions):
        layers.append(nn.Conv2d(channels, out, 3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(out))
        layers.append(nn.ReLU(inplace=True))
        channels = out
    layers.append(nn.MaxPool2d(2))
    return layers


def initialise(layer: nn.Module) -> None:
    """Start a layer as torchvision does: He et al. 2015 for convolutions, 0.01 for linear ones."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, 0, 0.01)
        nn.init.zeros_(layer.bias)


class VGG(nn.Module):
    """VGG-19 with torchvision's parameter names, ``features`` and ``classifier``.

    ``forward`` takes ``(B, in_channels, H, W)`` float32 by way of ``maps``, after ReLU5_4,
    ``(B, map_channels, H/16, W/16)``, to logits ``(B, num_classes)``.
    """

    def __init__(self, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0,
                 batch_norm: bool = False, dropout: float = 0.5):  # fmt: skip
        super().__init__()
        layers = []
        channels = in_channels
        for convolutions, size in VGG19:
            out = round(size * width)
            layers += vgg_block(convolutions, channels, out, batch_norm)
            channels = out
        hidden = round(4096 * width)
        self.map_channels = channels
        self.features = nn.Sequential(*layers)
        self.avgpool = AveragePool(7)
        self.classifier = nn.Sequential(
            nn.Linear(channels * 49, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )  # fmt: skip
        self.apply(initialise)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.features[:-1](x)

    def classify(self, maps: torch.Tensor) -> torch.Tensor:
        pooled = self.avgpool(self.features[-1](maps))
        return self.classifier(pooled.flatten(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classify(self.maps(x))


def fold_batch_norm(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights of a plain VGG-19 that computes what these do with batch norm in eval mode."""
    first, layers = state["features.0.weight"], []
    for layer in vgg19(first.shape[1], 1, len(first) / 64, True, state).eval().features:
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    head = {name: tensor for name, tensor in state.items() if name.startswith("classifier.")}
    return nn.Sequential(*layers).state_dict(prefix="features.") | head


def load_weights(weights: str | Path | Mapping[str, torch.Tensor], batch_norm: bool) -> dict:
    """Return a state dict: ``"imagenet"`` (torchvision's), one of :data:`SHIPPED`, or a file.

    A file is safetensors or a pickle, restricted to tensors. Raises ``FileNotFoundError``, and
    ``RuntimeError`` if torchvision's 548 MB cannot be fetched.
    """
    if isinstance(weights, Mapping):
        return dict(weights)
    if weights == "imagenet":
        from torchvision.models import VGG19_BN_Weights, VGG19_Weights

        which = (VGG19_BN_Weights if batch_norm else VGG19_Weights).IMAGENET1K_V1
        try:
            return which.get_state_dict(check_hash=True, weights_only=True)
        except OSError as error:
            place = Path(torch.hub.get_dir(), "checkpoints", which.url.rsplit("/", 1)[1])
            raise RuntimeError(
                f"the ImageNet weights could not be fetched ({error}). Download {which.url} "
                f"elsewhere and put it at {place}, or take the profile 'mini', which has its own"
            ) from error
    path = SHIPPED.get(weights) or Path(weights)
    if not path.is_file():
        names = ", ".join(["imagenet", *SHIPPED])
        raise FileNotFoundError(f"no weights at {path}; give a file or one of {names}")
    if path.suffix != ".safetensors":
        return torch.load(path, map_location="cpu", weights_only=True)
    state = {name: t.float() if t.is_floating_point() else t for name, t in load_file(path).items()}
    return fold_batch_norm(state) if weights in SHIPPED and not batch_norm else state


def vgg19(
    in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, batch_norm: bool = False,
    weights: str | Path | Mapping[str, torch.Tensor] | None = None, first_layer: str = "mean",
    dropout: float = 0.5,
) -> VGG:  # fmt: skip
    """Build VGG-19 for stacks of ``in_channels`` channels, pre-trained if ``weights`` are given.

    A first layer of other channels goes through :func:`transform_first_layer`; layers that are not
    there, and a last one for other classes, start anew. Raises ``RuntimeError`` for other shapes.
    """
    model = VGG(in_channels, num_classes, width, batch_norm, dropout)
    if weights is None:
        return model
    state = load_weights(weights, batch_norm)
    first, last = "features.0.weight", "classifier.6."
    if first in state and state[first].shape[1] != in_channels:
        state[first] = transform_first_layer(state[first], in_channels, first_layer)
    if last + "bias" in state and len(state[last + "bias"]) != num_classes:
        state = {name: tensor for name, tensor in state.items() if not name.startswith(last)}
    model.load_state_dict(model.state_dict() | state)
    return model
