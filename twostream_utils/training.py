"""Training one network: the loop, the schedule, checkpoints, and exact resume."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from .batches import Batch, make_loader, parts, progress, run_batch, worker_trouble_explained
from .device import (
    describe_device,
    keep_freed_memory,
    mixed_precision,
    pick_device,
    precision_to_go_on,
    share_buffers,
    to_model_layout,
)
from .files import atomic_write
from .profiles import Recipe
from .stacks import StackDataset
from .validation import Validation

if TYPE_CHECKING:
    from accelerate import Accelerator

History = list[dict]


def fingerprint(settings: dict) -> str:
    """Return eight hex digits that name ``settings``: other settings, other checkpoint file."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def save_atomically(path: Path, payload: dict) -> None:
    """Write a checkpoint aside and rename it, so that a kill leaves the old or the new one."""
    try:
        with atomic_write(path) as part:
            torch.save(payload, part)
    except OSError as error:
        raise OSError(
            error.errno, f"could not write checkpoint {path}: {error.strerror}"
        ) from error


def load_checkpoint(path: Path, mmap: bool = False) -> dict:
    """Read a checkpoint as data only. Raises ``ValueError`` naming a file that is damaged."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:
        raise ValueError(
            f"checkpoint {path} cannot be read ({error}); delete it to train again"
        ) from error


def made_on(checkpoint: Path) -> list[dict[str, str]]:
    """Return on what a network was trained: ``{"device", "precision", "torch"}`` of each session.

    One entry for sessions that were alike; none without a checkpoint that says so.
    """
    if not checkpoint.exists():
        return []
    return load_checkpoint(checkpoint, mmap=True).get("made_on", [])  # the weights are not read


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict]:
    """Return the trainable parameters; biases and batch-norm parameters get no weight decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def warmup_cosine(step: int, total: int, warmup: float) -> float:
    """Return the factor on the learning rate: a linear rise, then a cosine down to zero."""
    rise = max(1, round(total * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def tower_loss(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Cross-entropy of logits ``(B, classes)``, or its sum over towers ``(B, towers, classes)``."""
    if logits.ndim == 2:
        return nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    return sum(tower_loss(tower, labels, smoothing) for tower in logits.unbind(1))


@worker_trouble_explained()
def fit(
    model: nn.Module,
    train_set: StackDataset,
    recipe: Recipe,
    checkpoint: str | Path,
    val_set: StackDataset | None = None,
    *,
    seed: int = 0,
    workers: int = 0,
    on_epoch: Callable[[History], None] | None = None,
    stop_after: int | None = None,
    micro_batch: int | None = None,
    compiled: bool = False,
) -> History:
    """Train ``model`` and return its history; go on from ``checkpoint`` if it is there.

    SGD with momentum 0.9, cross-entropy, gradients clipped to ``recipe.clip_norm``, mixed
    precision where it is faster (accelerate). After each epoch everything that the next one
    depends on is written to ``checkpoint``: an interrupted training ends, on the CPU, in the very
    weights of an unbroken one, and in its precision. Where there is no checkpoint yet, ``model``
    gets its first weights back. A finished checkpoint is loaded and nothing is trained.

    Under torchrun or ``notebook_launcher`` N processes train together, each on every Nth batch:
    the same training as one process with N times the batch, except where batch norm learns.

    Returns one dict an epoch: ``epoch``, ``loss``, ``top1`` (of the augmented training clips),
    ``val_loss``, ``val_top1`` if ``val_set`` is given, ``lr``, ``seconds``. ``on_epoch`` gets that
    list after every epoch. ``stop_after`` ends after so many epochs in all. ``micro_batch`` clips
    of a batch go through the network at once, all of them by default; their gradients add up to
    that of the batch, except where batch norm learns from each part alone. ``compiled`` trains
    through ``torch.compile``: a minute or more first, then faster steps on most GPUs.

    Raises ``ValueError`` if the loss stops being a number, naming the epoch and the rate, and if
    ``TWOSTREAM_PRECISION`` asks for another precision than that of the epochs before.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    device = pick_device()
    if device.type == "cpu":
        keep_freed_memory()
    checkpoint = Path(checkpoint)
    state = load_checkpoint(checkpoint) if checkpoint.exists() else {}
    history: History = state.get("history", [])
    made = state.get("made_on", [])
    if made and len(history) < recipe.epochs:
        precision = precision_to_go_on(device, made[-1]["precision"], checkpoint)
    else:
        precision = mixed_precision(device)
    AcceleratorState._reset_state()  # else a process keeps the precision of its first training
    accelerator = Accelerator(mixed_precision=precision, cpu=device.type == "cpu")
    model = network = to_model_layout(model, device)
    loader = make_loader(train_set, recipe.batch_size, workers, seed)
    if accelerator.num_processes > 1:
        network = accelerator.prepare_model(model)
        loader = accelerator.prepare_data_loader(loader, device_placement=False)
    if compiled:
        network = torch.compile(network)
    groups, fused = parameter_groups(model, recipe), device.type in ("cpu", "cuda")
    optimizer = torch.optim.SGD(groups, recipe.lr, momentum=0.9, fused=fused)
    total = recipe.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_cosine(step, total, recipe.warmup)
    )
    optimizer = accelerator.prepare_optimizer(optimizer)
    if state:
        model.load_state_dict(state["model"])
        if len(history) < recipe.epochs:
            if not state["optimizer"]:
                raise ValueError(
                    f"{checkpoint} is a finished training of {len(history)} epochs: its optimizer "
                    f"is not kept, so it cannot go on to {recipe.epochs}. Delete it, or name "
                    "another file, to train from the start"
                )
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            if accelerator.scaler is not None and state["scaler"]:
                accelerator.scaler.load_state_dict(state["scaler"])
    here = {
        "device": describe_device(device), "precision": precision, "torch": str(torch.__version__),
    }  # fmt: skip
    last = min(recipe.epochs, stop_after or recipe.epochs)
    validate = Validation(val_set, recipe.batch_size, workers, device) if val_set else None
    with _first_weights_kept(model, checkpoint):
        for epoch in range(len(history), last):
            began = time.perf_counter()
            train_set.epoch = epoch
            # Dropout: like the order of clips, from the epoch alone; another one in each process.
            torch.manual_seed(seed * 100_003 + epoch + 1_000_003 * accelerator.process_index)
            network.train()
            sums = torch.zeros(2, 3, device=device)  # training, validation: loss, right, clips
            for batch in progress(loader, device, f"epoch {epoch + 1}/{recipe.epochs}"):
                sums[0] += _gradients(
                    network, batch, train_set.streams, recipe, accelerator, micro_batch
                )
                accelerator.clip_grad_norm_(network.parameters(), recipe.clip_norm)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            if validate:
                sums[1] = validate(model)
            rows = accelerator.reduce(sums).tolist()
            loss, right, clips = rows[0]
            row = {"epoch": epoch + 1, "loss": loss / clips, "top1": right / clips}
            row["lr"] = schedule.get_last_lr()[0]
            if not math.isfinite(row["loss"]):
                kept = f". {checkpoint} holds the last good epoch" if history else ""
                raise ValueError(
                    f"the loss is no longer a number in epoch {epoch + 1} at learning rate "
                    f"{row['lr']:.2g}; lower Recipe.lr{kept}"
                )
            if validate:
                row |= {"val_loss": rows[1][0] / rows[1][2], "val_top1": rows[1][1] / rows[1][2]}
            row["seconds"] = time.perf_counter() - began
            history.append(row)
            if accelerator.is_main_process:
                scaler = accelerator.scaler
                payload = {
                    "model": {k: v.cpu() for k, v in model.state_dict().items()},
                    "history": history,
                    "made_on": [*(other for other in made if other != here), here],
                    "scaler": scaler.state_dict() if scaler is not None else {},
                    "optimizer": {},
                    "schedule": {},
                }
                if epoch + 1 < recipe.epochs:  # a finished training needs no optimizer any more
                    payload |= {
                        "optimizer": optimizer.state_dict(),
                        "schedule": schedule.state_dict(),
                    }
                save_atomically(checkpoint, payload)
            accelerator.wait_for_everyone()
            if on_epoch is not None:
                on_epoch(history)
    accelerator.unwrap_model(network, keep_fp32_wrapper=False)  # what prepare_model did to forward
    share_buffers(model)
    model.eval()
    return history


@contextlib.contextmanager
def _first_weights_kept(model: nn.Module, checkpoint: Path) -> Iterator[None]:
    """Give ``model`` its weights back if the block is left before there is a checkpoint.

    Else the same cell run again would start from weights that are half an epoch old.
    """
    first = {}
    if not checkpoint.exists():
        first = {k: v.to("cpu", copy=True) for k, v in model.state_dict().items()}
    try:
        yield
    except BaseException:  # a reader's interrupt above all
        if not checkpoint.exists():
            model.load_state_dict(first)
        raise


def _gradients(
    network: nn.Module, batch: Batch, streams: tuple[str, ...], recipe: Recipe,
    accelerator: Accelerator, micro_batch: int | None,
) -> torch.Tensor:  # fmt: skip
    """Add up the gradients of a batch; return its loss, clips that are right, and clips, ``(3,)``.

    Nothing waits for the device here: the sums are read once an epoch.
    """
    labels = batch["label"]
    sums = torch.zeros(3, device=labels.device)
    sums[2] = len(labels)
    for part in parts(batch, micro_batch or len(labels)):
        with accelerator.autocast():
            logits = run_batch(network, part, streams).float()
            loss = tower_loss(logits, part["label"], recipe.label_smoothing)
        accelerator.backward(loss * (len(logits) / len(labels)))
        said = logits.detach() if logits.ndim == 2 else logits.detach().mean(1)
        sums[0] += loss.detach() * len(logits)
        sums[1] += (said.argmax(1) == part["label"]).sum()
    return sums
