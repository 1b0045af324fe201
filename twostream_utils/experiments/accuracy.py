"""Accuracy over several splits and seeds, and what each lesson comes to.

    python -m twostream_utils.experiments.accuracy mini --splits 1 2 3 --seeds 0 1 2
    python -m twostream_utils.experiments.accuracy weizmann --splits 1 2 3 --data VIDEOS
    torchrun --nproc-per-node 2 -m twostream_utils.experiments.accuracy ucf20    # on two GPUs

Trains (or loads) the networks of each split and seed and pools the test clips: top-1 over all test
clips of all splits, averaged over the seeds, intervals over groups and seeds. What each clip was
taken for goes to notebooks/kept/accuracy_<profile>.json, with a summary for the tables of README.
A split and seed that is there is not run again unless --again is given.

    OMP_NUM_THREADS=1 TWOSTREAM_PRECISION=no TWOSTREAM_RUNS=DIR python -m … mini --elsewhere

adds one run of split 1 and seed 0 to notebooks/kept/elsewhere.json: how far do figures move with
the machine, its threads and the precision?
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import joblib
import numpy as np
import torch
from tqdm.auto import tqdm

from ..course import Course
from ..data.processes import parallel_map
from ..device import PRECISIONS, mixed_precision, pick_device, processes
from ..evaluation import score
from ..lab import kept
from ..lab.results import keep_as_elsewhere
from ..lab.start import command, setup
from .fusions import svm_fusion
from .lessons import LESSONS, columns, only
from .original import DefectiveClips

# What kept runs call the METHODS. Two more ways to fuse, product and SVM, are none of the course.
WAYS = {
    "spatial": "spatial", "temporal": "temporal", "average_fusion": "average of softmax",
    "logit_average": "average of logits", "conv_fusion": "conv", "weighted_fusion": "weighted",
}  # fmt: skip
FUSED = ("average of softmax", "average of logits", "product", "SVM", "conv", "weighted")
PAIRS = ("time", "where")  # lessons of two classes


def made() -> dict:
    """With what: commit, versions, device and precision."""
    device = pick_device()
    return {
        "commit": kept.commit(), "torch": str(torch.__version__),
        "python": platform.python_version(), "device": device.type,
        "precision": PRECISIONS[mixed_precision(device)],
    }  # fmt: skip


def row(course: Course, variant: str, scores: np.ndarray, clips: list[str], **more) -> dict:
    """A run as ``kept`` keeps it, from ``scores`` ``(N, classes)`` of ``clips``."""
    return {
        "variant": variant, "profile": course.profile.name, "split": course.split,
        "seed": course.seed, "said": scores.argmax(axis=1).tolist(), "clips": clips,
        "labels": [course.classes.index(course.store.label(clip)) for clip in clips],
        "groups": course.groups(clips), "classes": list(course.classes),
    } | more  # fmt: skip


def rows(course: Course) -> Iterator[dict]:
    """Every way's answers to all test clips; to each pair's clips, within the pair; from one view.

    The temporal stream gets the time pair backwards and with shuffled fields as well.
    """
    methods, streams = course.method_scores(), ("spatial", "temporal")
    ways = {WAYS[key]: values[0] for key, values in methods.items()}
    seconds = {WAYS[key]: {"seconds": round(values[2], 1)} for key, values in methods.items()}
    ways["product"] = ways["spatial"] * ways["temporal"]
    if course.val:  # clips that neither stream was trained on
        held_out = [course.scores(name, "val") for name in streams]
        logits = [scores.clip_logits() for scores in (*held_out, *map(course.scores, streams))]
        ways["SVM"] = svm_fusion(logits[:2], held_out[0].labels, *logits[2:])
    test = course.scores("spatial")
    clips, told = list(test.clips), made()
    for way, scores in ways.items():
        yield row(course, way, scores, clips, **seconds.get(way, {}), **told)
    views = course.profile.positions // 2 * (test.logits.shape[1] // course.profile.positions)
    for key, values in course.method_scores(view=views).items():
        yield row(course, f"{WAYS[key]}, one view", values[0], clips)
    for lesson in PAIRS:
        if of := columns(lesson, course.classes):
            these = np.flatnonzero(np.isin(test.labels, of))
            pair = [clips[k] for k in these]
            for way, scores in ways.items():
                yield row(course, f"{lesson} within, {way}", only(scores[these], of), pair)
            for what in ("backwards", "shuffled") if lesson == "time" else ():
                scores = only(temporal_with(course, pair, what), of)
                yield row(course, f"time within, {what}", scores, pair)


def temporal_with(course: Course, clips: list[str], defect: str) -> np.ndarray:
    """Logits of the trained temporal stream for ``clips`` that have one of ``DEFECTS``."""
    dataset = DefectiveClips(course.dataset("test", ("flow",)), {defect})
    dataset.labels = [dataset.labels[dataset.clips.index(clip)] for clip in clips]
    dataset.clips = clips
    model = course.trained("temporal")
    return score(model, dataset, workers=course.workers).clip_logits()


def of_run(run: tuple[str, int, int, int]) -> list[dict]:
    """All rows of one profile, split and seed, with so many threads."""
    profile, split, seed, threads = run
    if threads:
        torch.set_num_threads(threads)
    os.environ["TWOSTREAM_PROFILE"] = profile
    return list(rows(setup(profile, split=split, seed=seed, quiet=True)))


def side_by_side(jobs: int | None) -> int:
    """How many runs at a time: ``jobs``, or else a run a core, or one on GPUs and under torchrun.

    Sets their precision, which is measured once: several at a time might find different ones.
    """
    device = pick_device()
    os.environ.setdefault("TWOSTREAM_PRECISION", mixed_precision(device))
    cpu = device.type == "cpu" and processes()[1] == 1
    return jobs or (joblib.cpu_count() if cpu else 1)


def summary(runs: dict[str, list[dict]]) -> dict:
    """The figures of the tables: methods, differences, one view, lessons."""
    methods = {
        key: figures(runs[way]) | {"seconds": round(sum(run["seconds"] for run in runs[way]), 1)}
        for key, way in WAYS.items()
    }
    # picked on the test, which is kind to the stream and so unkind to what is compared with it
    better = max(("spatial", "temporal"), key=lambda name: methods[name]["top1"])
    fused = [way for way in FUSED if way in runs]  # no SVM without validation clips
    keys = {way: key for key, way in WAYS.items()}
    differences = {}
    for k, new in enumerate(fused):
        for old in ("better stream", *fused[:k]):
            gain, ends, each = kept.gain(runs[new], runs[better if old == "better stream" else old])
            pair = f"{keys.get(new, new)} − {keys.get(old, old)}"
            differences[pair] = {"gain": gain, "ci95": ends, "each_seed": each}
    lessons, groups = {}, kept.hits_by_seed(runs["spatial"])[1]
    for name, of in LESSONS.items():
        if set(of) <= set(runs["spatial"][0]["classes"]):
            lessons[name] = {way: figures(runs[way], of) for way in ("spatial", "temporal", *fused)}
            gain, ends, _ = kept.gain(runs["average of softmax"], runs[better], of)
            differences[f"{name}: average_fusion − better stream"] = {"gain": gain, "ci95": ends}
    for variant in runs:
        lesson, found, way = variant.partition(" within, ")
        if found:
            lessons.setdefault(f"{lesson} within", {})[way] = figures(runs[variant])
    return {
        "clips": len(groups), "groups": len({*groups}),
        "better": better, "methods": methods, "differences": differences,
        "views": {"single": {key: kept.top1(runs[f"{way}, one view"])[0]
                             for key, way in WAYS.items()}},
        "lessons": lessons,
    }  # fmt: skip


def figures(runs: list[dict], of: tuple[str, ...] | None = None) -> dict:
    top, ends, _ = kept.top1(runs, of)
    return {"top1": top, "ci95": ends}


@command()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("profile")
    parser.add_argument("--splits", type=int, nargs="+", default=[1])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data", type=Path, help="folder of class folders with videos")
    parser.add_argument("--jobs", type=int, help="splits and seeds side by side; a core each")
    parser.add_argument(
        "--again", action="store_true", help="all anew, without the file that is there"
    )
    parser.add_argument("--elsewhere", action="store_true", help="one run with what is here")
    options = parser.parse_args()
    os.environ["TWOSTREAM_PROFILE"] = options.profile
    if options.data:
        os.environ["TWOSTREAM_DATA"] = str(options.data.resolve())
    course = setup(options.profile, quiet=True)  # generates or extracts before several ask for it
    if options.elsewhere:
        print(keep_as_elsewhere(course))
        return
    jobs = side_by_side(options.jobs)
    path = kept.KEPT / f"accuracy_{options.profile}.json"
    if options.again:
        path.unlink(missing_ok=True)
    there = {(run["split"], run["seed"]) for run in kept.load(path).get("runs", [])}
    wanted = {*product(options.splits, options.seeds)} - there
    threads = 1 if jobs > 1 else 0
    asked = [(options.profile, *run, threads) for run in sorted(wanted)]
    first = processes()[0] == 0  # of several, the first one reports
    for run, found in zip(tqdm(asked, unit="run", disable=not first),
                          parallel_map(of_run, asked, jobs)):  # fmt: skip
        if first:
            kept.save_runs(path, found, {"profile": options.profile})
            tops = {r["variant"]: np.equal(r["said"], r["labels"]).mean() for r in found}
            tqdm.write(f"split {run[1]} seed {run[2]}: "
                       + ", ".join(f"{way} {tops[way]:.1%}" for way in WAYS.values()))  # fmt: skip
    if first:
        report(path, options.profile)


def report(path: Path, profile: str) -> None:
    """Write the summary into the file, and print it."""
    runs = kept.load_runs(path)
    told = {name: sorted({run[name[:-1]] for run in runs["spatial"]})
            for name in ("splits", "seeds")}  # fmt: skip
    found = summary(runs)
    head = {key: runs["spatial"][0][key] for key in ("torch", "python", "precision", "device")}
    kept.save_runs(path, [], told | head | {"cores": os.cpu_count()} | found)
    print(f"\n{profile}, {found['clips']} test clips in {found['groups']} groups; top-1 and 95 % "
          "interval over groups and seeds")  # fmt: skip
    blocks = {"all classes": found["methods"]} | found["lessons"]
    for title, block in (blocks | {"differences": found["differences"]}).items():
        print(title)
        for name, line in block.items():
            mean, (low, high) = line.get("top1", line.get("gain")), line["ci95"]
            print(f"  {name:40s} {mean:6.1%}  [{low:.1%}, {high:.1%}]")


if __name__ == "__main__":
    main()
