"""Checkers of notebook 08: conv fusion over time."""

import torch
from torch import nn

from .checking import ExerciseError, checker, compare, picture, prediction, returned

__all__ = ["fuse_over_time", "picture", "prediction"]


@checker("Each chunk goes through the trunks alone, and the 3D layer sees all of them in order.")
@torch.no_grad()
def fuse_over_time(answer):
    """``answer(spatial_trunk, temporal_trunk, layer, rgb, flow, T)`` → ``(B, M, h/2, w/2)``."""
    torch.manual_seed(0)
    for clips, chunks in (2, 3), (1, 1), (3, 2):
        of_rgb = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
        of_flow = nn.Sequential(nn.Conv2d(6, 4, 3, 2, 1), nn.ReLU())
        layer = nn.Conv3d(8, 4, 3, padding=1)
        rgb, flow = torch.randn(clips, 3 * chunks, 16, 8), torch.randn(clips, 6 * chunks, 16, 8)

        def pooled(x: torch.Tensor) -> torch.Tensor:
            return nn.functional.max_pool2d(x, 2)

        a, b = (
            torch.stack([trunk(part) for part in stack.chunk(chunks, dim=1)], dim=2)
            for trunk, stack in ((of_rgb, rgb), (of_flow, flow))
        )
        raw = layer(torch.cat([a, b], dim=1))
        fused = torch.relu(raw)
        swapped = torch.relu(layer(torch.cat([b, a], dim=1)))
        flat = [x.transpose(1, 2).flatten(0, 1) for x in (a, b)]
        mixed = [x.unflatten(0, (chunks, clips)).permute(1, 2, 0, 3, 4) for x in flat]
        mixed = torch.relu(layer(torch.cat(mixed, dim=1)))
        by_chunk = [x.permute(2, 0, 1, 3, 4).flatten(0, 1) for x in (a, b)]
        by_chunk = [x.unflatten(0, (clips, chunks)).transpose(1, 2) for x in by_chunk]
        by_chunk = torch.relu(layer(torch.cat(by_chunk, dim=1)))
        dealt = [
            torch.stack([trunk(stack[:, k::chunks]) for k in range(chunks)], dim=2)
            for trunk, stack in ((of_rgb, rgb), (of_flow, flow))
        ]
        dealt = torch.relu(layer(torch.cat(dealt, dim=1)))
        back = torch.relu(layer(torch.cat([a.flip(2), b.flip(2)], dim=1)))
        slips = {
            "The temporal maps stand first; concatenate [spatial, temporal]": pooled(
                swapped.amax(2)
            ),
            "The ReLU after the layer is missing": pooled(raw.amax(2)),
            "The pool over time takes the mean; the strongest moment was asked for, amax": pooled(
                fused.mean(2)
            ),
            "Clips and chunks are mixed up: .flatten(0, 1) has put the chunks of one clip behind "
            "each other, so undo it with .unflatten(0, (-1, T))": pooled(mixed.amax(2)),
            "Clips and chunks are mixed up: torch.cat has put the first chunks of all clips before "
            "the second ones. Join them with torch.stack(…, dim=2), which gives time its axis": (
                pooled(by_chunk.amax(2))
            ),
            "The channels are dealt out one by one; a chunk is a run of consecutive channels, "
            ".unflatten(1, (T, -1))": pooled(dealt.amax(2)),
            "The chunks stand in reverse order": pooled(back.amax(2)),
            "Only the first chunk is left; pool over all of them": pooled(fused[:, :, 0]),
        }
        result = returned(answer(of_rgb, of_flow, layer, rgb.clone(), flow.clone(), chunks))
        shape, wanted = tuple(result.shape), pooled(fused.amax(2))
        if shape == tuple(fused.amax(2).shape):
            raise ExerciseError("The pool over 2×2 places is missing: height and width are halved")
        if shape == (clips, 4, 1, 4, 2):
            raise ExerciseError("An axis of time is left, of length 1: .squeeze(2) takes it away")
        if shape == (clips, 4, chunks, 4, 2):
            raise ExerciseError("The pool over time is missing: one map is left of all T moments")
        if chunks > 1 and shape[:1] == (clips * chunks,):
            raise ExerciseError(
                "Clips and chunks still share axis 0, B·T: give time an axis of its own before the "
                "3D layer, .unflatten(0, (-1, T)).transpose(1, 2)"
            )
        compare(result, wanted, f"the maps for T = {chunks}", slips)
