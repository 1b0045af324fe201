"""VGG-19 at any width and for any number of input channels, and the first-layer transformation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from .device import pooling_device
from .hub import fetch_weights

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
        raise ValueError(
            f"need a weight of shape (O, 3, kH, kW) and at least one input channel, got "
            f"{tuple(weight.shape)} and {in_channels}"
        )
    mean = weight.mean(dim=1, keepdim=True)
    repeated = mean.repeat(1, in_channels, 1, 1)
    return repeated * (weight.shape[1] / in_channels) if rescale else repeated


def classify_windows(
    pooled: torch.Tensor, avgpool: nn.Module, classifier: nn.Module, window: int | None = None
) -> torch.Tensor:
    """Classify pooled maps ``(B, M, h, w)``: logits ``(B, classes)``.

    Maps larger than ``window`` × ``window`` are classified at every place, the fully connected
    layers run as convolutions, and the logits are averaged (Simonyan & Zisserman 2015, §3.2).
    ``None``: the maps are pooled to the classifier's 7×7 as a whole.
    """
    if window is None or (pooled.shape[2] <= window and pooled.shape[3] <= window):
        return classifier(avgpool(pooled).flatten(1))
    first, *others = classifier
    # Average pooling of a window to 7×7 is linear, so it can be folded into the first layer.
    places = torch.eye(window**2, device=pooled.device).view(-1, 1, window, window)
    spread = avgpool(places).flatten(1).to(first.weight.dtype)
    kernel = first.weight.unflatten(1, (-1, spread.shape[1])) @ spread.T
    x = nn.functional.conv2d(pooled, kernel.unflatten(2, (window, window)), first.bias)
    for layer in others:
        if isinstance(layer, nn.Linear):
            x = nn.functional.conv2d(x, layer.weight[:, :, None, None], layer.bias)
        else:
            x = layer(x)
    return x.mean(dim=(2, 3))


class AveragePool(nn.AdaptiveAvgPool2d):
    """Pools ``(B, M, h, w)`` to ``(B, M, size, size)``, on the CPU where the device cannot."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.to(pooling_device(x, self.output_size))).to(x.device)


class VGG(nn.Module):
    """VGG with torchvision's parameter names, ``features`` and ``classifier``.

    ``forward`` maps ``(B, in_channels, H, W)`` float32 to logits ``(B, num_classes)``; ``maps``
    returns the last convolutional maps after their ReLU (ReLU5_4) and before the last pool:
    ``(B, 512·width, H/16, W/16)``. ``window`` is the side of the pooled maps of one crop, H/32;
    where it is set, larger input is scored at every place, see :func:`classify_windows`.
    """

    window: int | None = None

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

    @property
    def pools(self) -> list[int]:
        """Indices of the five max pools in ``features``; each block's last ReLU stands before."""
        return [k for k, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """Return the ReLU5 maps, ``(B, map_channels, H/16, W/16)``."""
        return self.features[:-1](x)

    def classify(self, maps: torch.Tensor) -> torch.Tensor:
        """Pool ReLU5 maps and classify them: ``(B, map_channels, h, w)`` to ``(B, classes)``."""
        pooled = self.features[-1](maps)
        return classify_windows(pooled, self.avgpool, self.classifier, self.window)

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
        otherwise = "take the profile 'mini', whose weights are in the repository"
        return fetch_weights(which, "the ImageNet weights", otherwise)
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

    Raises ``ValueError`` naming the layer and both shapes when weights and network do not match.
    """
    model = VGG(in_channels, num_classes, width, batch_norm, dropout)
    if weights is None:
        return model
    state = load_weights(weights, batch_norm)
    own = model.state_dict()
    first, last = "features.0.weight", "classifier.6."
    if first not in state:
        names = ", ".join([*state][:3])
        raise ValueError(f"weights do not fit: no {first} among them, they begin with {names}")
    if state[first].shape[1] != in_channels:
        state[first] = transform_first_layer(state[first], in_channels, rescale)
    if last + "bias" in state and len(state[last + "bias"]) != num_classes:
        state = {name: tensor for name, tensor in state.items() if not name.startswith(last)}
    for name, tensor in state.items():
        if name not in own or own[name].shape != tensor.shape:
            want = tuple(own[name].shape) if name in own else "no such layer"
            raise ValueError(
                f"weights do not fit: {name} is {tuple(tensor.shape)}, the network has {want} "
                f"(width {width}, batch_norm {batch_norm})"
            )
    model.load_state_dict({**own, **state})
    return model
