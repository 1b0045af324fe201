"""Run the whole course: make or extract the data, execute the notebooks in order, print results.

    python notebooks/make/run.py                                   the mini profile
    python notebooks/make/run.py --profile folder --data VIDEOS    your own videos

TWOSTREAM_PROFILE and TWOSTREAM_DATA say the same, and TWOSTREAM_GROUPS is a pattern that finds the
group in a video's name. Executed copies and results.json go to
runs/<profile>/ (or <profile>/ in the folder that TWOSTREAM_RUNS names), and minutes.json if the run
began without trained networks. Interrupted, it goes on
with the first notebook that was not finished; data and checkpoints are used again in any case.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path

import nbformat
from outputs import OutputProblem, execute, write_notebook
from readme import caption, load_results, results_table

from twostream_utils.files import atomic_write

ROOT = Path(__file__).resolve().parents[2]


class Progress:
    """Which notebooks an unfinished run has behind it, in ``state.json`` of the run's folder.

    A notebook counts only while its file and the data are the same as when it was finished.
    """

    def __init__(self, path: Path, data: str):
        self.path = path
        self.data = data
        self.finished: dict[str, str] = {}
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if state.get("data") == data:
            self.finished = state["finished"]

    def remaining(self, notebooks: list[Path]) -> list[Path]:
        """The notebooks from the first unfinished one on."""
        for place, path in enumerate(notebooks):
            if self.finished.get(path.name) != _digest(path):
                return notebooks[place:]
        return notebooks

    def finish(self, notebook: Path) -> None:
        """Note that ``notebook`` is done."""
        self.finished[notebook.name] = _digest(notebook)
        state = {"data": self.data, "finished": self.finished}
        with atomic_write(self.path) as part:
            part.write_text(json.dumps(state, indent=1), encoding="utf-8")

    def forget(self) -> None:
        """Forget everything: the next run starts at the first notebook."""
        self.path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_notebooks(notebooks: list[Path], run_dir: Path, data: str) -> dict[str, dict]:
    """Execute ``notebooks`` and write the executed copies to ``run_dir/notebooks``.

    Returns the waits of ``execute`` for those that this call ran, by name without suffix.

    Raises ``OutputProblem`` at the first failing cell, after writing that copy as far as it came.
    """
    progress = Progress(run_dir / "state.json", data)
    remaining = progress.remaining(notebooks)
    if len(remaining) < len(notebooks):
        print(f"Going on at {remaining[0].stem}; the ones before it are done.")
    waits = {}
    for path in remaining:
        notebook = nbformat.read(path, as_version=4)
        copy = run_dir / "notebooks" / path.name
        try:
            waits[path.stem] = execute(notebook, path.parent, label=path.stem)
        finally:
            write_notebook(notebook, copy)
        progress.finish(path)
    progress.forget()
    return waits


def write_minutes(path: Path, waits: dict[str, dict], results: dict) -> None:
    """Write how long each notebook took, with the device of ``results``, to ``path``."""
    run = {"device": results["device"], "torch": results["torch"], "notebooks": waits}
    path.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


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
    began = time.perf_counter()
    notebooks = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    data = str(Path(options.data).expanduser().resolve()) if options.data else ""
    os.environ["TWOSTREAM_PROFILE"] = options.profile
    if data:
        os.environ["TWOSTREAM_DATA"] = data
    try:
        from twostream_utils.lab import start as course  # seconds: torch is imported here

        run_dir = course.runs_folder() / options.profile
        course.prepare_data(course.choose_profile(options.profile), data or None)
        from_scratch = not any(run_dir.glob("*/*.pt"))
        prepared = time.perf_counter() - began
        waits = run_notebooks(notebooks, run_dir, data)
        results = load_results(run_dir / "results.json")
        if from_scratch and len(waits) == len(notebooks):
            write_minutes(run_dir / "minutes.json", waits, results)
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on where this one stopped.", file=sys.stderr)
        return 130
    except (OutputProblem, OSError, ValueError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(f"\n{results_table(results)}\n\n{caption(results)}")
    print("* Feichtenhofer et al. 2016, VGG-16, top-1 % on split 1, from notes on the paper.")
    where = course.shown(run_dir / "notebooks")
    minutes = (time.perf_counter() - began) / 60
    print(f"\n{len(notebooks)} notebooks in {minutes:.1f} minutes; executed copies in {where}/")
    print(where_time_went(60 * minutes, prepared, results["methods"] if from_scratch else {}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
