"""Execute a notebook, and make its outputs fit to commit."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from PIL import Image, ImageChops, ImageStat

from twostream_utils.files import atomic_write

ROOT = Path(__file__).resolve().parents[2]
MAX_BYTES = 1_000_000
ROOM = 0.85  # of it is what a notebook is reduced to that is larger: room for the next change
WIDGET = "application/vnd.jupyter.widget-view+json"
# Paths that exist on one machine only. A reader must never see them.
MACHINE_PATH = re.compile(r"/(?:home|Users|root|tmp|work|private/var)/[\w.-]+|[A-Z]:\\Users\\")


class OutputProblem(RuntimeError):
    """A notebook that failed or whose outputs must not be committed; the message says where."""


class NotebookRun(NotebookClient):
    """nbclient that prints which cell it is at, and knows which cell failed."""

    def __init__(self, notebook, folder: Path, label: str):
        self.label = label
        self.current = 0
        self.total = sum(cell.cell_type == "code" for cell in notebook.cells)
        self.began = time.perf_counter()
        self.starts: list[float] = []
        super().__init__(
            notebook,
            timeout=None,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            on_cell_execute=self._started,
            store_widget_state=False,
            shutdown_kernel="immediate",  # a polite end takes a second, twelve times
            record_timing=False,
        )

    def _started(self, cell, cell_index) -> None:
        if cell.cell_type == "code":
            self.current += 1
            self.starts.append(time.perf_counter())
            self.say(f"cell {self.current}/{self.total}", end="")

    def say(self, what: str, end: str = "\n") -> None:
        """Write one line about this notebook, over the last one on a terminal."""
        live = sys.stdout.isatty()
        if end == "" and not live:
            return
        seconds = time.perf_counter() - self.began
        start = "\r\033[K" if live else ""
        print(f"{start}{self.label:<28} {seconds:6.1f} s  {what}", end=end, flush=True)


def execute(notebook: nbformat.NotebookNode, folder: Path, label: str) -> dict[str, float]:
    """Execute ``notebook`` in place, with ``folder`` as the kernel's working directory.

    Returns how long a reader waits, ``{"seconds", "longest_cell"}``, both in s.

    Raises ``OutputProblem`` naming notebook, cell and error if a cell fails. ``KeyboardInterrupt``
    passes through after the kernel is gone.
    """
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # the kernel of this environment, no other
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    run = NotebookRun(notebook, folder, label)
    scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # the kernel cannot clear up
    env = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), scratch.name)
    try:
        with scratch:
            run.execute(env=env, stderr=subprocess.DEVNULL)  # its log; a cell's stderr is captured
    except CellExecutionError as error:
        run.say(f"failed in cell {run.current}")
        raise OutputProblem(
            f"{label}, cell {run.current} of {run.total}: {error.ename}: {error.evalue}\n\n"
            f"{_plain(error.traceback)}"
        ) from None
    except Exception as error:
        # On Ctrl-C nbclient stops the kernel, then trips over the kernel that is gone.
        if getattr(run, "_async_cleanup_kernel_future", None) is not None:
            raise KeyboardInterrupt from None
        if not isinstance(error, DeadKernelError):
            raise
        run.say(f"failed in cell {run.current}")
        raise OutputProblem(
            f"{label}, cell {run.current} of {run.total}: the kernel died. Most often the machine "
            "ran out of memory: close other programs and run again."
        ) from None
    run.say(f"done, {run.total} cells")
    end = time.perf_counter()
    cells = [later - start for start, later in zip(run.starts, [*run.starts[1:], end], strict=True)]
    waits = {"seconds": end - run.began, "longest_cell": max(cells, default=0.0)}
    return {name: round(value, 1) for name, value in waits.items()}


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def clean_outputs(notebook: nbformat.NotebookNode, label: str) -> None:
    """Drop from an executed notebook, in place, all that differs from run to run.

    Progress bars, live widgets (their state is not stored, so a reader would see nothing), stderr
    and timing go. What was printed in several moments becomes one text. Pictures keep their alt
    text, lose the HTML copy that JupyterLab needs it in, and are packed tighter; in a notebook that
    is too large, some are reduced to 256 colours. Raises ``OutputProblem`` for what must not be
    committed.
    """
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    number = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        number += 1
        cell.metadata.pop("execution", None)
        cell.execution_count = number
        cell.outputs = _joined([output for output in cell.outputs if _worth_keeping(output)])
        for output in cell.outputs:
            output.pop("transient", None)
            if output.output_type == "execute_result":
                output.execution_count = number
            if output.output_type == "stream":
                output.text = _last_writing(output.text)
            if "image/png" in output.get("data", {}):
                output.data.pop("text/html", None)
                output.data["image/png"] = _packed(output.data["image/png"])
    _fit_into_limit(notebook)
    for problem in output_problems(notebook):
        raise OutputProblem(f"{label}, {problem}")


def output_problems(notebook: nbformat.NotebookNode) -> list[str]:
    """What must not be committed: errors, machine paths, pictures without alt text, too many MB."""
    problems = []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        where = f"cell {number}"
        for output in cell.outputs:
            if output.output_type == "error":
                problems.append(f"{where}: error output {output.ename}: {output.evalue}")
            texts = [output.get("text", "")]
            for kind, data in output.get("data", {}).items():
                if kind.startswith("image/"):
                    if not output.metadata.get(kind, {}).get("alt"):
                        problems.append(f"{where}: a figure without alt text; use show(fig, alt)")
                else:
                    texts.append(str(data))
            for text in texts:
                if match := MACHINE_PATH.search(text):
                    problems.append(f"{where}: prints a path of this machine, {match[0]}…")
    size = len(nbformat.writes(notebook).encode())
    if size > MAX_BYTES:
        problems.append(
            f"whole notebook: {size / 1e6:.2f} MB with its figures; {MAX_BYTES / 1e6:.0f} MB is "
            "the limit. Draw fewer or smaller pictures"
        )
    return problems


def _worth_keeping(output: nbformat.NotebookNode) -> bool:
    if output.output_type == "stream":
        return output.name != "stderr"
    return WIDGET not in output.get("data", {})


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Prints that follow each other as one text: a table is shown without gaps between its rows."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        if kept and output.output_type == kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def _last_writing(text: str) -> str:
    """What a terminal shows of ``text``: a carriage return starts the line again."""
    return "\n".join(line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n"))


def _packed(png: str) -> str:
    """The same pixels in fewer bytes, if there is such a way: no alpha where all is opaque."""
    picture = Image.open(io.BytesIO(base64.b64decode(png)))
    if picture.mode == "RGBA" and picture.getextrema()[3] == (255, 255):
        picture = picture.convert("RGB")
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return min(base64.b64encode(out.getvalue()).decode(), png, key=len)


def _fit_into_limit(notebook: nbformat.NotebookNode) -> None:
    """Reduce pictures to 256 colours until the notebook is small enough.

    First those that become smallest for the least change of their colours: a photograph does not
    show it, a colour wheel does.
    """
    if len(nbformat.writes(notebook).encode()) <= MAX_BYTES:
        return
    candidates = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                reduced, change = _reduced(png)
                candidates.append(((len(png) - len(reduced)) / change, output.data, reduced))
    for _, bundle, reduced in sorted(candidates, key=lambda found: -found[0]):
        if len(nbformat.writes(notebook).encode()) <= ROOM * MAX_BYTES:
            return
        bundle["image/png"] = min(reduced, bundle["image/png"], key=len)


def _reduced(png: str) -> tuple[str, float]:
    """A picture in 256 colours, and by how much they changed (mean, in levels, at least 0.1)."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    # The default, median cut, spends its colours on large areas and turns pale flow brown.
    few = picture.quantize(256, Image.Quantize.FASTOCTREE)
    change = ImageStat.Stat(ImageChops.difference(picture, few.convert("RGB"))).mean
    out = io.BytesIO()
    few.save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode(), max(sum(change) / 3, 0.1)


def write_notebook(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook aside and rename it. Creates the folder."""
    nbformat.validate(notebook)
    with atomic_write(path) as part:
        part.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
