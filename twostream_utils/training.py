"""Training one network: the loop, the schedule, checkpoints, and exact resume."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler
from tqdm.auto import tqdm

from .aside import written_aside
from .device import mixed_precision, pick_device, to_model_layout
from .profiles import Recipe
from .stacks import ClipDataset, normalise

History = list[dict]


def fingerprint(settings: dict) -> str:
    """Return eight hex digits that name ``settings``: other settings, other checkpoint file."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def save_atomically(path: Path, payload: dict) -> None:
    """Write a checkpoint aside and rename it, so that a kill leaves the old or the new one."""
    try:
        with written_aside(path) as part:
            torch.save(payload, part)
    except OSError as error:
        raise OSError(
            error.errno, f"could not write checkpoint {path}: {error.strerror}"
        ) from error


def load_checkpoint(path: Path) -> dict:
    """Read a checkpoint as data only. Raises ``ValueError`` naming a file that is damaged."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"checkpoint {path} cannot be read ({error}); delete it to train again"
        ) from error


class EpochSampler(Sampler):
    """Orders the training clips by ``(seed, dataset.epoch)`` alone, so resuming needs no past."""

    def __init__(self, dataset: ClipDataset, seed: int):
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.dataset.epoch)
        return iter(torch.randperm(len(self.dataset), generator=generator).tolist())


def make_loader(dataset: ClipDataset, batch_size: int, workers: int, seed: int) -> DataLoader:
    """Return the loader of a dataset: shuffled anew each epoch for training, else in order."""
    return DataLoader(
        dataset,
        batch_size,
        sampler=EpochSampler(dataset, seed) if dataset.train else None,
        num_workers=workers,
        drop_last=dataset.train and len(dataset) > batch_size,
        pin_memory=torch.cuda.is_available(),
    )


def parameter_groups(model: nn.Module, recipe: Recipe, fresh: tuple[str, ...]) -> list[dict]:
    """Split the trainable parameters: ``fresh`` ones learn at ``lr · head_lr``, others at ``lr``.

    Biases and batch-norm parameters get no weight decay.
    """
    groups: dict[tuple[bool, bool], list] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (name.startswith(fresh), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": params,
            "lr": recipe.lr * (recipe.head_lr if is_fresh else 1.0),
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (is_fresh, decays), params in sorted(groups.items(), key=lambda item: item[0])
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


def run_batch(model: nn.Module, batch: dict, streams: tuple[str, ...]) -> torch.Tensor:
    """Normalise one batch on its device and return logits ``(B·V, classes)``."""
    return model(*(normalise(batch[stream].flatten(0, 1), stream) for stream in streams))


def parts(batch: dict, size: int) -> list[dict]:
    """Cut a batch into batches of ``size`` clips, the last one smaller if need be."""
    cut = {name: value.split(size) for name, value in batch.items()}
    return [dict(zip(cut, values)) for values in zip(*cut.values())]


def fit(
    model: nn.Module,
    train_set: ClipDataset,
    recipe: Recipe,
    checkpoint: str | Path,
    val_set: ClipDataset | None = None,
    *,
    seed: int = 0,
    fresh: tuple[str, ...] = ("classifier",),
    workers: int = 0,
    on_epoch: Callable[[History], None] | None = None,
    stop_after: int | None = None,
    micro_batch: int | None = None,
) -> History:
    """Train ``model`` and return its history; go on from ``checkpoint`` if it is there.

    SGD with momentum 0.9, cross-entropy, gradients clipped to ``recipe.clip_norm``, mixed
    precision where the GPU has it (accelerate). After each epoch everything that the next one
    depends on is written to ``checkpoint``: an interrupted training ends, on the CPU, in the very
    weights of an unbroken one. A finished checkpoint is loaded and nothing is trained.

    Returns one dict an epoch: ``epoch``, ``loss``, ``top1`` (of the augmented training clips),
    ``val_loss``, ``val_top1`` if ``val_set`` is given, ``lr``, ``seconds``. ``on_epoch`` gets that
    list after every epoch. ``stop_after`` ends after so many epochs in all. ``micro_batch`` clips
    of a batch go through the network at once, all of them by default; their gradients add up to
    that of the batch, except where batch norm learns from each part alone.

    Raises ``ValueError`` if the loss stops being a number, naming the epoch and the rate.
    """
    from accelerate import Accelerator

    device = pick_device()
    accelerator = Accelerator(mixed_precision=mixed_precision(device), cpu=device.type == "cpu")
    checkpoint = Path(checkpoint)
    loader = make_loader(train_set, recipe.batch_size, workers, seed)
    total = recipe.epochs * len(loader)
    model = to_model_layout(model, accelerator.device)
    optimizer = torch.optim.SGD(parameter_groups(model, recipe, fresh), momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_cosine(step, total, recipe.warmup)
    )
    network, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    history: History = []
    if checkpoint.exists():
        state = load_checkpoint(checkpoint)
        history = state["history"]
        model.load_state_dict(state["model"])
        if len(history) < recipe.epochs:
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            if accelerator.scaler is not None and state["scaler"]:
                accelerator.scaler.load_state_dict(state["scaler"])
    last = min(recipe.epochs, stop_after or recipe.epochs)
    for epoch in range(len(history), last):
        began = time.perf_counter()
        train_set.epoch = epoch
        torch.manual_seed(seed * 100_003 + epoch)  # dropout: like the order, from the epoch alone
        network.train()
        loss_sum = torch.zeros((), device=accelerator.device)
        right = torch.zeros((), device=accelerator.device)
        seen = 0
        bar = tqdm(loader, desc=f"epoch {epoch + 1}/{recipe.epochs}", leave=False, unit="batch")
        for batch in bar:
            size = len(batch["label"])
            for part in parts(batch, micro_batch or size):
                with accelerator.autocast():
                    logits = run_batch(network, part, train_set.streams).float()
                    loss = tower_loss(logits, part["label"], recipe.label_smoothing)
                    loss = loss * (len(logits) / size)
                accelerator.backward(loss)
                loss_sum += loss.detach() * size
                said = logits.detach() if logits.ndim == 2 else logits.detach().mean(1)
                right += (said.argmax(1) == part["label"]).sum()
            accelerator.clip_grad_norm_(network.parameters(), recipe.clip_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            seen += size
        row = {
            "epoch": epoch + 1,
            "loss": loss_sum.item() / seen,
            "top1": right.item() / seen,
            "lr": schedule.get_last_lr()[0],
        }
        if not math.isfinite(row["loss"]):
            raise ValueError(
                f"the loss is no longer a number in epoch {epoch + 1} at learning rate "
                f"{row['lr']:.2g}; lower Recipe.lr. {checkpoint} holds the last good epoch"
            )
        if val_set is not None and len(val_set):
            row |= _validate(network, val_set, recipe.batch_size, workers, accelerator.device)
        row["seconds"] = time.perf_counter() - began
        history.append(row)
        if accelerator.is_main_process:
            scaler = accelerator.scaler
            payload = {
                "model": {k: v.cpu() for k, v in model.state_dict().items()},
                "history": history,
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
        if on_epoch is not None:
            on_epoch(history)
    model.eval()
    return history


@torch.inference_mode()
def _validate(network, val_set: ClipDataset, batch_size: int, workers: int, device) -> dict:
    """Loss and top-1 over the test views of a validation set."""
    network.eval()
    loss = right = count = 0.0
    for batch in make_loader(val_set, max(1, batch_size // 4), workers, 0):
        batch = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        views = batch[val_set.streams[0]].shape[1]
        logits = run_batch(network, batch, val_set.streams).float()
        logits = logits.unflatten(0, (-1, views)).mean(1)
        loss += nn.functional.cross_entropy(logits, batch["label"], reduction="sum").item()
        right += (logits.argmax(1) == batch["label"]).sum().item()
        count += len(logits)
    return {"val_loss": loss / count, "val_top1": right / count}
