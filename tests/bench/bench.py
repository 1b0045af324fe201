"""How fast is the course, and against what? `make bench` prints a table and keeps results.json.

    python tests/bench/bench.py                        every row, about 12 minutes on 2 cores
    python tests/bench/bench.py loader fit-memory      a group and a row
    python tests/bench/bench.py growth --rounds 1      quickly
    python tests/bench/bench.py --show                 the table as it was last measured

Each row runs in a process of its own, see measure.py. Rows that are not measured now stay in
results.json as they were. A ratio is the baseline's figure over ours: 2 is twice as good.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from measure import FULL, RESULTS, ROWS, TINY, Sizes, Skip, keep, load, measure, table

GROUPS = "loader", "decoding", "training", "import", "extract", "growth"
for group in GROUPS:
    importlib.import_module(f"bench_{group}")  # declares its rows


def chosen(names: list[str]) -> list[str]:
    """Rows by name or by group, in order; all without names. Raises ``ValueError`` for others."""
    if strangers := set(names) - set(ROWS) - set(GROUPS):
        raise ValueError(
            f"no row {', '.join(sorted(strangers))}; there are the groups {', '.join(GROUPS)} and "
            f"the rows {', '.join(ROWS)}"
        )
    return [name for name, row in ROWS.items() if not names or {name, row.group} & set(names)]


def in_own_process(name: str, rounds: int | None, tiny: bool, data: Path) -> dict:
    """Measure a row in a new process. Raises ``Skip``, and ``RuntimeError`` with what it said."""
    command = [sys.executable, __file__, "--child", name, "--data", str(data)]
    command += ["--tiny"] * tiny + (["--rounds", str(rounds)] if rounds else [])
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} stopped:\n{done.stderr}")
    said = json.loads(done.stdout.splitlines()[-1])
    if "skipped" in said:
        raise Skip(said["skipped"])
    return said


def child(options: argparse.Namespace, sizes: Sizes) -> None:
    """Measure one row and print its entry as the last line."""
    try:
        said = measure(ROWS[options.child], sizes, options.rounds)
    except Skip as reason:
        said = {"skipped": str(reason)}
    print(json.dumps(said))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", help="names of rows or groups; default: all")
    parser.add_argument("--rounds", type=int, help="instead of each row's own number")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--data", type=Path, default=FULL.data, metavar="DIR")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal: figures mean nothing")
    parser.add_argument("--show", action="store_true", help="print the table, measure nothing")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    sizes = replace(TINY if options.tiny else FULL, data=options.data)
    if options.child:
        child(options, sizes)
        return 0
    if options.show:
        print(table(load(options.results)))
        return 0
    import bench_clips

    try:
        names = chosen(options.rows)
    except ValueError as error:
        parser.error(str(error))
    bench_clips.folders(sizes)  # on all cores; a pinned row would take long
    failed = 0
    for place, name in enumerate(names, start=1):
        print(f"[{place}/{len(names)}] {name}: {ROWS[name].what}", flush=True)
        try:
            entry = in_own_process(name, options.rounds, options.tiny, options.data)
        except Skip as reason:
            print(f"    skipped: {reason}")
        except RuntimeError as error:
            failed += 1
            print(f"    {error}")
        else:
            keep({name: entry}, options.results)
    print()
    print(table(load(options.results)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
