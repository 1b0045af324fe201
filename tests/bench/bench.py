"""How fast is the course, and against what? `make bench` prints a table and keeps bench.json.

    python tests/bench/bench.py                        every row, about 6 minutes on 2 cores
    python tests/bench/bench.py loader fit-memory      a group and a row
    python tests/bench/bench.py fit --rounds 1         quickly
    python tests/bench/bench.py --show                 the table as it was last measured

Each row runs in a process of its own. Rows that are not measured now stay in the file as they
were. A ratio is the baseline's figure over ours: 2 is twice as good.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import clips
import measure

from twostream_utils.lab import kept

GROUPS = "loader", "fit", "import", "extract"
for group in GROUPS:
    importlib.import_module(f"bench_{group}")  # declares its rows


def chosen(names: list[str]) -> list[str]:
    """Rows by name or by group, in order; all without names. Raises ``ValueError`` for others."""
    if strangers := set(names) - set(measure.ROWS) - set(GROUPS):
        raise ValueError(
            f"no row {', '.join(sorted(strangers))}; there are the groups {', '.join(GROUPS)} and "
            f"the rows {', '.join(measure.ROWS)}"
        )
    return [n for n, row in measure.ROWS.items() if not names or {n, row.group} & set(names)]


def measured(name: str, sizes: measure.Sizes, rounds: int | None, start_method: str) -> dict:
    """What the process of a row runs: there, this module has declared the rows.

    It was spawned, and would spawn loaders' workers too; these start as they do for everyone.
    """
    multiprocessing.set_start_method(start_method, force=True)
    return measure.measure(name, sizes, rounds)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", help="names of rows or groups; default: all")
    parser.add_argument("--rounds", type=int, help="instead of each row's own number")
    parser.add_argument("--results", type=Path, default=kept.RESULTS, metavar="FILE")
    parser.add_argument("--data", type=Path, default=measure.FULL.data, metavar="DIR")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal: figures mean nothing")
    parser.add_argument("--show", action="store_true", help="print the table, measure nothing")
    options = parser.parse_args(arguments)
    sizes = replace(measure.TINY if options.tiny else measure.FULL, data=options.data)
    try:
        names = [] if options.show else chosen(options.rows)
    except ValueError as error:
        parser.error(str(error))
    os.environ["TQDM_DISABLE"] = "1"
    began, failed = time.perf_counter(), 0
    if names:
        clips.folders(sizes)  # on all cores; a pinned row would take long
    for place, name in enumerate(names, start=1):
        print(f"[{place}/{len(names)}] {name}: {measure.ROWS[name].what}", flush=True)
        try:
            task = measured, name, sizes, options.rounds, multiprocessing.get_start_method()
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                entry = process.submit(*task).result()
        except Exception as error:  # the other rows can still be measured
            failed += 1
            print(f"    stopped: {type(error).__name__}: {error}")
        else:
            measure.keep({name: entry}, options.results)
    if names:
        print(f"measured in {(time.perf_counter() - began) / 60:.1f} min\n")
    print(kept.table(kept.load(options.results)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
