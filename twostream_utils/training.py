"""The training loop, and what surrounds it: precision, memory, checkpoints, exact resume."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .device import (
    Prepared,
    describe_device,
    keep_freed_memory,
    mixed_precision,
    pick_device,
    precision_to_go_on,
    processes,
    to_model_layout,
    wait_for_all,
)
from .evaluation import validate
from .files import atomic_write
from .profiles import Recipe
from .stacks import StackDataset, inputs, make_loader, worker_trouble_explained


def train_epoch(
    network: nn.Module, loader: Iterable, optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler, criterion: Callable,
) -> tuple[torch.Tensor, torch.Tensor, int]:  # fmt: skip
    """Train ``network`` for one epoch; return the sum of its losses, of right clips, and of clips.

    ``loader`` yields ``(stacks, labels)``: a list of ``(B, C, H, W)`` float32, one a stream, and
    ``(B,)`` int64, on the network's device (see ``stacks.inputs``). Nothing in here waits for it.
    """
    network.train()
    loss_sum, right, seen = 0.0, 0, 0
    for stacks, labels in loader:
        optimizer.zero_grad()
        logits = network(*stacks)
        loss = criterion(logits, labels)
        loss.backward()
        optimizer.step()
        schedule.step()

        scores = logits if logits.ndim == 2 else logits.mean(dim=1)  # two towers answer twice
        loss_sum += loss.detach() * len(labels)
        right += (scores.argmax(dim=1) == labels).sum()
        seen += len(labels)
    return loss_sum, right, seen


@worker_trouble_explained()
def fit(
    model: nn.Module, train_set: StackDataset, recipe: Recipe, checkpoint: str | Path,
    val_set: StackDataset | None = None, *, seed: int = 0, workers: int = 0,
    on_epoch: Callable[[list[dict]], None] | None = None, stop_after: int | None = None,
    val_every: int = 1, compiled: bool = False, loop: Callable = train_epoch,
    scratch: Path | None = None,
) -> list[dict]:  # fmt: skip
    """Train ``model`` and return its history; go on from ``checkpoint`` if it is there.

    Each epoch is one call of ``loop``. ``checkpoint`` holds all that the next one depends on (in
    the folder ``scratch``, if given, until the last): an interrupted training ends, on the CPU, in
    the very weights of an unbroken one. A batch that does not fit on the device goes through in
    equal parts; N processes of torchrun train as one would with N times the batch. Both change
    nothing but what batch norm learns from.

    Returns one dict an epoch, and gives ``on_epoch`` the list: ``epoch``, ``loss``, ``top1`` (of
    the augmented training clips), ``lr``, ``seconds``, and every ``val_every`` epochs and after the
    last ``val_loss`` and ``val_top1`` if there is a ``val_set``. ``stop_after`` ends after so many
    epochs in all; ``compiled`` trains through ``torch.compile``. Raises ``ValueError`` if the loss
    stops being a number or another precision is asked for than before.
    """
    rank, count = processes()
    loader = make_loader(train_set, recipe.batch_size, workers, seed, reuse=True)
    criterion = partial(tower_loss, smoothing=recipe.label_smoothing)
    planned = recipe.epochs(len(train_set))

    def epochs(fitting: int) -> Training:
        at_once = math.ceil(recipe.batch_size / math.ceil(recipe.batch_size / fitting))
        training = Training(model, recipe, planned, len(loader), Path(checkpoint), scratch)
        network = DistributedDataParallel(model) if count > 1 else model
        network = torch.compile(network) if compiled else network
        network = Prepared(network, training.device, training.precision, training.scaler, at_once)
        for epoch in range(len(training.history), min(planned, stop_after or planned)):
            began = time.perf_counter()
            train_set.epoch = epoch
            # Dropout: like the order of clips, from the epoch alone; another one in each process.
            torch.manual_seed(seed * 100_003 + epoch + 1_000_003 * rank)
            title = f"epoch {epoch + 1}/{planned}"
            batches = inputs(loader, training.device, train_set.streams, title)
            with training.undone_if_broken():
                sums = [loop(network, batches, training, training.schedule, criterion)]
                for buffer in model.buffers() if count > 1 else ():
                    torch.distributed.broadcast(buffer, 0)  # batch norm: each has seen other clips
                if val_set and ((epoch + 1) % val_every == 0 or epoch + 1 == planned):
                    held_out = make_loader(val_set, at_once, workers, 0)
                    shown = inputs(held_out, training.device, val_set.streams, "validation")
                    sums.append(validate(Prepared(model, training.device), shown))
                training.end_epoch(sums, began)
                if on_epoch is not None:
                    on_epoch(training.history)
        return training

    training, fitting = None, recipe.batch_size
    while training is None:
        try:
            training = epochs(fitting)
        except RuntimeError as error:
            known = "out of memory|CPUAllocator|ALLOC_FAILED|CUDNN_STATUS_NOT_SUPPORTED"
            if count > 1 or not re.search(known, str(error)):  # accelerate knows fewer
                raise
            if fitting == 1:
                fault = f"out of memory: not even one clip fits on {describe_device(pick_device())}"
                raise RuntimeError(f"{fault}: smaller profile, or TWOSTREAM_DEVICE=cpu") from error
            fitting //= 2
    model.eval()
    return training.history


class Training:
    """A model and all that its training depends on, read from ``checkpoint`` if that is there.

    ``epochs`` are planned, with ``steps`` of the schedule in each. To a loop this is its optimizer:
    :meth:`step` clips the gradients first, and takes float16's scale out of them.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, epochs: int, steps: int, checkpoint: Path,
        scratch: Path | None = None,
    ):  # fmt: skip
        self.device = device = pick_device()
        if device.type == "cpu":
            keep_freed_memory()
        self.model, self.recipe, self.epochs, self.checkpoint = model, recipe, epochs, checkpoint
        self.unfinished = scratch / checkpoint.name if scratch else checkpoint
        to_model_layout(model, device)
        found = checkpoint if checkpoint.exists() else self.unfinished
        state = load_checkpoint(found) if found.exists() else {}
        self.history, self.sessions = state.get("history", []), state.get("trained_with", [])
        goes_on = 0 < len(self.history) < epochs
        self.precision = mixed_precision(device)
        if goes_on and self.sessions:
            self.precision = precision_to_go_on(device, self.sessions[-1]["precision"], checkpoint)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        groups, fused = parameter_groups(model, recipe), device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.SGD(groups, recipe.lr, 0.9, fused=fused)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda n: warmup_cosine(n, epochs * steps, recipe.warmup)
        )
        if state:
            model.load_state_dict(state["model"])
        if goes_on and not state["optimizer"]:
            fault = f"{checkpoint} is a finished training of {len(self.history)} epochs, kept"
            way_out = f"it cannot go on to {epochs}. Delete it or name another file"
            raise ValueError(f"{fault} without its optimizer: {way_out}")
        for name in ("optimizer", "schedule", "scaler") if goes_on else ():
            if state[name]:
                getattr(self, name).load_state_dict(state[name])

    def zero_grad(self) -> None:
        """Forget the gradients of the step before."""
        self.optimizer.zero_grad()

    def step(self) -> None:
        """Take a step with gradients no longer than ``recipe.clip_norm``."""
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    @contextlib.contextmanager
    def undone_if_broken(self) -> Iterator[None]:
        """Give the model its first weights back if the first epoch is left before it is kept."""
        state = {} if self.history else self.model.state_dict()
        first = {k: v.to("cpu", copy=True) for k, v in state.items()}
        try:
            yield
        except BaseException as error:  # a reader's interrupt above all
            if not self.history:
                self.model.load_state_dict(first)
            if isinstance(error, KeyboardInterrupt):
                kept = f"{len(self.history)} of {self.epochs} epochs"
                print(f"Interrupted. Nothing is lost: the next run goes on after {kept}.")
                error._render_traceback_ = lambda: ["KeyboardInterrupt"]  # a notebook asks for it
            raise

    def end_epoch(self, sums: list[tuple], began: float) -> None:
        """Add an epoch to history and checkpoint, from the sums of training and of validation."""
        sums = [[torch.as_tensor(n, device=self.device).float() for n in row] for row in sums]
        sums = torch.stack([torch.stack(row) for row in sums])
        if processes()[1] > 1:
            torch.distributed.all_reduce(sums)
        epoch, rate = len(self.history) + 1, self.schedule.get_last_lr()[0]
        (loss, top1), *validated = ((a / n, b / n) for a, b, n in sums.tolist())
        if not math.isfinite(loss):
            kept = f". {self.unfinished} holds the last good epoch" if self.history else ""
            at = f"in epoch {epoch} at learning rate {rate:.2g}"
            raise ValueError(f"the loss is no longer a number {at}; lower Recipe.lr{kept}")
        row = {"epoch": epoch, "loss": loss, "top1": top1, "lr": rate}
        for val_loss, val_top1 in validated:
            row |= {"val_loss": val_loss, "val_top1": val_top1}
        row["seconds"] = time.perf_counter() - began
        if processes()[0] == 0:
            self.save([*self.history, row])
        wait_for_all()
        self.history.append(row)

    def save(self, history: list[dict]) -> None:
        """Write the checkpoint, whole or not at all; a finished one holds no optimizer any more."""
        here = {"device": describe_device(self.device), "precision": self.precision,
                "torch": str(torch.__version__)}  # fmt: skip
        finished = len(history) >= self.epochs
        self.sessions = [*(other for other in self.sessions if other != here), here]
        state = {
            "model": {k: v.cpu() for k, v in self.model.state_dict().items()},
            "history": history,
            "trained_with": self.sessions,
            "optimizer": {} if finished else self.optimizer.state_dict(),
            "schedule": {} if finished else self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        path = self.checkpoint if finished else self.unfinished
        try:
            with atomic_write(path) as part, open(part, "wb") as file:
                torch.save(state, file)
        except (OSError, RuntimeError) as error:  # torch's own, about what it met in the file
            cause = error if isinstance(error, OSError) else error.__context__ or error
            fault = f"could not write checkpoint {path}: {getattr(cause, 'strerror', cause)}"
            raise OSError(getattr(cause, "errno", None), fault) from error


def tower_loss(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Cross-entropy of logits ``(B, classes)``, or its sum over towers ``(B, towers, classes)``."""
    if logits.ndim == 2:
        return nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    return sum(tower_loss(tower, labels, smoothing) for tower in logits.unbind(1))


def warmup_cosine(step: int, total: int, warmup: float) -> float:
    """Return the factor on the learning rate: a linear rise, then a cosine down to zero."""
    rise = max(1, round(total * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict]:
    """Return the trainable parameters: no weight decay for flat ones, trunks at ``trunk_lr``."""
    groups: dict[tuple[bool, bool], list] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = name.startswith(("spatial.", "temporal.")), parameter.ndim <= 1
            groups.setdefault(kind, []).append(parameter)
    return [
        {"params": groups[of_trunk, flat], "weight_decay": 0.0 if flat else recipe.weight_decay,
         "lr": recipe.lr * (recipe.trunk_lr or 1 if of_trunk else 1)}
        for of_trunk, flat in sorted(groups)
    ]  # fmt: skip


def load_checkpoint(path: Path, mmap: bool = False) -> dict:
    """Read a checkpoint as data only. Raises ``ValueError`` naming a file that is damaged."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:
        fault = f"checkpoint {path} cannot be read ({error}); delete it to train again"
        raise ValueError(fault) from error
