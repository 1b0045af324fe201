"""What each lesson of the mini set comes to: its own classes, in every way to fuse two streams.

python -m twostream_utils.experiments.lessons mini --part val     # choose on these
python -m twostream_utils.experiments.lessons mini --seeds 0 1 2  # report these
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..course import Course
from ..evaluation import Scores
from ..fusion import late_fusion, softmax
from ..lab.results import check_same_clips
from ..lab.start import setup
from .fusions import svm_fusion

LESSONS = {
    "ring": ("FlapOffice", "ClapOffice", "ClapSchool", "CircleSchool", "CirclePark", "FlapPark"),
    "time": ("DrumFaster", "DrumSlower"),
    "where": ("WipeBoard", "WipeWindow"),
}


def columns(lesson: str, classes: Sequence[str]) -> list[int]:
    """Return the numbers of a lesson's classes; empty in data that do not have all of them."""
    names = LESSONS[lesson]
    return [classes.index(name) for name in names] if set(names) <= set(classes) else []


def only(scores: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Return ``scores`` ``(N, classes)`` where no class but ``classes`` can win."""
    return np.where(np.isin(np.arange(scores.shape[1]), classes), scores, -np.inf)


def right(
    scores: np.ndarray, labels: np.ndarray, classes: Sequence[str], lesson: str,
    within: bool = False,
) -> np.ndarray:  # fmt: skip
    """Return which clips of a lesson's classes are right, ``(n,)`` bool, in the order of all clips.

    ``scores`` ``(N, classes)``, the higher the likelier. ``within`` asks only which *of the
    lesson's classes* scores highest: then chance is 1/2 in a pair and 1/6 in the ring.
    """
    of = columns(lesson, classes)
    these = np.isin(labels, of)
    asked = only(scores, of) if within and of else scores
    return asked[these].argmax(axis=1) == labels[these]


def ways(
    spatial: np.ndarray, temporal: np.ndarray, conv: np.ndarray | None = None,
    held_out: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return ``{way: scores (N, classes)}`` of every way to use the logits of both streams.

    ``held_out`` = (spatial, temporal, labels) of clips that neither was trained on: the SVM learns
    from them, and without them there is none.
    """
    found = {
        "spatial": spatial,
        "temporal": temporal,
        "average of softmax": late_fusion(spatial, temporal),
        "average of logits": late_fusion(spatial, temporal, space="logit"),
        "product": softmax(spatial) * softmax(temporal),
    }
    if held_out is not None:
        found["SVM"] = svm_fusion(held_out[:2], held_out[2], spatial, temporal)
    if conv is not None:
        found["conv"] = conv
    return found


def best_weight(
    spatial: np.ndarray, temporal: np.ndarray, labels: np.ndarray, classes: Sequence[str],
    lesson: str, within: bool = True,
) -> float:  # fmt: skip
    """Return the accuracy of the weighted average that is best *in hindsight*, on these very clips.

    The kindest that can be said of averages, softmax or logits, at 21 weights each.
    """
    return max(
        right(late_fusion(spatial, temporal, (1 - w, w), space), labels, classes, lesson, within)
        .mean() for w in np.linspace(0, 1, 21) for space in ("softmax", "logit")
    )  # fmt: skip


def table(
    scores: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return ``{way: {"all": …, "ring": …, "ring within": …, …}}``, accuracies from 0 to 1.

    Lessons whose classes are not in the data are left out.
    """
    found = {}
    for way, said in scores.items():
        row = {"all": float((said.argmax(axis=1) == labels).mean())}
        for lesson in LESSONS:
            if columns(lesson, classes):
                for within in False, True:
                    hits = right(said, labels, classes, lesson, within)
                    row[f"{lesson} within" if within else lesson] = float(hits.mean())
        found[way] = row
    return found


def of_course(
    course: Course, part: str = "test", conv: bool = True, **choices
) -> tuple[dict[str, np.ndarray], Scores]:
    """Return :func:`ways` of a course on the clips of ``part``, and scores with labels and names.

    Networks that are missing are trained; ``choices`` are those of conv fusion. The SVM learns
    from the validation clips, so there is none for ``part="val"``.
    """
    names = ("spatial", "temporal", "conv") if conv else ("spatial", "temporal")
    scores = {n: course.scores(n, part, **(choices if n == "conv" else {})) for n in names}
    for name in names[1:]:
        check_same_clips(scores["spatial"], scores[name])
    held_out = None
    if course.val and part != "val":
        a, b = course.scores("spatial", "val"), course.scores("temporal", "val")
        held_out = a.clip_logits(), b.clip_logits(), a.labels
    return ways(*(scores[n].clip_logits() for n in names), held_out=held_out), scores["spatial"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("profile")
    parser.add_argument("--part", default="test", choices=("val", "test"))
    parser.add_argument("--splits", type=int, nargs="+", default=[1])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--no-conv", action="store_true", help="the two streams alone")
    parser.add_argument("--conv-lr", type=float, help="another learning rate of conv fusion")
    parser.add_argument("--trunk-lr", type=float, help="times the learning rate; 0: frozen trunks")
    parser.add_argument("--block", type=int, help="after which block maps are fused")
    parser.add_argument("--form", help="how maps are fused: one of conv_fusion.FORMS")
    options = parser.parse_args()
    for split in options.splits:
        for seed in options.seeds:
            course = setup(options.profile, split=split, seed=seed, quiet=True)
            changes = {"lr": options.conv_lr, "trunk_lr": options.trunk_lr}
            changes = {name: value for name, value in changes.items() if value is not None}
            profile = replace(course.profile, conv=replace(course.profile.conv, **changes))
            changes = {"fusion": options.form, "fusion_block": options.block}
            profile = replace(profile, **{k: value for k, value in changes.items() if value})
            course = replace(course, profile=profile)
            scores, of = of_course(course, options.part, not options.no_conv)
            rows = table(scores, of.labels, of.classes)
            print(
                f"{options.profile}, split {split}, seed {seed}, {len(of.labels)} {options.part} "
                "clips; top-1 %\n" + " " * 20 + "".join(f"{n:>14}" for n in rows["spatial"])
            )
            for way, row in rows.items():
                print(f"{way:<20}" + "".join(f"{100 * x:>14.1f}" for x in row.values()))
            for lesson in LESSONS:
                if columns(lesson, of.classes):
                    best = best_weight(scores["spatial"], scores["temporal"], of.labels,
                                       of.classes, lesson)  # fmt: skip
                    print(f"{lesson}: the best weight in hindsight comes to {best:.1%} within it")


if __name__ == "__main__":
    main()
