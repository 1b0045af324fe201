"""Committed notebooks are what their sources build, and fit to read; so is the builder's work.

That every cell runs is nbval's part of ``make test``.
"""

from __future__ import annotations

import ast
import base64
import io
import re

import build as bn
import nbformat
import numpy as np
import outputs as no
import pytest
import torch
from PIL import Image

SOURCES = bn.read_sources() if any(bn.SOURCES.glob("[0-9]*.md")) else []
NAMES = [source.stem for source in SOURCES]
each = pytest.mark.parametrize("source", SOURCES, ids=NAMES)
IMPORTS = ast.Import, ast.ImportFrom


def committed(source: bn.Source) -> nbformat.NotebookNode:
    path = bn.NOTEBOOKS / f"{source.stem}.ipynb"
    assert path.exists(), f"{path.name} is missing: run `make notebooks`"
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


# --- the committed notebooks ------------------------------------------------------------------


def test_there_are_the_notebooks_of_the_course_and_no_others():
    assert [name[:2] for name in NAMES] == [f"{n:02d}" for n in range(12)]
    for folder in bn.NOTEBOOKS, bn.NOTEBOOKS / "solutions":
        assert sorted(path.stem for path in folder.glob("*.ipynb")) == NAMES


@each
def test_notebook_is_what_its_source_builds(source):
    notebook = committed(source)
    assert bn.without_outputs(notebook) == bn.build(source, SOURCES), "run `make notebooks`"


@each
def test_solution_is_what_its_source_builds(source):
    path = bn.NOTEBOOKS / "solutions" / f"{source.stem}.ipynb"
    assert nbformat.read(path, as_version=4) == bn.build(source, SOURCES, solved=True)


@each
def test_notebook_was_run_from_first_cell_to_last(source):
    counts = [cell.execution_count for cell in code_cells(committed(source))]
    assert counts == list(range(1, len(counts) + 1))


@each
def test_outputs_are_fit_to_read(source):
    assert no.output_problems(committed(source)) == []


@each
def test_anatomy(source):
    cells = bn.build(source, SOURCES).cells
    first_code = next(cell for cell in cells if cell.cell_type == "code")
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert cells[0].source.startswith(f"# {source.number} · {source.title}")
    assert "**You will learn**" in cells[0].source and "Minutes to run on a CPU" in cells[0].source
    assert "setup" in first_code.metadata.get("tags", [])
    assert "course.setup(" in first_code.source
    assert "## Takeaways" in prose
    assert all(len(alt.split()) > 5 for alt in re.findall(r"!\[([^\]]*)\]\(figures/", prose))
    assert "**Next:**" in cells[-1].source
    if source.number != "00":
        assert "## Exercises" in prose and 3 <= source.exercises <= 5
        assert "*If this surprises you:*" in prose


@each
def test_cells_ask_for_no_profile_and_show_pictures_with_alt_text(source):
    for cell in code_cells(bn.build(source, SOURCES)):
        assert not re.search(r"if .*profile", cell.source), cell.source
        assert "plt.show(" not in cell.source and "savefig(" not in cell.source, cell.source


@each
def test_links_lead_somewhere(source):
    for solved in False, True:
        folder = bn.NOTEBOOKS / "solutions" if solved else bn.NOTEBOOKS
        for cell in bn.build(source, SOURCES, solved=solved).cells:
            if cell.cell_type != "markdown":
                continue
            for target in re.findall(r"\]\(([^)\s#]+)", cell.source):
                if not re.match(r"[a-z]+:", target):
                    assert (folder / target).exists(), f"{source.stem}: {target}"


@each
def test_the_same_check_is_used_in_stub_and_solution(source):
    stub = bn.build(source, SOURCES)
    twin = bn.build(source, SOURCES, solved=True)
    text = "\n".join(cell.source for cell in code_cells(stub))
    assert text.count(bn.STUB) == sum(source.text.count(mark) for mark in (bn.BEGIN, bn.STUB))
    checks = re.findall(r"^check\.\w+\(", text, flags=re.MULTILINE)
    solved = "\n".join(cell.source for cell in code_cells(twin))
    assert re.findall(r"^assert (check\.\w+\()", solved, flags=re.MULTILINE) == checks


# --- exercises --------------------------------------------------------------------------------

COURSE = [source for source in SOURCES if source.exercises]
with_exercises = pytest.mark.parametrize("source", COURSE, ids=[each.stem for each in COURSE])


def exercise_texts(source: bn.Source) -> list[str]:
    """Each exercise of a source with its heading, up to the next heading."""
    return re.findall(r"^### Exercise .*?(?=^#{2,3} (?! )|\Z)", source.text, re.M | re.S)


def fences(text: str) -> list[str]:
    return re.findall(r"^```python[^\n]*\n(.*?)^```$", text, re.M | re.S)


def without_solutions(text: str) -> str:
    """``text`` without marked lines, by the markers alone and not by the builder."""
    kept, inside = [], False
    for line in text.splitlines():
        if line.strip() in (bn.BEGIN, "<!-- solution: begin -->"):
            inside = True
        if not inside:
            kept.append(line)
        if line.strip() in (bn.END, "<!-- solution: end -->"):
            inside = False
    return "\n".join(kept)


@with_exercises
def test_stub_is_the_source_minus_marked_lines_and_the_twin_minus_the_markers(source):
    stub = [cell.source for cell in code_cells(bn.build(source, SOURCES))]
    twin = [cell.source for cell in code_cells(bn.build(source, SOURCES, solved=True))]
    written = fences(source.text)
    for code, as_stub, as_twin in zip(written, stub, twin, strict=True):
        left = [line for line in as_stub.splitlines() if line.strip() != bn.STUB or bn.STUB in code]
        assert left == without_solutions(code).splitlines()
        whole = [line for line in code.splitlines() if line.strip() not in (bn.BEGIN, bn.END)]
        checked = [line.removeprefix("assert ") if "check." in line else line
                   for line in as_twin.splitlines()]  # fmt: skip
        assert checked == [
            line.removeprefix("assert ") if "check." in line else line for line in whole
        ]


@with_exercises
def test_exercises_are_numbered_of_three_kinds_and_each_is_checked(source):
    texts = exercise_texts(source)
    heads = [re.match(r"### Exercise (\d) \((code|predict|read)\): \S", text) for text in texts]
    assert all(heads), [text.splitlines()[0] for text in texts]
    assert [int(head[1]) for head in heads] == list(range(1, len(texts) + 1))
    assert {head[2] for head in heads} == {"code", "predict", "read"}
    for text in texts:
        assert bn.BEGIN in text and re.search(r"^check\.\w+\(", text, re.M), text


def run_checks(source: bn.Source, solved: bool) -> int:
    """Run the exercises that need no data, as they stand in a notebook; say how many checks."""
    cells = code_cells(bn.build(source, SOURCES, solved=solved))
    names = {"torch": torch}
    bodies = [
        ast.parse(cell.source).body for cell in cells if not re.search(r"^[!%]", cell.source, re.M)
    ]
    imports = [node for body in bodies for node in body if type(node) in IMPORTS]
    exec(compile(ast.Module(imports, []), source.stem, "exec"), names)
    count = 0
    for cell in cells:
        checks = re.findall(r"^(?:assert )?(check\.\w+)\(\w+\)$", cell.source, re.M)
        if checks:
            exec(compile(cell.source, source.stem, "exec"), names)
            count += len(checks)
    return count


@with_exercises
def test_solutions_pass_their_checkers(source, capsys):
    """Those whose answer only a run decides are asserted in the twins, which nbval runs."""
    count = run_checks(source, solved=True)
    assert count >= 3 and capsys.readouterr().out.count("✅") == count


@with_exercises
def test_unsolved_stubs_say_not_yet_and_raise_nothing(source, capsys):
    count = run_checks(source, solved=False)
    assert count >= 3 and capsys.readouterr().out.count("⏳ Not yet") == count


# --- the builder ------------------------------------------------------------------------------

FRONT = """---
title: A trial
learn:
  - one thing
before: nothing
cpu: 1
gpu: "no"
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
```
"""


@pytest.fixture
def sources(tmp_path):
    for name in "01_a", "02_b":
        (tmp_path / f"{name}.md").write_text(FRONT + BODY, encoding="utf-8")
    return bn.read_sources(tmp_path)


def test_stub_is_source_minus_the_marked_lines(sources):
    cells = bn.build(sources[0], sources).cells
    code = cells[3].source
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
    ("code", "complaint"),
    [
        ("# solution: begin\nx = 1\n# solution: end", "not inside a function"),
        ("def f():\n    # solution: begin\n    return 1", "without '# solution: end'"),
        ("def f():\n    return 1\n    # solution: end", "without '# solution: begin'"),
    ],
)
def test_a_broken_solution_block_is_named(code, complaint):
    with pytest.raises(bn.SourceProblem, match=complaint):
        bn.stub_code(code, "03_x.md, cell 4")


def test_a_source_without_front_matter_is_named(tmp_path):
    (tmp_path / "01_a.md").write_text("# no front matter\n", encoding="utf-8")
    with pytest.raises(bn.SourceProblem, match="01_a.md"):
        bn.read_sources(tmp_path)


def test_building_executing_and_cleaning(sources, tmp_path):
    notebook = bn.build(sources[0], sources)
    waits = no.execute(notebook, tmp_path, "01_a")
    assert 0 < waits["longest_cell"] <= waits["seconds"]
    no.clean_outputs(notebook, "01_a")
    setup, exercise, look = code_cells(notebook)
    assert [setup.execution_count, exercise.execution_count, look.execution_count] == [1, 2, 3]
    assert exercise.outputs[0].text.startswith("⏳")
    assert len(exercise.outputs) == 1  # the verdict itself shows nothing
    printed, figure = look.outputs
    assert printed.text == "done\n"  # no stderr, and what a terminal would show
    assert figure.metadata["image/png"]["alt"] == "noise in all colours"
    assert set(figure.data) == {"image/png", "text/plain"}
    picture = Image.open(io.BytesIO(base64.b64decode(figure.data["image/png"])))
    assert picture.size == (300, 200) and picture.mode in ("RGB", "RGBA")  # colours as drawn
    assert bn.without_outputs(notebook) == bn.build(sources[0], sources)


def test_what_was_printed_in_several_moments_is_one_text_and_figures_keep_their_place():
    said = [nbformat.v4.new_output("stream", name="stdout", text=text) for text in ("a\n", "b\n")]
    figure = nbformat.v4.new_output("display_data", {"text/plain": "<Figure>"})
    log = nbformat.v4.new_output("stream", name="stderr", text="slow\n")
    after = nbformat.v4.new_output("stream", name="stdout", text="c\n")
    cell = nbformat.v4.new_code_cell("...", outputs=[said[0], log, said[1], figure, after])
    no.clean_outputs(nbformat.v4.new_notebook(cells=[cell]), "01_a")
    assert [output.get("text") for output in cell.outputs] == ["a\nb\n", None, "c\n"]


def test_pictures_of_a_notebook_that_is_too_large_are_reduced(monkeypatch):
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, "PNG")
    data = {"image/png": base64.b64encode(out.getvalue()).decode()}
    cell = nbformat.v4.new_code_cell("x")
    alt = {"image/png": {"alt": "noise in all colours"}}
    cell.outputs = [nbformat.v4.new_output("display_data", data=data, metadata=alt)]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    size = len(nbformat.writes(notebook).encode())
    monkeypatch.setattr(no, "MAX_BYTES", size // 2)
    no.clean_outputs(notebook, "01_a")
    png = base64.b64decode(notebook.cells[0].outputs[0].data["image/png"])
    assert Image.open(io.BytesIO(png)).mode == "P"
    assert len(nbformat.writes(notebook).encode()) <= size // 2


def png_text(pixels: np.ndarray) -> str:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return base64.b64encode(out.getvalue()).decode()


def test_pictures_are_packed_without_changing_a_pixel_or_losing_what_is_transparent():
    pixels = np.random.default_rng(0).integers(0, 9, (60, 80, 4), dtype=np.uint8)
    for alpha, mode in (255, "RGB"), (0, "RGBA"):
        pixels[..., 3] = 255
        pixels[0, 0, 3] = alpha
        png = png_text(pixels)
        packed = no._packed(png)
        picture = Image.open(io.BytesIO(base64.b64decode(packed)))
        assert len(packed) < len(png) and picture.mode == mode
        np.testing.assert_array_equal(np.asarray(picture.convert("RGBA")), pixels)


def test_a_picture_that_loses_little_is_reduced_before_one_that_loses_much(monkeypatch):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    few = 32 + 64 * rng.integers(0, 4, (90, 120, 3)) + rng.integers(-3, 4, (90, 120, 3))
    few = few.astype(np.uint8)  # 64 colours, nearly
    alt = {"image/png": {"alt": "noise in all colours"}}
    cells = [
        nbformat.v4.new_code_cell("x", outputs=[
            nbformat.v4.new_output("display_data", {"image/png": png_text(p)}, metadata=alt)
        ])
        for p in (noise, few)
    ]  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=cells)
    packed = sum(len(no._packed(png_text(p))) for p in (noise, few))
    monkeypatch.setattr(no, "MAX_BYTES", packed)  # one of the two must go
    no.clean_outputs(notebook, "01_a")
    pngs = [base64.b64decode(cell.outputs[0].data["image/png"]) for cell in notebook.cells]
    assert [Image.open(io.BytesIO(png)).mode for png in pngs] == ["RGB", "P"]


def test_a_failing_cell_is_named(sources, tmp_path):
    notebook = bn.build(sources[0], sources)
    notebook.cells[2] = nbformat.v4.new_code_cell("1 / 0")
    with pytest.raises(no.OutputProblem, match="01_a, cell 2 of 4: ZeroDivisionError"):
        no.execute(notebook, tmp_path, "01_a")


def test_problems_that_must_not_be_committed_are_found():
    noise = np.random.default_rng(0).bytes(900_000)
    png = base64.b64encode(noise).decode()
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
