"""The one place that knows about devices: CUDA, Apple's MPS, or the CPU; one process or several."""

import contextlib
import ctypes
import os
import statistics
import time
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

PRECISIONS = {"no": "float32", "bf16": "bfloat16", "fp16": "float16"}


def pick_device() -> torch.device:
    """Return ``TWOSTREAM_DEVICE``, or else the fastest: CUDA (torchrun: a GPU each), MPS, CPU."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    found = ["cuda"] * cuda + ["mps"] * mps + ["cpu"]
    name = os.environ.get("TWOSTREAM_DEVICE") or found[0]
    if name not in found:
        there = " or ".join(found)
        raise ValueError(f"no TWOSTREAM_DEVICE {name!r} on this machine: name {there}, or none")
    own = os.environ.get("LOCAL_RANK") if name == "cuda" else None
    return torch.device(name if own is None else f"{name}:{own}")


def mixed_precision(device: torch.device) -> str:
    """Return the precision to train in: ``TWOSTREAM_PRECISION``, or the best of PRECISIONS.

    float16 is for a GPU that only emulates bfloat16 (T4). On MPS float32 is the safe choice.
    """
    if given := os.environ.get("TWOSTREAM_PRECISION"):
        if given not in PRECISIONS:
            raise ValueError(f"no TWOSTREAM_PRECISION {given!r}; there are {', '.join(PRECISIONS)}")
        return given
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device.type == "cpu" and bf16_gain() >= 1.2 else "no"


def precision_to_go_on(device: torch.device, begun: str, checkpoint: Path) -> str:
    """Return ``begun``, or what ``device`` has; ValueError if TWOSTREAM_PRECISION is another."""
    own = mixed_precision(device)
    if os.environ.get("TWOSTREAM_PRECISION") and own != begun:
        fault = f"{checkpoint} was trained in {PRECISIONS[begun]} so far, and TWOSTREAM_PRECISION"
        way_out = "unset the variable to go on, or delete the file to train again"
        raise ValueError(f"{fault} asks for {PRECISIONS[own]}: {way_out}")
    both = {"cuda": {"fp16", "no", own}, "cpu": {"bf16", "no"}, "mps": {"no"}}
    return begun if begun in both[device.type] else own


@cache
def bf16_gain() -> float:
    """Return how many times faster this CPU trains a convolution in bfloat16 than in float32."""
    with torch.random.fork_rng(devices=[]):  # asking for the speed does not change what is drawn
        layer = nn.Conv2d(128, 128, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.ones(16, 128, 16, 16).contiguous(memory_format=torch.channels_last)

    def seconds(bf16: bool) -> float:
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            y = layer(x)
        y.backward(torch.ones_like(y))
        return time.perf_counter() - began

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several wait for each other wherever the machine is busy
    try:
        rounds = [(seconds(False), seconds(True)) for _ in range(7)]
    finally:
        torch.set_num_threads(threads)
    return statistics.median(plain / half for plain, half in rounds[2:])


def autocast(device: torch.device, precision: str | None = None) -> torch.autocast:
    """Return a precision's autocast; by default a GPU's for training, and float32 on a CPU."""
    if precision is None:
        precision = mixed_precision(device) if device.type == "cuda" else "no"
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "no")


class Prepared(nn.Module):
    """A network as a loop calls it: in a precision (see :func:`autocast`), answers in float32.

    More than ``at_once`` clips go through in parts, their maps computed again on the way back.
    ``scaler`` enlarges the gradients, which float16 needs.
    """

    def __init__(self, network: nn.Module, device: torch.device, precision: str | None = None,
                 scaler: torch.amp.GradScaler | None = None,
                 at_once: int | None = None):  # fmt: skip
        super().__init__()
        self.network, self.device, self.precision = network, device, precision
        self.scaler, self.at_once = scaler, at_once

    def forward(self, *stacks: torch.Tensor) -> torch.Tensor:
        with autocast(self.device, self.precision):
            if self.at_once is None or len(stacks[0]) <= self.at_once:
                logits = self.network(*stacks).float()
            else:
                parts = zip(*(stack.split(self.at_once) for stack in stacks))
                maps_twice = partial(checkpoint, self.network, use_reentrant=False)
                logits = torch.cat([maps_twice(*part).float() for part in parts])
        if self.scaler is not None and self.scaler.is_enabled() and logits.requires_grad:
            logits.register_hook(self.scaler.scale)
        return logits


def keep_freed_memory() -> None:
    """Let this process keep up to 1 GB of what it frees, for its next allocation.

    glibc gives it back, and the system clears each page anew: a fifth of an epoch's time on a CPU.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # musl, macOS; Windows
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD, at its largest: blocks above it are never kept
        mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD


def processes() -> tuple[int, int]:
    """Return this process's number, from 0 up, and how many torchrun or a launcher started."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0, 1
    from accelerate import PartialState

    state = PartialState(cpu=pick_device().type == "cpu")  # joins the others, the first time
    return state.process_index, state.num_processes


def wait_for_all() -> None:
    """Wait until all processes of torchrun are here; at once if there is only this one."""
    if processes()[1] > 1:
        torch.distributed.barrier()


def to_model_layout(model: nn.Module, device: torch.device) -> nn.Module:
    """Move ``model`` to ``device``, convolutions channels-last: as cuDNN and oneDNN read them."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # sizes stay: it keeps the fastest of its kernels
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
