"""Kept runs and measured figures: scores and learning curves of many trainings, speeds."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..evaluation import bootstrap_interval, correct
from ..fusion import METHODS
from .start import ROOT

KEPT = ROOT / "notebooks" / "kept" / "ablations"
RESULTS = ROOT / "notebooks" / "kept" / "bench.json"

Interval = tuple[float, float]


def load_run(path: str | Path) -> dict:
    """Return ``clips``, ``labels``, ``logits`` ``(N, classes)`` float32, ``classes``, ``history``
    and ``meta`` (variant, seed, split, commit, versions) of one training. The file holds no code.
    """
    with np.load(path, allow_pickle=False) as f:
        run = {key: f[key] for key in f.files}
    told = {key: json.loads(str(run[key])) for key in ("history", "meta")}
    return run | told | {"logits": run["logits"].astype(np.float32)}


def load_group(group: str, profile: str | None = None) -> dict[str, list[dict]]:
    """Return the runs of a group by variant, each list by seed and split.

    Raises ``FileNotFoundError`` naming the folder and the command that makes it.
    """
    runs = [load_run(path) for path in sorted((KEPT / group).glob("*.npz"))]
    runs = [run for run in runs if profile in (None, run["meta"]["profile"])]
    if not runs:
        raise FileNotFoundError(f"no kept runs in {KEPT / group}; make them with: make ablations")
    variants = defaultdict(list)
    for run in sorted(runs, key=lambda r: (r["meta"]["seed"], r["meta"]["split"])):
        variants[run["meta"]["variant"]].append(run)
    return dict(variants)


def hits_by_seed(runs: list[dict]) -> np.ndarray:
    """Return ``(seeds, clips)`` bool: which clips were right; the clips of all splits in a row."""
    seeds = defaultdict(list)
    for run in runs:
        seeds[run["meta"]["seed"]].append(correct(run["logits"], run["labels"]))
    return np.array([np.concatenate(rows) for rows in seeds.values()])


def top1(runs: list[dict]) -> tuple[float, Interval, list[float]]:
    """Return the mean top-1, its interval over seeds and clips, and that of each seed."""
    hits = hits_by_seed(runs)
    return float(hits.mean()), bootstrap_interval(hits), hits.mean(axis=1).tolist()


def gain(runs: list[dict], baseline: list[dict]) -> tuple[float, Interval, list[float]]:
    """Return :func:`top1` of ``runs`` minus that of ``baseline``, paired by seed and clip.

    Only seeds that both have count. Raises ``ValueError`` for other test clips or no common seed.
    """
    common = {r["meta"]["seed"] for r in runs} & {r["meta"]["seed"] for r in baseline}
    a, b = ([r for r in side if r["meta"]["seed"] in common] for side in (runs, baseline))
    names = [[(r["meta"]["seed"], *r["clips"]) for r in side] for side in (a, b)]
    if not common or names[0] != names[1]:
        of = " and ".join(repr(side[0]["meta"]["variant"]) for side in (runs, baseline))
        raise ValueError(f"{of} were not tested on the same clips with the same seeds")
    difference = hits_by_seed(a).astype(float) - hits_by_seed(b)
    return float(difference.mean()), bootstrap_interval(difference), difference.mean(1).tolist()


def unpaired_gain(runs: list[dict], baseline: list[dict]) -> tuple[float, Interval]:
    """Return the top-1 of ``runs`` minus that of ``baseline`` on other clips, with its interval.

    From the intervals of both, whose distances add up as squares (Zou & Donner 2008).
    """
    (a, (a_low, a_high), _), (b, (b_low, b_high), _) = top1(runs), top1(baseline)
    low, high = np.hypot(a - a_low, b_high - b), np.hypot(a_high - a, b - b_low)
    return a - b, (float(a - b - low), float(a - b + high))


def verdict(interval: Interval) -> str:
    """Say whether a difference is ``"shown"``: its interval does not hold 0."""
    low, high = interval
    return "not shown" if low <= 0 <= high else "shown"


def averaged(spatial: list[dict], temporal: list[dict], method: str) -> list[dict]:
    """Return kept runs of both streams fused by a method of ``fusion.METHODS``, as runs.

    Raises ``ValueError`` for streams of other seeds or clips.
    """
    runs = []
    for s, t in zip(spatial, temporal, strict=True):
        if s["meta"]["seed"] != t["meta"]["seed"] or [*s["clips"]] != [*t["clips"]]:
            raise ValueError("the two streams were not tested on the same clips in the same order")
        logits = {"spatial": s["logits"], "temporal": t["logits"]}
        runs.append({**s, "logits": METHODS[method].fuse(logits)})
    return runs


def curves(runs: list[dict], key: str = "val_top1") -> np.ndarray:
    """Return one value of the learning curve for each seed and epoch, ``(seeds, epochs)``."""
    return np.array([[row[key] for row in run["history"]] for run in runs])


def commit() -> str:
    """The commit that runs, with a plus sign where files other than kept figures differ from it."""
    git = ["git", "-C", str(ROOT)]
    done = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    if done.returncode:
        return "unknown"
    others = [*git, "diff", "--quiet", "HEAD", "--", ".", ":(exclude)notebooks/kept"]
    return done.stdout.strip() + ("+" if subprocess.run(others).returncode else "")


def load(path: Path = RESULTS) -> dict:
    """Read bench.json, ``{name: entry}``; nothing measured yet is an empty dict."""
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
        if "series" in entry:
            for series, column in entry["series"].items():
                pairs = (f"{x:,} → {y:.3g}" for x, y in zip(entry["x"], column["y"]))
                what = f"{entry['unit']}, {series or entry['what']}, by {entry['x_label']}"
                lines.append(f"{name:<20}{what}: {', '.join(pairs)}")
            continue
        low, high = (f"{q:.3g}" for q in entry["quartiles"])
        theirs, ratio = (f"{entry[k]:.3g}" if k in entry else "" for k in ("theirs", "ratio"))
        goal = entry["goal"] + {None: "", True: " met", False: " missed"}[met(entry)]
        lines.append(
            f"{name:<20}{entry['ours']:>9.3g}{theirs:>9}  {entry['unit']:<11}{ratio:>7}  "
            f"{f'{low} – {high}':<16}{goal}\n    {entry['what']}"
            + (f"\n    against {entry['baseline']}" if entry["baseline"] else "")
        )
    return "\n".join(lines)
