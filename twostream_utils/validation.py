"""Validation during training: loss and top-1 over the fixed views of held-out clips."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from .batches import ahead, make_loader, network_input
from .device import autocast, share_buffers
from .stacks import StackDataset, rank_subset

MAPS_GB = 1.0  # that may be kept of the maps of frozen trunks


class Validation:
    """Scores one validation set after every epoch.

    The views are the same each time, so where a network has frozen trunks (``ConvFusion``) these
    run once and their maps are kept on the device, up to ``MAPS_GB`` (1e9 bytes).

    Under torchrun each process scores its share of the clips, and returns the sums of its share:
    loss, clips that are right, and clips, ``(3,)`` float32.
    """

    def __init__(self, clips: StackDataset, batch_size: int, workers: int, device: torch.device):
        self.clips, self.device = rank_subset(clips), device
        self.loader = make_loader(self.clips, max(1, batch_size // 4), workers, 0)
        self.maps: list[tuple[torch.Tensor, ...]] | None = None
        self.maps_fit = True  # until they have been seen not to

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> torch.Tensor:
        share_buffers(model)
        model.eval()
        sums = torch.zeros(3, device=self.device)
        for logits, labels in self._logits(model):
            logits = logits.float().unflatten(0, (len(labels), -1)).mean(1)
            sums[0] += nn.functional.cross_entropy(logits, labels, reduction="sum")
            sums[1] += (logits.argmax(1) == labels).sum()
            sums[2] += len(labels)
        return sums

    def _logits(self, model: nn.Module) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        if self.maps is not None:
            for a, b, labels in self.maps:
                with autocast(self.device):
                    logits = model.head(a, b)
                yield logits, labels
            return
        frozen = hasattr(model, "trunks") and not model.train_trunks
        kept, left = [], MAPS_GB * 1e9
        for batch in ahead(self.loader, self.device):
            with autocast(self.device):
                stacks = network_input(batch, self.clips.streams)
                maps = model.trunks(*stacks) if frozen else ()
                logits = model.head(*maps) if frozen else model(*stacks)
            yield logits, batch["label"]
            if not frozen or not self.maps_fit:
                continue
            left -= sum(m.nbytes for m in maps)
            self.maps_fit = left > 0
            kept.append((*maps, batch["label"]))
            if not self.maps_fit:
                kept.clear()
        self.maps = kept if frozen and self.maps_fit else None
