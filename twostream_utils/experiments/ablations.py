"""What each choice is worth: trains every variant on the same clips and keeps its scores.

    make ablations                                        # all of it: about two hours on 2 cores
    python -m twostream_utils.experiments.ablations init fusion --seeds 0  # two groups, one seed

Each run leaves notebooks/kept/ablations/<group>/<variant>_<profile>_split<S>_seed<N>.npz: clips,
labels, the mean logits of their views, the learning curve, commit and versions. A run whose file is
there is not run again. Notebook 11 computes its tables and plots from these files.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import numpy as np
import torch
from tqdm.auto import tqdm

from twostream_utils.conv_fusion import KINDS
from twostream_utils.course import INPUTS, Course
from twostream_utils.data.processes import parallel_map
from twostream_utils.device import PRECISIONS, mixed_precision, pick_device
from twostream_utils.evaluation import score
from twostream_utils.experiments.original import (
    DEFECTS,
    FIRST_LAYERS,
    ORIGINAL,
    DefectiveClips,
    OriginalFusion,
    original_stream,
    train_as_original,
    with_first_layer,
    without_batch_norm,
)
from twostream_utils.files import atomic_write
from twostream_utils.lab.kept import KEPT, commit, load_run
from twostream_utils.lab.start import ROOT, setup
from twostream_utils.training import fit, load_checkpoint, save_checkpoint
from twostream_utils.vgg import load_weights, vgg19

CHECKPOINTS = ROOT / "runs" / "ablations"
SEEDS = 0, 1, 2
INIT_SEEDS = *SEEDS, 3, 4  # first layers: short trainings that differ a lot from seed to seed
SHORT = 6  # epochs of the comparisons of first layers: half of the mini profile's


@dataclass(frozen=True)
class Run:
    """One training: which variant of which group, on which split, with which seed."""

    group: str
    variant: str
    profile: str
    split: int
    seed: int

    @property
    def path(self) -> Path:
        name = re.sub(r"[^a-z0-9]+", "-", self.variant.lower()).strip("-")
        return KEPT / self.group / f"{name}_{self.profile}_split{self.split}_seed{self.seed}.npz"

    @property
    def checkpoint(self) -> Path:
        return CHECKPOINTS / self.group / self.path.with_suffix(".pt").name


def first_layer(run: Run, course: Course) -> tuple:
    """The temporal stream from one of the first layers, with batch norm or with it folded in."""
    which, _, plain = run.variant.partition(" / ")
    profile = course.profile
    state = load_weights(profile.weights, profile.batch_norm)
    recipe = replace(profile.temporal, epochs=SHORT, lr=0.005 if plain else profile.temporal.lr)
    if plain:
        state = without_batch_norm(state, profile.width)
    torch.manual_seed(run.seed)
    channels = profile.channels["flow"]
    norm = profile.batch_norm and not plain
    model = vgg19(channels, len(course.classes), profile.width, norm, state, dropout=recipe.dropout)
    with_first_layer(model, state["features.0.weight"], which)
    history = fit(
        model, course.dataset("train", ("flow",)), recipe, run.checkpoint,
        course.dataset("val", ("flow",)), seed=run.seed, workers=course.workers,
    )  # fmt: skip
    return model, course.dataset("test", ("flow",)), history


def defect(run: Run, course: Course) -> tuple:
    """One stream or conv fusion, with one defect in training and, where it applies, in testing."""
    name, _, what = run.variant.partition(" / ")
    if what == "split by clip":
        course = by_clip(course)
    defects = (what,) if what in DEFECTS else ()
    inputs = INPUTS[name]
    recipe = course.recipe(name)
    model = course.new(name)
    history = fit(
        model, DefectiveClips(course.dataset("train", inputs), defects), recipe, run.checkpoint,
        seed=run.seed, workers=course.workers,
    )  # fmt: skip
    return model, DefectiveClips(course.dataset("test", inputs), defects), history


def by_clip(course: Course) -> Course:
    """The same numbers of training and test clips, drawn without regard to groups."""
    other = copy.copy(course)
    clips = sorted([*course.train, *course.val, *course.test])
    random.Random(course.seed).shuffle(clips)
    n = len(course.train)
    other.train, other.test = clips[:n], clips[n : n + len(course.test)]
    other.val = []
    return other


FUSIONS = {
    **{kind: {"kind": kind} for kind in KINDS},
    "conv at relu2": {"layer": "relu2"},
    "conv at relu3": {"layer": "relu3"},
    "conv at relu4": {"layer": "relu4"},
    "conv at relu5+fc8": {"layer": "relu5+fc8"},
    "conv, two towers": {"towers": 2},
    "conv, trunks trained": {"train_trunks": True},
    "5 chunks, 2D conv + 2D pool": {"chunks": 5, "time": "2d"},
    "5 chunks, 2D conv + 3D pool": {"chunks": 5, "time": "3dpool"},
    "5 chunks, 3D conv + 3D pool": {"chunks": 5, "time": "3d"},
    "5 chunks, 3D, two towers": {"chunks": 5, "time": "3d", "towers": 2},
}


def fusion(run: Run, course: Course) -> tuple:
    """Conv fusion of another kind, at another layer, over time; or a stream of snippets."""
    if run.variant.startswith("snippet "):
        course, name, choices = course.snippets(5), run.variant.split()[1], {}
    elif run.variant in INPUTS:
        name, choices = run.variant, {}
    else:
        name, choices = "conv", FUSIONS[run.variant]
    model = course.new(name, **choices)
    history = course.fit(name, model, **choices)
    return model, course.dataset("test", INPUTS[name]), history


def original(run: Run, course: Course) -> tuple:
    """The original's recipe, all defects together; `conv` starts from its own two streams."""
    if run.variant != "conv":
        model = original_stream(course, run.variant)
    else:
        streams = [original_stream(course, name) for name in ("spatial", "temporal")]
        for name, stream in zip(("spatial", "temporal"), streams):
            stream.load_state_dict(load_checkpoint(replace(run, variant=name).checkpoint)["model"])
        torch.manual_seed(run.seed)
        model = OriginalFusion(*streams)
    history = train_as_original(model, course, run.variant)
    save_checkpoint(run.checkpoint, {"model": model.state_dict()})
    test = course.dataset("test", INPUTS[run.variant])
    test.profile = replace(test.profile, positions=1)
    return model, DefectiveClips(test, ORIGINAL), history


GROUPS: dict[str, Callable] = {
    "init": first_layer, "defects": defect, "fusion": fusion, "original": original,
}  # fmt: skip


def planned(groups: list[str], seeds: list[int] | None = None) -> list[list[Run]]:
    """All runs in stages: those of a stage need only what an earlier one trained."""
    mini = [("mini", 1, seed) for seed in seeds or SEEDS]
    folds = [("weizmann", split, 0) for split in (1, 2, 3)]
    two = ("spatial", "temporal")
    stages: list[list[tuple]] = [[], []]
    if "fusion" in groups or "defects" in groups:
        stages[0] += [("fusion", name, *where) for name in two for where in mini]
    if "fusion" in groups:
        stages[0] += [("fusion", f"snippet {name}", *where) for name in two for where in mini]
        stages[1] += [("fusion", name, *where) for where in mini for name in FUSIONS]
    if "init" in groups:
        for seed in seeds or INIT_SEEDS:
            stages[0] += [("init", name, "mini", 1, seed) for name in FIRST_LAYERS]
        # without batch norm all stay near chance for so few epochs: one seed shows it
        stages[0] += [("init", f"{name} / no batch norm", *mini[0]) for name in FIRST_LAYERS]
    if "original" in groups:
        stages[0] += [("original", name, *where) for where in [*folds, *mini] for name in two]
        stages[1] += [("original", "conv", *where) for where in [*folds, *mini]]
    if "defects" in groups:
        cases = [
            "spatial / jitter", "conv / jitter", "conv / unregistered", "temporal / rotated",
            "temporal / unflipped u", "temporal / min-max flow", "spatial / fixed frames",
            "temporal / fixed frames", "spatial / split by clip", "temporal / split by clip",
        ]  # fmt: skip
        stages[1] += [("defects", case, *where) for where in mini for case in cases]
    return [[Run(*run) for run in stage] for stage in stages]


def precision(run: Run) -> str:
    """What a run computes in; the original knew nothing of mixed precision."""
    return PRECISIONS["no" if run.group == "original" else mixed_precision(pick_device())]


def carry_out(run: Run) -> str:
    """Train and score one run, unless its file is there; return what it came to in a line."""
    os.environ["TWOSTREAM_PROFILE"] = run.profile
    if not run.path.exists():
        torch.set_num_threads(int(os.environ.get("ABLATION_THREADS", "1")))
        began = time.perf_counter()
        course = setup(run.profile, split=run.split, seed=run.seed, quiet=True)
        model, test, history = GROUPS[run.group](run, course)
        scores = score(model, test)
        meta = {
            "group": run.group, "variant": run.variant, "profile": run.profile,
            "split": run.split, "seed": run.seed, "commit": commit(),
            "torch": torch.__version__, "python": platform.python_version(),
            "device": pick_device().type, "precision": precision(run),
            "parameters": sum(p.numel() for p in model.parameters()),
            "seconds": round(time.perf_counter() - began),
        }  # fmt: skip
        with atomic_write(run.path) as part, open(part, "wb") as file:
            np.savez_compressed(
                file, clips=np.array(scores.clips), labels=scores.labels.astype(np.uint8),
                logits=scores.clip_logits().astype(np.float16), classes=np.array(scores.classes),
                history=json.dumps(history), meta=json.dumps(meta),
            )  # fmt: skip
    outcome = load_run(run.path)
    top1 = (outcome["logits"].argmax(1) == outcome["labels"]).mean()
    seconds = outcome["meta"]["seconds"]
    return f"{run.group:<9} {run.variant:<32} {run.path.stem[-22:]:>24} {top1:6.1%} {seconds:5} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(GROUPS)}; all if none is given")
    parser.add_argument("--seeds", type=int, nargs="+")
    cores = joblib.cpu_count()
    parser.add_argument("--jobs", type=int, default=cores, help="trainings side by side")
    options = parser.parse_args()
    groups = options.groups or list(GROUPS)
    if strangers := set(groups) - set(GROUPS):
        parser.error(f"no group {sorted(strangers)}; there are {', '.join(GROUPS)}")
    stages = planned(groups, options.seeds)
    os.environ["TQDM_DISABLE"] = "1"  # the bars of single trainings
    with tqdm(total=sum(map(len, stages)), unit="run", disable=False) as bar:
        for stage in stages:
            for line in parallel_map(carry_out, stage, options.jobs):
                tqdm.write(line)
                bar.update()


if __name__ == "__main__":
    main()
