"""What each choice is worth: trains every variant on the same clips and keeps its scores.

    make ablations                                        # all of it: about two hours on 2 cores
    python -m twostream_utils.experiments.ablations init fusion --seeds 0  # two groups, one seed

Each run leaves notebooks/kept/ablations/<group>/<variant>_<profile>_split<S>_seed<N>.npz: clips,
labels, the mean logits of their views, the learning curve, commit and versions. A run whose file is
there is not run again. Notebook 12 computes its tables and plots from these files.
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
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from joblib import cpu_count
from tqdm.auto import tqdm

from ..course import INPUTS, Course
from ..data.processes import parallel_map
from ..device import PRECISIONS, mixed_precision, pick_device
from ..evaluation import correct, score
from ..files import atomic_write
from ..lab.kept import KEPT, commit, load_run
from ..lab.start import setup
from ..training import fit, load_checkpoint, save_checkpoint
from ..vgg import fold_batch_norm, load_weights, vgg19
from . import original
from .fusions import KINDS, MapFusion

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
    def name(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.variant.lower()).strip("-")

    @property
    def path(self) -> Path:
        file = f"{self.name}_{self.profile}_split{self.split}_seed{self.seed}.npz"
        return KEPT / self.group / file

    def checkpoint(self, course: Course, network: str) -> Path:
        """Beside that of the course's own network, whose name says all sizes and the data."""
        path = course.checkpoint(network)
        return path.with_name(f"{self.group}_{self.name}_{path.name}")


def first_layer(run: Run, course: Course) -> tuple:
    """The temporal stream from one of the first layers, with batch norm or with it folded in."""
    which, _, plain = run.variant.partition(" / ")
    profile = course.profile
    state = load_weights(profile.weights, profile.batch_norm)
    recipe = replace(profile.temporal, epochs=SHORT)
    if plain:
        state = fold_batch_norm(state)
        recipe = replace(recipe, lr=0.005)
    torch.manual_seed(run.seed)
    model = vgg19(
        profile.channels["flow"], len(course.classes), profile.width,
        profile.batch_norm and not plain, state, dropout=recipe.dropout,
    )  # fmt: skip
    original.with_first_layer(model, state["features.0.weight"], which)
    history = fit(
        model, course.dataset("train", ("flow",)), recipe, run.checkpoint(course, "temporal"),
        course.dataset("val", ("flow",)), seed=run.seed, workers=course.workers,
    )  # fmt: skip
    return model, course.dataset("test", ("flow",)), history


def defect(run: Run, course: Course) -> tuple:
    """One stream or conv fusion, with one defect in training and, where it applies, in testing."""
    name, _, what = run.variant.partition(" / ")
    if what == "split by clip":
        course = by_clip(course)
    train, test = (
        original.DefectiveClips(course.dataset(part, INPUTS[name]), {what} & set(original.DEFECTS))
        for part in ("train", "test")
    )
    model, checkpoint = course.new(name), run.checkpoint(course, name)
    recipe = course.recipe(name)
    history = fit(model, train, recipe, checkpoint, seed=run.seed, workers=course.workers)
    return model, test, history


def by_clip(course: Course) -> Course:
    """The same numbers of training and test clips, drawn without regard to groups."""
    other = copy.copy(course)
    clips = sorted([*course.train, *course.val, *course.test])
    random.Random(course.seed).shuffle(clips)
    n = len(course.train)
    other.train, other.val, other.test = clips[:n], [], clips[n : n + len(course.test)]
    return other


FUSIONS = {
    **{kind: {"network": MapFusion, "kind": kind} for kind in KINDS if kind != "conv"},
    "conv": {},
    **{f"conv at {name}": {"network": MapFusion, "layer": name}
       for name in ("relu2", "relu3", "relu4", "relu5+fc8")},
    "conv, two towers": {"form": "two_towers"},
    "conv, trunks trained": {"train_trunks": True},
    "the seed's form": {"form": "seed"},
    "5 chunks, 2D conv + 3D pool": {"form": "two_towers", "towers": 1},
    "5 chunks, 3D conv + 3D pool": {"form": "paper", "towers": 1},
    "5 chunks, 3D, two towers": {"form": "paper"},
}  # fmt: skip


def snippets(course: Course, chunks: int) -> Course:
    """The same course on single moments: 1 RGB frame and 1/``chunks`` of the flow fields."""
    fields = course.profile.flow_fields // chunks
    sizes = {"rgb_frames": 1, "rgb_step": 1, "flow_fields": fields, "chunks": chunks}
    return replace(course, profile=replace(course.profile, **sizes))


def fusion(run: Run, course: Course) -> tuple:
    """Conv fusion of another kind, at another layer, over time; or a stream of snippets."""
    name, choices = "conv", FUSIONS.get(run.variant, {})
    if run.variant.startswith(("snippet ", "5 chunks")):
        course = snippets(course, 5)
    if run.variant not in FUSIONS:
        name = run.variant.removeprefix("snippet ")
    model = course.new(name, **choices)
    history = course.fit(name, model, **choices)
    return model, course.dataset("test", INPUTS[name], over_time=name == "conv"), history


def as_original(run: Run, course: Course) -> tuple:
    """The original's recipe, all defects together; `conv` starts from its own two streams."""
    if run.variant != "conv":
        model = original.original_stream(course, run.variant)
    else:
        streams = []
        for name in "spatial", "temporal":
            trained = load_checkpoint(replace(run, variant=name).checkpoint(course, name))
            streams.append(original.original_stream(course, name))
            streams[-1].load_state_dict(trained["model"])
        torch.manual_seed(run.seed)
        model = original.OriginalFusion(*streams)
    history = original.train_as_original(model, course, run.variant)
    save_checkpoint(run.checkpoint(course, run.variant), {"model": model.state_dict()})
    test = course.dataset("test", INPUTS[run.variant])
    test.profile = replace(test.profile, positions=1)
    return model, original.DefectiveClips(test, original.ORIGINAL), history


CASES = (
    "spatial / jitter", "conv / jitter", "conv / unregistered", "temporal / rotated",
    "temporal / unflipped u", "temporal / min-max flow", "spatial / fixed frames",
    "temporal / fixed frames", "spatial / split by clip", "temporal / split by clip",
)  # fmt: skip
GROUPS: dict[str, Callable] = {
    "init": first_layer, "defects": defect, "fusion": fusion, "original": as_original,
}  # fmt: skip


def planned(groups: list[str], seeds: list[int] | None = None) -> list[list[Run]]:
    """All runs in two stages: those of the second need what the first one trained."""
    mini = [("mini", 1, seed) for seed in seeds or SEEDS]
    short = [("mini", 1, seed) for seed in seeds or INIT_SEEDS]
    both = [*(("weizmann", split, 0) for split in (1, 2, 3)), *mini]
    two = ("spatial", "temporal")
    # without batch norm all stay near chance for so few epochs: one seed shows it
    plain = [f"{name} / no batch norm" for name in original.FIRST_LAYERS]
    stages = (
        [({"fusion", "defects"}, "fusion", two, mini),
         ({"fusion"}, "fusion", [f"snippet {name}" for name in two], mini),
         ({"init"}, "init", original.FIRST_LAYERS, short), ({"init"}, "init", plain, mini[:1]),
         ({"original"}, "original", two, both)],
        [({"fusion"}, "fusion", FUSIONS, mini), ({"original"}, "original", ["conv"], both),
         ({"defects"}, "defects", CASES, mini)],
    )  # fmt: skip
    return [
        [Run(group, variant, *place) for asked, group, variants, places in stage
         if asked & set(groups) for place in places for variant in variants]
        for stage in stages
    ]  # fmt: skip


def carry_out(run: Run) -> str:
    """Train and score one run, unless its file is there; return what it came to in a line."""
    os.environ["TWOSTREAM_PROFILE"] = run.profile
    if not run.path.exists():
        torch.set_num_threads(int(os.environ.get("ABLATION_THREADS", "1")))
        began = time.perf_counter()
        course = setup(run.profile, split=run.split, seed=run.seed, quiet=True)
        model, test, history = GROUPS[run.group](run, course)
        scores = score(model, test)
        # the original knew nothing of mixed precision
        precision = "no" if run.group == "original" else mixed_precision(pick_device())
        meta = asdict(run) | {
            "commit": commit(), "torch": torch.__version__, "python": platform.python_version(),
            "device": pick_device().type, "precision": PRECISIONS[precision],
            "parameters": sum(p.numel() for p in model.parameters()),
            "seconds": round(time.perf_counter() - began),
        }  # fmt: skip
        with atomic_write(run.path) as part, open(part, "wb") as file:
            np.savez_compressed(
                file, clips=np.array(scores.clips), labels=scores.labels.astype(np.uint8),
                logits=scores.clip_logits().astype(np.float16), classes=np.array(scores.classes),
                history=json.dumps(history), meta=json.dumps(meta),
            )  # fmt: skip
    kept = load_run(run.path)
    top1 = correct(kept["logits"], kept["labels"]).mean()
    return f"{run.path.parent.name}/{run.path.stem:<55}{top1:6.1%} {kept['meta']['seconds']:5} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(GROUPS)}; all if none is given")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--jobs", type=int, default=cpu_count(), help="trainings side by side")
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
