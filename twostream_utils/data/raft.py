"""RAFT: learned optical flow (Teed & Deng, ECCV 2020), torchvision's small model, in batches.

Made for a GPU: on one core a field of 340×256 px took 50 times as long as DIS (0.36 s and 7 ms).
Speed and memory on a GPU were not measured.
"""

from __future__ import annotations

import multiprocessing
from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torchvision.models.optical_flow import Raft_Small_Weights, raft_small

from ..hub import fetch_weights

_WEIGHTS = Raft_Small_Weights.C_T_V2
_MULTIPLE, _LEAST = 8, 128  # the model works at an eighth of the size, and not below 16 cells


@cache
def load_raft() -> nn.Module:
    """The pre-trained model, on the GPU if there is one; fetched once, 4 MB.

    Raises:
        RuntimeError: the weights are not here and cannot be fetched.
    """
    otherwise = "choose another flow method, e.g. dis"
    state = fetch_weights(_WEIGHTS, "RAFT's weights", otherwise, progress=False)
    if multiprocessing.parent_process():
        torch.set_num_threads(1)  # one of many workers: a core each
    model = raft_small()
    model.load_state_dict(state)
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def raft_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Flow of a batch of frame pairs.

    Args:
        first, second: `(B, H, W, 3)` uint8 RGB, any B that fits the device's memory.

    Returns:
        `(B, H, W, 2)` float32, (u, v) in px per frame.

    Raises:
        RuntimeError: no weights, see `load_raft`.
    """
    model = load_raft()
    device = next(model.parameters()).device
    height, width = first.shape[1:3]
    # Repeated border pixels up to a size that the model can take; cut off again below.
    sizes = [max(_LEAST, -(-side // _MULTIPLE) * _MULTIPLE) for side in (height, width)]
    pad = (0, sizes[1] - width, 0, sizes[0] - height)
    batches = []
    for frames in (first, second):
        batch = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).to(device)
        batches.append(functional.pad(batch.float().div_(127.5).sub_(1), pad, mode="replicate"))
    with torch.inference_mode():
        flow = model(*batches)[-1][:, :, :height, :width]
    return np.ascontiguousarray(flow.permute(0, 2, 3, 1).cpu().numpy())
