"""torchvision's pre-trained weights: fetched once, checked by their hash, read as data only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum


def fetch_weights(
    which: WeightsEnum, what: str, otherwise: str, progress: bool = True
) -> dict[str, torch.Tensor]:
    """Return the state dict of ``which``, from the disk if it has been fetched before.

    Raises ``RuntimeError`` if it cannot be fetched: ``what`` it is, where to put it by hand, and
    what to do ``otherwise``.
    """
    try:
        return which.get_state_dict(progress=progress, check_hash=True, weights_only=True)
    except OSError as error:
        place = Path(torch.hub.get_dir()) / "checkpoints" / which.url.rsplit("/", 1)[1]
        raise RuntimeError(
            f"{what} could not be fetched ({error}). Download {which.url} on a machine that is "
            f"connected and put it at {place}, or {otherwise}"
        ) from error
