"""The index of the course: what each notebook teaches, needs and costs, as a Markdown table.

Minutes come from notebooks/kept/minutes.json, which update_readme.py fills from a `make run` that
started without trained networks. On a CPU, what no run measured is the estimate of the source's
front matter, marked with ≈. A T4 gets its column with its first run: nothing is guessed there.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MINUTES = ROOT / "notebooks" / "kept" / "minutes.json"
COLUMNS = {"cpu": "CPU", "t4": "T4"}


def read_minutes(path: Path = MINUTES) -> dict:
    """Runs by column: ``{"cpu": {"device", "torch", "notebooks": {stem: {"seconds", …}}}}``."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def record(run: dict, path: Path = MINUTES) -> str | None:
    """Keep ``run`` (minutes.json of ``make run``) as what its device needs; return the column.

    ``None`` for a device that has no column: nothing is written then.
    """
    device = run["device"]
    column = "cpu" if device.startswith("CPU") else "t4" if "T4" in device else None
    if column:
        kept = read_minutes(path) | {column: run}
        path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return column


def columns(measured: dict) -> list[str]:
    """The columns to show: the CPU's, and of the others those that were measured."""
    return [column for column in COLUMNS if column == "cpu" or column in measured]


def minutes(source, column: str, measured: dict) -> str:
    """Minutes of one notebook, measured ones rounded up; what follows a CPU's number stays."""
    run = measured.get(column, {}).get("notebooks", {})
    number = math.ceil(run[source.stem]["seconds"] / 60) if source.stem in run else None
    if column != "cpu":
        return "–" if number is None else str(number)
    if number is None:
        return f"≈{source.cpu}"
    return f"{number}{re.sub(r'^[0-9.]+', '', source.cpu)}"


def longest_wait(source, measured: dict) -> str:
    """A sentence on the longest single cell on a CPU; empty where none was measured."""
    wait = measured.get("cpu", {}).get("notebooks", {}).get(source.stem)
    if wait is None:
        return ""
    cell = math.ceil(wait["longest_cell"])
    return f"The longest wait for one cell was {cell} s ({measured['cpu']['device']})."


def caption(sources: list, measured: dict) -> str:
    """Where the minutes come from."""
    lines = [
        f"Measured by `make run` on {run['device']}, torch {run['torch']}, with the networks "
        "trained on the way; whole minutes, rounded up."
        for run in (measured[column] for column in COLUMNS if column in measured)
    ]
    done = measured.get("cpu", {}).get("notebooks", {})
    if any(source.stem not in done for source in sources):
        lines.append("≈ marks an estimate that was not measured.")
    if "t4" not in measured:
        lines.append("On a T4: not measured yet.")
    data = "Data: *profile* means the clips of the chosen profile, generated on the spot in `mini`."
    return " ".join([data, "Minutes are those of `mini`, to run all cells.", *lines])


def index_table(sources: list, prefix: str = "", measured: dict | None = None) -> str:
    """The index as a Markdown table with its caption; ``prefix`` goes before each file name."""
    measured = read_minutes() if measured is None else measured
    times = columns(measured)
    head = "".join(f" {COLUMNS[column]}, min to run |" for column in times)
    rows = [
        f"| | Notebook | You will learn | Data |{head} Exercises |",
        "|---" * (5 + len(times)) + "|",
    ]
    for source in sources:
        cells = [
            source.number,
            f"[{source.title}]({prefix}{source.stem}.ipynb)",
            "; ".join(source.learn),
            source.data,
            *(minutes(source, column, measured).split(" (")[0] for column in times),
            str(source.exercises or "–"),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n\n" + caption(sources, measured)


def write_index(sources: list, readme: Path = ROOT / "README.md") -> None:
    """Put the index of notebooks between its markers in the README."""
    text = readme.read_text(encoding="utf-8")
    table = index_table(sources, "notebooks/")
    pattern = r"(<!-- index:begin[^>]*-->\n).*?(<!-- index:end -->)"
    new = re.sub(pattern, lambda m: f"{m[1]}{table}\n{m[2]}", text, flags=re.DOTALL)
    if new != text:
        readme.write_text(new, encoding="utf-8")
