"""Committed notebooks are what their sources build, and fit to read; so is the builder's work.

That every cell runs, and that every solution passes its checker, is nbval's part of ``make test``.
"""

from __future__ import annotations

import base64
import copy
import io
import re
from functools import cache

import build as bn
import nbformat
import numpy as np
import outputs as no
import pytest
from PIL import Image

SOURCES = bn.read_sources()
NAMES = [source.stem for source in SOURCES]
each = pytest.mark.parametrize("source", SOURCES, ids=NAMES)


def committed(source: bn.Source, folder: str = "") -> nbformat.NotebookNode:
    path = bn.NOTEBOOKS / folder / f"{source.stem}.ipynb"
    assert path.exists(), f"{path.name} is missing: run `make notebooks`"
    return nbformat.v4.reads(path.read_text(encoding="utf-8"))


@cache
def built(name: str, solved: bool = False) -> nbformat.NotebookNode:
    return bn.build(SOURCES[NAMES.index(name)], SOURCES, solved)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def without_outputs(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    bare = copy.deepcopy(notebook)
    for cell in code_cells(bare):
        cell.outputs, cell.execution_count = [], None
    return bare


# --- the committed notebooks ------------------------------------------------------------------


def test_there_are_the_notebooks_of_the_course_and_no_others():
    assert [name[:2] for name in NAMES] == [f"{n:02d}" for n in range(len(NAMES))]
    for folder in bn.NOTEBOOKS, bn.NOTEBOOKS / "solutions":
        assert sorted(path.stem for path in folder.glob("*.ipynb")) == NAMES


@each
def test_notebook_and_twin_are_what_their_source_builds(source):
    assert without_outputs(committed(source)) == built(source.stem), "run `make notebooks`"
    assert committed(source, "solutions") == built(source.stem, solved=True)


@each
def test_notebook_was_run_from_first_cell_to_last_and_is_fit_to_read(source):
    notebook = committed(source)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert no.output_problems(notebook) == []
    data = [out.get("data", {}) for cell in code_cells(notebook) for out in cell.outputs]
    shown = [figure["image/png"] for figure in data if "image/png" in figure]
    assert len(shown) == len(set(shown)), "a figure is shown twice"


@each
def test_anatomy(source):
    cells = built(source.stem).cells
    first = next(at for at, cell in enumerate(cells) if cell.cell_type == "code")
    assert "setup" in cells[first].metadata.get("tags", [])
    first_screen = "\n".join(cell.source for cell in cells[:first])
    assert "](figures/" in first_screen, "the figure of the chapter comes before its set-up cell"
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert "## Takeaways" in prose
    assert all(len(alt.split()) > 5 for alt in re.findall(r"!\[([^\]]*)\]\(figures/", prose))
    if source.number != "00":
        assert "## Exercises" in prose and 3 <= source.exercises <= 5
    (reading,) = re.findall(r"^\*\*Read on:?\*\*(.*?)(?=^\n#|^---|\Z)", prose, re.M | re.S)
    assert len(re.findall(r"\]\(https://", reading)) >= 3


@each
def test_cells_ask_for_no_profile_and_show_figures_with_alt_text(source):
    for cell in code_cells(built(source.stem)):
        assert not re.search(r"if .*profile", cell.source), cell.source
        assert "plt.show(" not in cell.source and "savefig(" not in cell.source, cell.source


@each
def test_links_lead_somewhere(source):
    for solved in False, True:
        folder = bn.NOTEBOOKS / "solutions" if solved else bn.NOTEBOOKS
        for cell in built(source.stem, solved).cells:
            if cell.cell_type != "markdown":
                continue
            for target in re.findall(r"\]\(([^)\s#]+)", cell.source):
                if not re.match(r"[a-z]+:", target):
                    assert (folder / target).exists(), f"{source.stem}: {target}"


# --- exercises --------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES[1:], ids=NAMES[1:])
def test_exercises_are_numbered_and_each_is_checked(source):
    texts = re.findall(r"^### Exercise .*?(?=^#{2,3} (?! )|\Z)", source.text, re.M | re.S)
    kinds = "build|code|predict|read"
    heads = [re.match(rf"### Exercise (\d) \(({kinds})\): \S", text) for text in texts]
    assert all(heads), [text.splitlines()[0] for text in texts]
    assert [int(head[1]) for head in heads] == list(range(1, len(texts) + 1))
    assert any(head[2] == "build" for head in heads) or source.number > "10"
    for text in texts:
        assert bn.BEGIN in text and re.search(r"^check\.\w+\(", text, re.M), text
        if "(build)" in text.splitlines()[0]:
            said = r"^\*Difficulty [1-5] of 5\b.*\d+ minutes"
            assert re.search(said, text, re.M) and "<details><summary>" in text, text


# --- the builder ------------------------------------------------------------------------------

FRONT = """---
title: A trial
question: Does it work?
learn:
  - one thing
before: nothing
minutes: 1
---
"""
BODY = """
```python tags=["setup"]
import sys
from types import SimpleNamespace
from twostream_utils.lab.exercises.checking import checker
from twostream_utils.lab.plots import show
```

Look at [the next one](02_b.ipynb) and ![a figure](figures/a.png).

## Exercises

### Exercise 1: double it

```python
def double(x):
    # solution: begin
    twice = 2 * x
    return twice
    # solution: end


@checker("Doubled.")
def doubled(answer):
    assert answer(2) == 4, "2 should become 4"


check = SimpleNamespace(double=doubled)
check.double(double)
```

What do you see?

<!-- solution: begin -->
Nothing much.
<!-- solution: end -->

```python tags=["nbval-check-output"]
import numpy as np
print("seen\\rdone"); print("noise", file=sys.stderr)
noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
show(noise, "noise in all colours")
print("a"); print("b")
display({"text/html": "<script>0</script>", "text/plain": "of a widget"}, raw=True)
```
"""


@pytest.fixture
def sources(tmp_path):
    for name in "01_a", "02_b":
        (tmp_path / f"{name}.md").write_text(FRONT + BODY, encoding="utf-8")
    return bn.read_sources(tmp_path)


def test_stub_is_without_solutions_and_leads_on(sources):
    cells = bn.build(sources[0], sources).cells
    code = cells[4].source
    assert cells[0].source == "# 01 · A trial\n\n*Does it work?*"
    assert cells[1].source.startswith("**You will learn**") and "1 minutes" in cells[1].source
    assert cells[2].metadata["jupyter"] == {"source_hidden": True}
    assert 'def double(x):\n    raise NotImplementedError("your turn")\n\n\n@checker' in code
    assert "\ncheck.double(double)" in code and "twice" not in code
    assert "Nothing much" not in "".join(cell.source for cell in cells)
    assert cells[-1].source.endswith("**Next:** [02 · A trial](02_b.ipynb)")


def test_twin_is_solved_checked_and_its_links_work_one_folder_down(sources):
    cells = bn.build(sources[0], sources, solved=True).cells
    text = "\n".join(cell.source for cell in cells)
    assert "    twice = 2 * x\n    return twice\n" in text and "solution: " not in text
    assert "\nassert check.double(double)" in text and "Nothing much." in text
    assert "](02_b.ipynb)" in text and "](../figures/a.png)" in text


@pytest.mark.parametrize(
    "code",
    [
        "# solution: begin\nx = 1\n# solution: end",
        "def f():\n    # solution: begin\n    return 1",
        "def f():\n    return 1\n    # solution: end",
        "def f():\n    # solution: begin\n    return 1\n# solution: end",
    ],
)
def test_a_broken_solution_block_is_named(code):
    with pytest.raises(bn.SourceProblem, match="03_x.md, cell 4: .*inside a function"):
        bn.stub_code(code, "03_x.md, cell 4")


@pytest.mark.parametrize("text", ["# no front matter\n", FRONT.replace("minutes", "hours")])
def test_a_source_without_its_front_matter_is_named(tmp_path, text):
    (tmp_path / "01_a.md").write_text(text, encoding="utf-8")
    with pytest.raises(bn.SourceProblem, match="01_a.md.*front matter"):
        bn.read_sources(tmp_path)


def test_building_executing_and_cleaning(sources, tmp_path):
    notebook = bn.build(sources[0], sources)
    no.execute(notebook, tmp_path, "01_a")
    no.clean_outputs(notebook, "01_a")
    _, exercise, look = code_cells(notebook)
    assert [cell.execution_count for cell in code_cells(notebook)] == [1, 2, 3]
    assert exercise.outputs[0].text.startswith("⏳")
    assert len(exercise.outputs) == 1  # the verdict itself shows nothing
    printed, figure, after = look.outputs
    assert printed.text == "done\n"  # no stderr, and what a terminal would show
    assert after.text == "a\nb\n"
    assert figure.metadata["image/png"]["alt"] == "noise in all colours"
    assert set(figure.data) == {"image/png", "text/plain"}
    assert without_outputs(notebook) == bn.build(sources[0], sources)


# As errors of the reader's making say it, those of setup.
ALONE = """class Own(ValueError):
    _render_traceback_ = lambda self: [f"Own: {self}"]

raise Own("no profile")"""


@pytest.mark.parametrize(
    ("code", "said"),
    [("1 / 0", "ZeroDivisionError: division by zero"), ("import os; os._exit(1)", "kernel died"),
     (ALONE, "Own: no profile")],
)  # fmt: skip
def test_a_failing_cell_is_named(code, said, tmp_path):
    cells = [nbformat.v4.new_code_cell(text) for text in ("0", code, "0")]
    with pytest.raises(no.OutputProblem, match=f"01_a, cell 2 of 3: .*{said}") as failed:
        no.execute(nbformat.v4.new_notebook(cells=cells), tmp_path, "01_a")
    if code == ALONE:
        assert str(failed.value) == f"01_a, cell 2 of 3: {said}"


@pytest.mark.parametrize("side", [60, 300])
@pytest.mark.parametrize("alpha", [255, 0])
def test_figures_are_packed_without_losing_what_is_transparent(side, alpha):
    """Small ones keep each pixel, large ones each level to 4 of 255."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[0, 0, 3] = alpha
    png = no.png_text(Image.fromarray(pixels))
    packed = no.packed(png)
    figure = Image.open(io.BytesIO(base64.b64decode(packed)))
    assert figure.mode == ("RGB" if alpha else "RGBA")
    change = np.abs(np.asarray(figure.convert("RGBA"), int) - pixels)
    if alpha and side == 300:
        assert change.max() == 4 and len(packed) < 0.8 * len(png)
    else:
        assert change.max() == 0 and len(packed) <= len(png)


def test_problems_that_must_not_be_committed_are_found():
    png = base64.b64encode(np.random.default_rng(0).bytes(900_000)).decode()
    cell = nbformat.v4.new_code_cell("x")
    home = "/" + "home/someone/x.py"
    cell.outputs = [
        nbformat.v4.new_output("stream", text=f"in {home}"),
        nbformat.v4.new_output("error", ename="E", evalue="v", traceback=[]),
        nbformat.v4.new_output("display_data", data={"image/png": png}),
    ]
    problems = no.output_problems(nbformat.v4.new_notebook(cells=[cell]))
    found = " ".join(problems)
    assert len(problems) == 4
    assert all(word in found for word in ("alt text", "path", "error output", "1.20 MB"))
