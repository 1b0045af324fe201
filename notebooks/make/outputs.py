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
from PIL import Image

from twostream_utils.files import atomic_write

MAX_BYTES = 1_000_000  # of a notebook
LARGE = 100_000  # characters of a figure in base64
WIDGET = "application/vnd.jupyter.widget-view+json"
# Paths that exist on one machine only. A reader must never see them.
MACHINE_PATH = re.compile(r"/(?:home|Users|root|tmp|work|private/var)/[\w.-]+|[A-Z]:\\Users\\")


class OutputProblem(RuntimeError):
    """A notebook that failed or whose outputs must not be committed; the message says where."""


def execute(notebook: nbformat.NotebookNode, folder: Path, label: str) -> None:
    """Execute ``notebook`` in place, with ``folder`` as the kernel's working directory.

    Raises ``OutputProblem`` naming notebook, cell and error if a cell fails. ``KeyboardInterrupt``
    passes through after the kernel is gone.
    """
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # the kernel of this environment, no other
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    client = NotebookClient(
        notebook, timeout=None, kernel_name="python3", record_timing=False,
        resources={"metadata": {"path": str(folder)}},
        shutdown_kernel="immediate",  # a polite end takes a second, twelve times
    )  # fmt: skip
    code = [(at, cell) for at, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    began = time.perf_counter()
    scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # the kernel cannot clear up
    env = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), scratch.name)
    # The kernel's own stderr is its log; what a cell writes to stderr is captured all the same.
    with scratch, client.setup_kernel(env=env, stderr=subprocess.DEVNULL):
        for number, (at, cell) in enumerate(code, start=1):
            where = f"{label}, cell {number} of {len(code)}"
            if sys.stdout.isatty():
                print(f"\r\033[K{where}", end="", flush=True)
            try:
                client.execute_cell(cell, at, execution_count=number)
            except CellExecutionError as error:
                trace = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback).strip()
                said = f"{error.ename}: {error.evalue}"  # all there is where a reader can mend it
                alone = trace.rpartition("-" * 18)[2].strip() == said  # below the text of the cell
                trace = "" if alone else f"\n\n{trace}"
                raise OutputProblem(f"{where}: {said}{trace}") from None
            except DeadKernelError:
                raise OutputProblem(
                    f"{where}: the kernel died. Most often the machine ran out of memory: "
                    "close other programs and run again."
                ) from None
    start = "\r\033[K" if sys.stdout.isatty() else ""
    print(f"{start}{label:<28} {time.perf_counter() - began:6.1f} s", flush=True)


def clean_outputs(notebook: nbformat.NotebookNode, label: str) -> None:
    """Drop from an executed notebook, in place, all that differs from run to run.

    Progress bars, live widgets (their state is not stored, so a reader would see nothing), their
    scripts (GitHub may show them as text), stderr and timing go. What was printed in several
    moments becomes one text. Figures keep their alt text, lose the HTML copy that JupyterLab needs
    it in, and are packed tighter. Raises ``OutputProblem`` for what must not be committed.
    """
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        cell.metadata.pop("execution", None)
        cell.execution_count = number
        kept: list[nbformat.NotebookNode] = []
        for output in cell.outputs:
            stream, data = output.output_type == "stream", output.get("data", {})
            script = data.get("text/html", "").startswith("<script")
            if WIDGET in data or script or (stream and output.name == "stderr"):
                continue
            if kept and stream and kept[-1].output_type == "stream":
                kept[-1].text += output.text
                continue
            output.pop("transient", None)
            if output.output_type == "execute_result":
                output.execution_count = number
            if "image/png" in data:
                output.data.pop("text/html", None)
                output.data["image/png"] = packed(output.data["image/png"])
            kept.append(output)
        for output in kept:
            if output.output_type == "stream":  # a carriage return starts the line again
                output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text)
        cell.outputs = kept
    for problem in output_problems(notebook):
        raise OutputProblem(f"{label}, {problem}")


def output_problems(notebook: nbformat.NotebookNode) -> list[str]:
    """What must not be committed: errors, machine paths, figures without alt text, too many MB."""
    problems = []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, output in ((n, o) for n, cell in enumerate(code, 1) for o in cell.outputs):
        where = f"cell {number}"
        texts = [output.get("text", "")]
        if output.output_type == "error":
            problems.append(f"{where}: error output {output.ename}: {output.evalue}")
        for kind, data in output.get("data", {}).items():
            if not kind.startswith("image/"):
                texts.append(str(data))
            elif not output.metadata.get(kind, {}).get("alt"):
                problems.append(f"{where}: a figure without alt text; use show(fig, alt)")
        for match in filter(None, map(MACHINE_PATH.search, texts)):
            problems.append(f"{where}: prints a path of this machine, {match[0]}…")
    size = len(nbformat.writes(notebook).encode())
    if size > MAX_BYTES:
        problems.append(
            f"whole notebook: {size / 1e6:.2f} MB with its figures; {MAX_BYTES / 1e6:.0f} MB is "
            "the limit. Draw fewer or smaller figures"
        )
    return problems


def packed(png: str) -> str:
    """A figure (PNG in base64) in fewer bytes: no alpha where all is opaque, 5 bits if large.

    Rounding to 5 bits a colour halves a photograph. A palette of 256 would make less of it, and
    steps in a colour wheel.
    """
    figure = Image.open(io.BytesIO(base64.b64decode(png)))
    if figure.mode == "RGBA" and figure.getextrema()[3] == (255, 255):
        figure = figure.convert("RGB")
    small = png_text(figure)
    if len(small) > LARGE and figure.mode == "RGB":
        small = png_text(figure.point([min(255, (level + 4) // 8 * 8) for level in range(256)] * 3))
    return min(small, png, key=len)


def png_text(figure: Image.Image) -> str:
    """A figure as the base64 of a PNG."""
    out = io.BytesIO()
    figure.save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def write_notebook(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook aside and rename it. Creates the folder."""
    nbformat.validate(notebook)
    with atomic_write(path) as part:
        part.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
