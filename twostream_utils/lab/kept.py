"""Kept runs and measured figures: what many trainings answered, and speeds."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from operator import itemgetter
from pathlib import Path

import numpy as np

from ..evaluation import bootstrap_interval
from ..files import atomic_write
from .start import ROOT

KEPT = ROOT / "notebooks" / "kept"
RESULTS = KEPT / "bench.json"

Interval = tuple[float, float]
_identity = itemgetter("variant", "profile", "split", "seed")


def save_runs(path: Path, runs: Iterable[dict], made: Mapping | None = None) -> None:
    """Add ``runs`` to a file of kept runs; one of the same variant, split and seed is replaced.

    A run is a dict of plain values: ``variant``, ``profile``, ``split``, ``seed``; ``said``, the
    class that each test clip was taken for, as a number; ``clips``, ``labels``, ``groups`` and
    ``classes``; and whatever says how it was made. What runs share, the clips above all, is written
    once. ``made`` goes beside them.
    """
    content = {"tests": [], "runs": []} | load(path)
    rows = {_identity(row): row for row in content["runs"]}
    for run in runs:
        test = {key: list(run[key]) for key in ("clips", "labels", "groups", "classes")}
        if test not in content["tests"]:
            content["tests"].append(test)
        row = {key: value for key, value in run.items() if key not in test}
        rows[_identity(row)] = row | {"test": content["tests"].index(test)}
    kept = {**content, **(made or {}), "runs": [rows[key] for key in sorted(rows)]}
    with atomic_write(path) as part:
        # a run a line: changes can be read
        lines = ",\n".join(json.dumps(row) for row in kept.pop("runs"))
        part.write_text(f'{json.dumps(kept)[:-1]},\n"runs": [\n{lines}\n]}}\n', encoding="utf-8")


def load_runs(path: str | Path) -> dict[str, list[dict]]:
    """Return the runs of a file by variant, each list by seed and split.

    Of each run ``labels``, ``said`` and ``right`` are arrays ``(clips,)``, int and bool. Raises
    ``FileNotFoundError`` naming the file and the commands that make it.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no kept runs in {path}; make them with: make ablations")
    content, variants = load(Path(path)), defaultdict(list)
    for row in sorted(content["runs"], key=itemgetter("seed", "split")):
        run = content["tests"][row["test"]] | row
        labels, said = np.array(run["labels"]), np.array(run["said"])
        right = {"labels": labels, "said": said, "right": said == labels}
        variants[row["variant"]].append(run | right)
    return dict(variants)


def load_group(group: str) -> dict[str, list[dict]]:
    """Return the kept runs of one group of ``experiments.ablations``, see :func:`load_runs`."""
    return load_runs(KEPT / "ablations" / f"{group}.json")


def load_accuracy(profile: str) -> dict[str, list[dict]]:
    """Return those of ``experiments.accuracy``, by method, over all splits and seeds."""
    return load_runs(KEPT / f"accuracy_{profile}.json")


def hits_by_seed(
    runs: list[dict], only: Collection[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return which clips were right, ``(seeds, clips)`` bool, and the group of each clip.

    The clips of all splits stand in a row. ``only`` names the classes, or the clips, that count.
    A group of two splits is two groups: other networks met it. Raises ``ValueError`` for a seed
    that was not tested on all splits of the others.
    """
    seeds, groups = defaultdict(list), defaultdict(list)
    for run in runs:
        names = [run["classes"][label] for label in run["labels"]]
        counted = [k for k, clip in enumerate(run["clips"])
                   if only is None or clip in only or names[k] in only]  # fmt: skip
        seeds[run["seed"]].append(run["right"][counted])
        groups[run["seed"]] += [f"{run['split']} {run['groups'][k]}" for k in counted]
    if len({*map(len, groups.values())}) > 1:
        raise ValueError(f"seeds {sorted(groups)} have different splits: run what is missing")
    hits = np.array([np.concatenate(rows) for rows in seeds.values()])
    return hits, np.array(next(iter(groups.values())))


def top1(
    runs: list[dict], only: Collection[str] | None = None
) -> tuple[float, Interval, list[float]]:
    """Return the mean top-1, its interval over groups and seeds, and that of each seed."""
    return _figures(*hits_by_seed(runs, only))


def _figures(values: np.ndarray, groups: np.ndarray) -> tuple[float, Interval, list[float]]:
    return float(values.mean()), bootstrap_interval(values, groups), values.mean(axis=1).tolist()


def gain(
    runs: list[dict], baseline: list[dict], only: Collection[str] | None = None
) -> tuple[float, Interval, list[float]]:
    """Return :func:`top1` of ``runs`` minus that of ``baseline``, paired by seed and clip.

    Only seeds that both have count. Raises ``ValueError`` for other test clips or no common seed.
    """
    common = {r["seed"] for r in runs} & {r["seed"] for r in baseline}
    a, b = ([r for r in side if r["seed"] in common] for side in (runs, baseline))
    names = [[(r["seed"], *r["clips"]) for r in side] for side in (a, b)]
    if not common or names[0] != names[1]:
        of = " and ".join(repr(side[0]["variant"]) for side in (runs, baseline))
        raise ValueError(f"{of} were not tested on the same clips with the same seeds")
    (hits, groups), (others, _) = hits_by_seed(a, only), hits_by_seed(b, only)
    return _figures(hits.astype(float) - others, groups)


def unpaired_gain(runs: list[dict], baseline: list[dict]) -> tuple[float, Interval]:
    """Return the top-1 of ``runs`` minus that of ``baseline`` on other clips, with its interval.

    From the intervals of both, whose distances add up as squares (Zou & Donner 2008).
    """
    (a, (a_low, a_high), _), (b, (b_low, b_high), _) = top1(runs), top1(baseline)
    low, high = np.hypot(a - a_low, b_high - b), np.hypot(a_high - a, b - b_low)
    return a - b, (float(a - b - low), float(a - b + high))


def commit() -> str:
    """The commit that runs, with a plus sign where the package's files differ from it."""
    if not shutil.which("git"):
        return "unknown"
    git = ["git", "-C", str(ROOT)]
    done = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    if done.returncode:
        return "unknown"
    others = [*git, "diff", "--quiet", "HEAD", "--", "twostream_utils"]
    return done.stdout.strip() + ("+" if subprocess.run(others).returncode else "")


def load(path: Path = RESULTS) -> dict:
    """Read a kept file, bench.json ``{name: entry}`` by default; one that is not there is empty."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def met(entry: Mapping) -> bool | None:
    """Whether the figure of a row reaches its goal; None for a row without one."""
    if not entry["goal"]:
        return None
    sign, bound = entry["goal"].split()
    figure = entry.get("ratio", entry["ours"])
    return {"≥": figure >= float(bound), "≤": figure <= float(bound)}[sign]


def table(entries: dict[str, dict]) -> str:
    """Rows as text: what, ours, baseline, ratio with its quartiles, goal and whether it is met."""
    lines = [f"{'row':<20}{'ours':>9}{'base':>9}  {'unit':<11}{'ratio':>7}  {'quartiles':<16}goal"]
    for name, entry in entries.items():
        low, high = (f"{q:.3g}" for q in entry["quartiles"])
        theirs, ratio = (f"{entry[k]:.3g}" if k in entry else "" for k in ("theirs", "ratio"))
        goal = entry["goal"] + {None: "", True: " met", False: " missed"}[met(entry)]
        lines.append(
            f"{name:<20}{entry['ours']:>9.3g}{theirs:>9}  {entry['unit']:<11}{ratio:>7}  "
            f"{f'{low} – {high}':<16}{goal}\n    {entry['what']}"
            + (f"\n    against {entry['baseline']}" if entry["baseline"] else "")
        )
    return "\n".join(lines)
