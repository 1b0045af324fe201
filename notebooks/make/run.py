"""Run the whole course: make or extract the data, execute the notebooks in order, print results.

    python notebooks/make/run.py                                   the mini profile
    python notebooks/make/run.py --profile folder --data VIDEOS    your own videos

TWOSTREAM_PROFILE and TWOSTREAM_DATA say the same, and TWOSTREAM_GROUPS is a pattern that finds the
group in a video's name. Executed copies and results.json go to runs/<profile>/ (or <profile>/ in
the folder that TWOSTREAM_RUNS names). Interrupted, it goes on with the first notebook that was not
finished; data and checkpoints are used again in any case. Of a folder of videos there is also
report.html, one page with all that was found, reached and got wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from itertools import takewhile
from pathlib import Path

import nbformat
from index import ROOT
from outputs import OutputProblem, execute, write_notebook

from twostream_utils.files import atomic_write


def run_notebooks(notebooks: list[Path], run_dir: Path, data: str) -> None:
    """Execute ``notebooks`` and write the executed copies to ``run_dir/notebooks``.

    ``run_dir/state.json`` holds which ones an unfinished run has behind it. They count while file
    and ``data`` are what they were then.

    Raises ``OutputProblem`` at the first failing cell, after writing that copy as far as it came.
    """
    state = run_dir / "state.json"
    wanted = [
        [path.name, hashlib.sha256(path.read_bytes()).hexdigest(), data] for path in notebooks
    ]
    old = json.loads(state.read_text(encoding="utf-8")) if state.exists() else []
    done = [new for new, _ in takewhile(lambda pair: pair[0] == pair[1], zip(wanted, old))]
    if 0 < len(done) < len(notebooks):
        print(f"Going on at {notebooks[len(done)].stem}; the ones before it are done.")
    for path in notebooks[len(done) :]:
        notebook = nbformat.read(path, as_version=4)
        try:
            execute(notebook, path.parent, label=path.stem)
        finally:
            write_notebook(notebook, run_dir / "notebooks" / path.name)
        done.append(wanted[len(done)])
        with atomic_write(state) as part:
            part.write_text(json.dumps(done, indent=1), encoding="utf-8")
    state.unlink(missing_ok=True)


def where_time_went(total: float, prepared: float, methods: dict[str, dict]) -> str:
    """Say what ``total`` s were spent on; each of ``methods`` has the s of all that it trained."""
    trained = max((method["seconds"] for method in methods.values()), default=0.0)
    taken = {"data": prepared, "training": trained, "all else": total - prepared - trained}
    return "minutes: " + ", ".join(f"{what} {s / 60:.1f}" for what, s in taken.items())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default=os.environ.get("TWOSTREAM_PROFILE") or "mini")
    parser.add_argument("--data", default=os.environ.get("TWOSTREAM_DATA") or None, metavar="DIR")
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(errors="replace")  # names of files that this console cannot show
    began = time.perf_counter()
    notebooks = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    data = str(Path(options.data).expanduser().resolve()) if options.data else ""
    os.environ["TWOSTREAM_PROFILE"] = options.profile
    if data:
        os.environ["TWOSTREAM_DATA"] = data
    try:
        from readme import caption, load_results, results_table
        from report import write_report

        from twostream_utils.lab import start  # seconds: torch is imported here

        run_dir = start.runs_folder() / options.profile
        course = start.setup(options.profile, quiet=True)  # says at once what cannot be trained on
        from_scratch = not any(run_dir.glob("*/*.pt"))
        prepared = time.perf_counter() - began
        run_notebooks(notebooks, run_dir, data)
        results = load_results(run_dir / "results.json")
        own = course.profile.split_rule == "folds"  # a folder of videos, no official test
        report = write_report(course, results) if own else None
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on where this one stopped.", file=sys.stderr)
        return 130
    except (OutputProblem, OSError, ValueError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(f"\n{results_table(results)}\n\n{caption(results)}")
    total = time.perf_counter() - began
    copies = start.shown(run_dir / "notebooks")
    print(f"\n{len(notebooks)} notebooks in {total / 60:.1f} minutes; executed copies in {copies}/")
    if report:
        print(f"A page to look at and to send to somebody: {start.shown(report)}")
    print(where_time_went(total, prepared, results["methods"] if from_scratch else {}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
