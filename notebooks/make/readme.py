"""Write the results of a run, and of many, where they are read: README.md and docs/results.md.

    python notebooks/make/readme.py                          from runs/mini/results.json
    python notebooks/make/readme.py runs/mini/results.json   from a file by name

The run is copied to notebooks/kept/readme_results.json. What is said over splits and seeds comes
from the files that experiments/accuracy.py writes. A test holds both pages to these files: no
number in the tables is ever typed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from index import ROOT, write_blocks

from twostream_utils.fusion import METHODS
from twostream_utils.lab.results import FEW, elsewhere

KEPT = ROOT / "notebooks" / "kept"
COMMITTED = KEPT / "readme_results.json"
ACCURACY = [KEPT / f"accuracy_{name}.json" for name in ("mini", "weizmann")]
PAIRS = {
    "average_fusion − better stream": "average fusion minus the better stream",
    "conv_fusion − average_fusion": "conv fusion minus average fusion",
    "conv_fusion − logit_average": "conv fusion minus the average of logits",
    "weighted_fusion − better stream": "weighted fusion minus the better stream",
}
PARTS = {"training": "n_train", "validation": "n_val", "test": "n_test"}


def load_results(path: Path) -> dict:
    """Read results.json. Raises ``FileNotFoundError`` or ``ValueError`` saying what to do."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; `make run` writes it")
    results = json.loads(path.read_text(encoding="utf-8"))
    if missing := set(METHODS) - set(results.get("methods", {})):
        raise ValueError(f"{path} lacks {', '.join(sorted(missing))}; run `make run` to its end")
    return results


def results_line(results: dict) -> str:
    """One line for the README: what each method reached."""
    top1 = {key: 100 * row["top1"] for key, row in results["methods"].items()}
    shares = " · ".join(f"{method.title} {top1[key]:.1f} %" for key, method in METHODS.items())
    profile, seed = results["profile"], results["seed"]
    count, ends = elsewhere(results)
    widest = max(100 * (high - low) for low, high in ends.values())
    moves = f" On another machine the same seed moved them by up to {widest:.1f} points."
    line = f"**{shares}** of {results['n_test']} test clips (profile `{profile}`, seed {seed})."
    return line + moves * (count > 1)


def results_rows(results: dict) -> list[tuple[str, ...]]:
    """The results, header first: in percent, or as counts where the test has few clips."""
    clips = results["n_test"]
    head = ["top-1 %", "95 % interval", "top-5 %"] if clips >= FEW else ["clips right"]
    rows = [("Method", *head, "seconds")]
    for key, method in METHODS.items():
        row = results["methods"][key]
        shares = [f"{100 * row['top1']:.1f}", interval(row, " – "), f"{100 * row['top5']:.1f}"]
        if clips < FEW:
            shares = [f"{round(clips * row['top1'])} of {clips}"]
        rows.append((method.title, *shares, f"{row['seconds']:.0f}"))
    return rows


def results_table(results: dict) -> str:
    """The results as an aligned Markdown table."""
    return aligned(results_rows(results))


def caption(results: dict) -> str:
    """Where the figures come from: profile, split, clips, seed, versions."""
    counts = [f"{results[key]} {part}" for part, key in PARTS.items() if results.get(key)]
    said = (
        f"Profile `{results['profile']}`, {len(results['classes'])} classes, split "
        f"{results['split']}: {', '.join(counts[:-1])} and {counts[-1]} clips, seed "
        f"{results['seed']}, torch {results['torch']} on {results['device']}. Intervals: bootstrap "
        "over whole groups of test clips."
    )
    count, ends = elsewhere(results)  # how far figures move with machine, threads and precision
    words = (f"{METHODS[key].title} {100 * low:.1f} to {100 * high:.1f}"
             for key, (low, high) in ends.items())  # fmt: skip
    moves = " The same split and seed in {} runs with other machines, threads or precisions: {}."
    return said + moves.format(count, ", ".join(words)) * (count > 1)


def accuracy_table(runs: list[dict]) -> str:
    """Top-1 in percent of one view and of all views, for each of notebooks/kept/accuracy_*.json."""
    header = ["Method"]
    for run in runs:
        repeats = [f"{len(run[many])} {many}" for many in ("splits", "seeds") if len(run[many]) > 1]
        title = ", ".join([f"`{run['profile']}`", *repeats, f"{run['clips']} test clips"])
        header += ["one view", title]
    rows = [tuple(header)]
    for key, method in METHODS.items():
        cells = [method.title]
        for run in runs:
            row = run["methods"].get(key)  # older runs have fewer methods
            cells.append(f"{100 * run['views']['single'][key]:.1f}" if row else "–")
            cells.append(f"{100 * row['top1']:.1f} ({interval(row, ' – ')})" if row else "–")
        rows.append(tuple(cells))
    return aligned(rows)


def lessons_table(run: dict) -> str:
    """What every way to use two streams comes to on each lesson of the mini set, in percent."""
    lessons = run.get("lessons", {})
    columns = [name for name in ("ring", "time within", "where within") if name in lessons]
    if not columns:
        return ""
    rows = [("", *columns)]
    for way in lessons[columns[0]]:
        cells = (lessons[name][way] for name in columns)
        rows.append((way, *(f"{100 * x['top1']:.1f} ({interval(x, ' – ')})" for x in cells)))
    return aligned(rows)


def differences(runs: list[dict]) -> str:
    """What fusion gains in each of these files, paired by clip, with intervals."""
    lines = []
    for pair, title in PAIRS.items():
        rows = {r["profile"]: r["differences"][pair] for r in runs if pair in r["differences"]}
        gains = (
            f"`{profile}` {100 * row['gain']:+.1f} ({interval(row, ' to ', '+')})"
            for profile, row in rows.items()
        )
        lines += [f"{title} {', '.join(gains)}"] * bool(rows)
    return (
        f"Differences in points, paired by clip: {'; '.join(lines)}. An interval that includes 0 "
        "shows no difference."
    )


def compute(runs: list[dict]) -> str:
    """How long training and scoring took in each of these files."""
    times = []
    for run in runs:
        networks = 3 * len(run["splits"]) * len(run["seeds"])
        seconds = run["methods"]["conv_fusion"]["seconds"]
        times.append(f"`{run['profile']}` {networks} networks, {seconds:.0f} s")
    return (
        "One view is the middle of the clip, cut from the centre, as is; all views are those of "
        "the profile. All networks, trained and scored, on a CPU with "
        f"{runs[0]['cores']} cores in {runs[0]['precision']}: {'; '.join(times)}."
    )


def interval(row: dict, between: str, sign: str = "") -> str:
    """Both ends of an interval in percent."""
    return between.join(f"{100 * end:{sign}.1f}" for end in row["ci95"])


def aligned(rows: list[tuple[str, ...]]) -> str:
    """Rows of cells as a Markdown table; the first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width for width in widths]
    rule[1:] = [line[:-1] + ":" for line in rule[1:]]
    lines = []
    for row in (rows[0], rule, *rows[1:]):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def pages(results: dict) -> dict[str, dict[str, str]]:
    """What stands between which markers of which page."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in ACCURACY]
    return {
        "README.md": {"results": results_line(results)},
        "docs/results.md": {
            "results": f"{results_table(results)}\n\n{caption(results)}",
            "lessons": lessons_table(runs[0]),
            "accuracy": "\n\n".join([accuracy_table(runs), differences(runs), compute(runs)]),
        },
    }


def main(arguments: list[str]) -> int:
    path = Path(arguments[0]) if arguments else ROOT / "runs" / "mini" / "results.json"
    try:
        results = load_results(path)
        for page, blocks in pages(results).items():
            write_blocks(ROOT / page, blocks)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    COMMITTED.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
