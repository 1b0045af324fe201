"""Write the results table of the README from results.json.

    python notebooks/make/readme.py                          from runs/mini/results.json
    python notebooks/make/readme.py runs/mini/results.json   from a file by name

The figures are copied to notebooks/kept/readme_results.json, and the minutes of the run beside
them to notebooks/kept/minutes.json (build.py then writes them into the index). A second table
comes from the files that experiments/accuracy.py writes. A test holds the README to these: no
number in the tables is ever typed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from index import record

from twostream_utils.fusion import METHODS

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
COMMITTED = ROOT / "notebooks" / "kept" / "readme_results.json"
ACCURACY = [ROOT / "notebooks" / "kept" / f"accuracy_{name}.json" for name in ("mini", "weizmann")]

PARTS = {"training": "train", "validation": "val", "test": "test"}


def load_results(path: Path) -> dict:
    """Read results.json. Raises ``FileNotFoundError`` or ``ValueError`` saying what to do."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; `make run` writes it")
    results = json.loads(path.read_text(encoding="utf-8"))
    missing = set(METHODS) - set(results.get("methods", {}))
    if missing:
        raise ValueError(f"{path} lacks {', '.join(sorted(missing))}; run `make run` to its end")
    return results


def results_table(results: dict) -> str:
    """The results as an aligned Markdown table, in percent, beside the published figures."""
    header = ("Method", "top-1 %", "95 % interval", "top-5 %", "seconds", "published, UCF101 *")
    rows = [header]
    for key, method in METHODS.items():
        row = results["methods"][key]
        low, high = row["ci95"]
        interval = f"{100 * low:.1f} – {100 * high:.1f}"
        shares = f"{100 * row['top1']:.1f}", interval, f"{100 * row['top5']:.1f}"
        published = f"{method.published or '–'}"
        rows.append((method.title, *shares, f"{row['seconds']:.0f}", published))
    return _aligned(rows)


def accuracy_table(runs: list[dict]) -> str:
    """Top-1 in percent of one view and of all views, for each of notebooks/kept/accuracy_*.json."""
    rows = [("Method", *(title for run in runs for title in ("one view", _column_title(run))))]
    for key, method in METHODS.items():
        cells = []
        for run in runs:
            row = run["methods"][key]
            low, high = row["ci95"]
            cells.append(f"{100 * run['views']['single'][key]:.1f}")
            cells.append(f"{100 * row['top1']:.1f} ({100 * low:.1f} – {100 * high:.1f})")
        rows.append((method.title, *cells))
    return _aligned(rows)


def differences(runs: list[dict]) -> str:
    """What fusion gains in each of these files, paired by clip, with intervals."""
    pairs = {
        "average_fusion − better stream": "average fusion minus the better stream",
        "conv_fusion − average_fusion": "conv fusion minus average fusion",
        "conv_fusion − logit_average": "conv fusion minus the average of logits",
    }
    lines = []
    for pair, title in pairs.items():
        found = []
        for run in runs:
            row = run["differences"][pair]
            low, high = (100 * end for end in row["ci95"])
            found.append(f"`{run['profile']}` {100 * row['gain']:+.1f} ({low:+.1f} to {high:+.1f})")
        lines.append(f"{title} {', '.join(found)}")
    return (
        f"Differences in points, paired by clip: {'; '.join(lines)}. An interval that holds 0 "
        "shows no difference."
    )


def compute(runs: list[dict]) -> str:
    """How long training and scoring took in each of these files."""
    times = (
        f"`{r['profile']}` {3 * len(r['splits']) * len(r['seeds'])} networks, "
        f"{r['methods']['conv_fusion']['seconds']:.0f} s"
        for r in runs
    )
    return (
        "One view is the middle of the clip, cut from the centre, as is; all views are those of "
        "the profile. All networks, trained and scored, on a CPU with "
        f"{runs[0]['cores']} cores in {runs[0]['precision']}: {'; '.join(times)}."
    )


def _column_title(run: dict) -> str:
    splits, seeds = len(run["splits"]), len(run["seeds"])
    repeats = [f"{splits} splits"] * (splits > 1) + [f"{seeds} seeds"] * (seeds > 1)
    return f"`{run['profile']}`, {', '.join([*repeats, str(run['clips'])])} test clips"


def _aligned(rows: list[tuple]) -> str:
    """Rows of cells as a Markdown table; the first row is the header."""
    header = rows[0]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("| " + " | ".join(cells) + " |")
    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join(lines)


def caption(results: dict) -> str:
    """Where the figures come from: profile, split, clips, seed, versions."""
    return (
        f"Profile `{results['profile']}`, {len(results['classes'])} classes, "
        f"split {results['split']}: {clip_counts(results)}, seed {results['seed']}, "
        f"torch {results['torch']} on {results['device']}. Intervals: bootstrap over test clips."
    )


def clip_counts(results: dict) -> str:
    """How many clips there were to train on, to choose by (if any), and to test on."""
    counts = {name: results.get(f"n_{key}") for name, key in PARTS.items()}
    *first, last = [f"{n} {name}" for name, n in counts.items() if n]
    return f"{', '.join(first)} and {last} clips"


def updated(readme: str, results: dict) -> str:
    """``readme`` with the results between its markers. ``ValueError`` if they are missing."""
    runs = [load_results(path) for path in ACCURACY]
    blocks = {
        "results": f"{results_table(results)}\n\n{caption(results)}\n",
        "accuracy": f"{accuracy_table(runs)}\n\n{differences(runs)}\n\n{compute(runs)}\n",
    }
    for name, block in blocks.items():
        pattern = rf"(<!-- {name}:begin[^>]*-->\n).*?(<!-- {name}:end -->)"
        readme, count = re.subn(
            pattern, lambda m, block=block: m[1] + block + m[2], readme, flags=re.DOTALL
        )
        if count != 1:
            raise ValueError(f"README.md needs <!-- {name}:begin --> and <!-- {name}:end --> once")
    return readme


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = ROOT / "runs" / "mini" / "results.json"
    parser.add_argument("results", nargs="?", type=Path, default=default)
    path = parser.parse_args(arguments).results
    try:
        results = load_results(path)
        README.write_text(updated(README.read_text(encoding="utf-8"), results), encoding="utf-8")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    COMMITTED.parent.mkdir(exist_ok=True)
    COMMITTED.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    waits = path.with_name("minutes.json")
    measured = waits.exists() and results["profile"] == "mini"
    if measured and not record(json.loads(waits.read_text(encoding="utf-8"))):
        print(f"{waits} was measured on a device without a column in the index; left out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
