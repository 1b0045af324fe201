"""The one place that knows about devices: CUDA, Apple's MPS, or the CPU."""

from __future__ import annotations

import torch


def pick_device() -> torch.device:
    """Return the fastest device there is: CUDA, then MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def mixed_precision(device: torch.device) -> str:
    """Return accelerate's name of the precision to train in: ``"bf16"``, ``"fp16"`` or ``"no"``.

    bfloat16 only where the GPU computes in it; a T4 does not and takes float16 with a gradient
    scaler. On the CPU and on MPS float32 is the safe choice.
    """
    if device.type != "cuda":
        return "no"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def autocast(device: torch.device) -> torch.autocast:
    """Return the autocast context that scoring uses, in the precision of training."""
    precision = mixed_precision(device)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "no": torch.bfloat16}[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "no")


def to_model_layout(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """Move ``model`` to ``device`` with its convolutions in channels-last memory order.

    Channels last is what cuDNN's tensor-core kernels and oneDNN's CPU kernels read directly.
    """
    model.to(device)
    for parameter in model.parameters():
        if parameter.ndim == 4:  # a 3D convolution has five dimensions and no such order
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def describe_device(device: torch.device) -> str:
    """Name the device in words, with its memory or number of threads."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if device.type == "mps":
        return "Apple GPU (MPS)"
    return f"CPU, {torch.get_num_threads()} threads"


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that a training may still take on a GPU; None on the CPU and on MPS.

    What torch has put aside for itself and does not use counts as free.
    """
    if device.type != "cuda":
        return None
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused
