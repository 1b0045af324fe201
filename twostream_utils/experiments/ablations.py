"""What each choice is worth: trains every variant on the same clips and keeps its answers.

    make ablations                                        # all of it: about 45 minutes on 2 cores
    python -m twostream_utils.experiments.ablations defects fusion --seeds 0    # two groups, a seed

What each test clip was taken for, commit and versions go to notebooks/kept/ablations/<group>.json.
A run that is there is not run again. The chapters compute their tables and plots from these files.
"""

from __future__ import annotations

import argparse
import copy
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from ..course import INPUTS, Course
from ..data.processes import parallel_map
from ..device import PRECISIONS
from ..evaluation import score
from ..fusion import late_fusion
from ..lab import kept
from ..lab.start import command, setup
from ..stacks import StackDataset
from ..store import FrameStore
from ..training import fit
from ..vgg import load_weights
from . import original
from .accuracy import WAYS, made, row, side_by_side
from .camera import drift
from .fusions import MapFusion
from .lessons import LESSONS

PROFILE = "mini"
SEEDS = 0, 1, 2
ORIGINAL_SEEDS = (0,)  # its 25 epochs a stream take longer than all seeds of the rest


@dataclass(frozen=True)
class Run:
    """One training, or the answers of one that is there: a variant of a group, with a seed."""

    group: str
    variant: str
    seed: int

    @property
    def path(self):
        return kept.KEPT / "ablations" / f"{self.group}.json"


Found = tuple[nn.Module, StackDataset]  # network, test clips
Scored = dict[str, np.ndarray]  # scores of the test clips by variant


def of_course(run: Run, course: Course) -> Scored:
    """The course's own networks and averages: what all others are compared with."""
    return {WAYS[key]: scores for key, (scores, *_) in course.method_scores().items()}


def first_layer(run: Run, course: Course) -> Found:
    """A stream from one of ``original.FIRST_LAYERS``."""
    name, _, which = run.variant.partition(" / ")
    stream = INPUTS[name][0]
    if which == getattr(course.profile, f"{stream}_first_layer"):  # the course's own
        return course.trained(name), course.dataset("test", (stream,))
    weights = load_weights(course.profile.weights, course.profile.batch_norm)["features.0.weight"]
    model = original.with_first_layer(course.new_stream(name), weights, which)
    return trained(run, course, name, model, course.dataset("train", INPUTS[name]))


def defect(run: Run, course: Course) -> Found:
    """One stream or conv fusion with one defect in training and, where it applies, in testing."""
    name, _, what = run.variant.partition(" / ")
    if what == "split by clip":
        course = by_clip(course)
    train, test = (
        original.DefectiveClips(course.dataset(part, INPUTS[name]), {what} & set(original.DEFECTS))
        for part in ("train", "test")
    )
    if run.variant in TEST_ONLY:
        return course.trained(name), test
    return trained(run, course, name, course.new(name), train)[0], test


def mean_flow(run: Run, course: Course) -> Found:
    """The temporal stream with and without the mean of each field; one of them is the course's."""
    subtract = run.variant == "temporal / mean subtracted"
    course = replace(course, profile=replace(course.profile, subtract_mean=subtract))
    return course.trained("temporal"), course.dataset("test", ("flow",))


def fusion(run: Run, course: Course) -> Found:
    """Conv fusion of another kind or at another layer, on the course's own streams."""
    choices = FUSIONS[run.variant]
    model = course.new("conv", **choices)
    return trained(run, course, "conv", model, course.dataset("train", INPUTS["conv"]))


def as_original(run: Run, course: Course) -> Found | Scored:
    """The original's recipe, all defects together: both streams and their average, or conv fusion.

    Its conv fusion starts from ImageNet's weights and not from its streams.
    """
    course = replace(course, profile=replace(course.profile, positions=1))
    streams = {n: original.original_stream(course, n) for n in ("spatial", "temporal")}
    if run.variant == "conv":
        torch.manual_seed(run.seed)
        model = original.OriginalFusion(*streams.values())
        original.train_as_original(model, course, "conv")
        return model, as_it_tests(course, "conv")
    found = {}
    for name, model in streams.items():
        original.train_as_original(model, course, name)
        scores = score(model, as_it_tests(course, name), workers=course.workers)
        found[name] = scores.clip_logits()
    return found | {"average of softmax": late_fusion(found["spatial"], found["temporal"])}


def as_it_tests(course: Course, name: str) -> original.DefectiveClips:
    return original.DefectiveClips(course.dataset("test", INPUTS[name]), original.ORIGINAL)


def trained(run: Run, course: Course, name: str, model: nn.Module, clips) -> Found:
    """``model`` trained by the profile's recipe, its checkpoint beside those of the course."""
    path = course.checkpoint(name)
    path = path.with_name(f"{run.group}_{run.variant.replace(' / ', '_')}_{path.name}")
    fit(model, clips, course.recipe(name), path, seed=run.seed, workers=course.workers)
    path.unlink()  # of use only to a training that was interrupted
    return model, course.dataset("test", INPUTS[name])


def by_clip(course: Course) -> Course:
    """The same numbers of training and test clips, drawn without regard to groups."""
    other = copy.copy(course)
    clips = sorted([*course.train, *course.val, *course.test])
    random.Random(course.seed).shuffle(clips)
    n = len(course.train)
    other.train, other.val, other.test = clips[:n], [], clips[n : n + len(course.test)]
    return other


# What the appendix of notebook 12 shows beside the course's own conv fusion.
FUSIONS = {
    "sum": {"network": MapFusion, "kind": "sum"},
    "max": {"network": MapFusion, "kind": "max"},
    "concat": {"network": MapFusion, "kind": "concat"},
    "conv at relu4": {"block": 4},
    "conv, 3D pool": {"form": "seed"},
}
TEST_ONLY = ("temporal / backwards", "temporal / shuffled")
VARIANTS = {
    "course": ("all methods",),
    "first_layer": (
        *(f"temporal / {which}" for which in ("random", "original", "mean", "mean_rescaled")),
        *(f"spatial / {which}" for which in ("random", "original", "mean", "inflate")),
    ),
    "defects": (
        "spatial / jitter", "conv / own crops", "temporal / rotated", "temporal / unflipped u",
        "temporal / min-max flow", *TEST_ONLY, "spatial / split by clip",
        "temporal / split by clip",
    ),
    "mean_flow": ("temporal / mean kept", "temporal / mean subtracted"),
    "fusion": tuple(FUSIONS),
    "original": ("streams", "conv"),
}  # fmt: skip
# The classes whose lesson a defect spoils: an accuracy over all classes would hide it.
CONCERNS = {
    "spatial / jitter": LESSONS["ring"],
    "conv / own crops": LESSONS["where"],
    "temporal / rotated": LESSONS["time"],
    "temporal / unflipped u": tuple(n for n in LESSONS["ring"] if n.startswith(("Flap", "Clap"))),
    "temporal / min-max flow": LESSONS["time"],
}
GROUPS: dict[str, Callable] = {
    "course": of_course, "first_layer": first_layer, "defects": defect, "mean_flow": mean_flow,
    "fusion": fusion, "original": as_original,
}  # fmt: skip


def planned(groups: list[str], seeds: list[int] | None = None) -> list[Run]:
    """All runs: the course's own networks, which others need, then seed by seed, long ones first.

    Whoever stops early has all variants with the first seeds.
    """
    few = ORIGINAL_SEEDS if seeds is None else seeds
    seeds = seeds or list(SEEDS)
    runs = [Run("course", variant, seed) for seed in seeds for variant in VARIANTS["course"]]
    for seed in seeds:
        for group in ("original", "defects", "first_layer", "mean_flow", "fusion"):
            if group in groups and (group != "original" or seed in few):
                runs += [Run(group, variant, seed) for variant in VARIANTS[group]]
    return runs


@cache
def store() -> FrameStore:
    """One store for all runs of a process: its cache is filled once."""
    return setup(PROFILE, quiet=True).store


def carry_out(run: Run) -> list[dict]:
    """Train and score one run; return what is kept of it, a row for each variant it answers for."""
    os.environ["TWOSTREAM_PROFILE"] = PROFILE
    torch.set_num_threads(int(os.environ.get("ABLATION_THREADS", "1")))
    began = time.perf_counter()
    course = replace(setup(PROFILE, seed=run.seed, quiet=True), store=store())
    found, clips, more = GROUPS[run.group](run, course), list(course.test), {}
    if not isinstance(found, dict):
        model, test = found
        clips = list(test.clips)
        more["parameters"] = sum(p.numel() for p in model.parameters())
        found = {run.variant: score(model, test, workers=course.workers).clip_logits()}
    if run.group == "mean_flow":
        more["drift"] = [drift(course.store, clip) for clip in clips]
    more |= made() | {"seconds": round(time.perf_counter() - began)}
    if run.group == "original":
        more["precision"] = PRECISIONS[original.precision()]
    return [row(course, name, scores, clips, job=run.variant, **more)
            for name, scores in found.items()]  # fmt: skip


def missing(runs: list[Run]) -> list[Run]:
    """Those of ``runs`` that the kept files do not have."""
    there = set()
    for path in {run.path for run in runs}:
        for several in kept.load_runs(path).values() if path.exists() else ():
            there |= {(path, r["job"], r["seed"]) for r in several}
    return [run for run in runs if (run.path, run.variant, run.seed) not in there]


@command()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(GROUPS)}; all if none is given")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--jobs", type=int, help="runs side by side; a core each, or the one GPU")
    options = parser.parse_args()
    groups = options.groups or list(GROUPS)
    if strangers := set(groups) - set(GROUPS):
        parser.error(f"no group {sorted(strangers)}; there are {', '.join(GROUPS)}")
    runs = planned(groups, options.seeds)
    os.environ["TQDM_DISABLE"] = "1"  # the bars of single trainings
    setup(PROFILE, quiet=True)  # generates the clips before several ask for them
    jobs = side_by_side(options.jobs)
    with tqdm(total=len(runs), unit="run", disable=False) as bar:
        for stage in ([r for r in runs if r.group == "course"],
                      [r for r in runs if r.group != "course"]):  # fmt: skip
            asked = missing(stage)
            bar.update(len(stage) - len(asked))
            for run, rows in zip(asked, parallel_map(carry_out, asked, jobs)):
                kept.save_runs(run.path, rows)
                for line in rows:
                    right = np.equal(line["said"], line["labels"]).mean()
                    name = f"{run.group}: {line['variant']}, seed {run.seed}"
                    tqdm.write(f"{name:<50}{right:6.1%} {line['seconds']:5} s")
                bar.update()


if __name__ == "__main__":
    main()
