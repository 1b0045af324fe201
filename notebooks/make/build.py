"""Build the notebooks from notebooks/source/*.md.

One source makes two notebooks: the one to work in, where each solution is a stub, and its twin in
notebooks/solutions/ with the exercises solved. The title, the question, the badge, the index of the
course and the link to the next notebook come from the sources' front matter, and the first mention
of a term links to the glossary.

    python notebooks/make/build.py --execute          all, with fresh outputs
    python notebooks/make/build.py 02 05 --execute    two of them
    python notebooks/make/build.py                    all, keeping outputs of equal cells

How a source is written: notebooks/source/README.md.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import jupytext
import nbformat
import yaml
from glossary import TermLinker, read_terms
from index import ROOT, index_table, write_blocks
from outputs import OutputProblem, clean_outputs, execute, write_notebook

NOTEBOOKS = ROOT / "notebooks"
SOURCES = NOTEBOOKS / "source"

BEGIN, END = "# solution: begin", "# solution: end"
STUB = 'raise NotImplementedError("your turn")'
PROSE = re.compile(r"<!-- solution: begin -->\n(.*?)<!-- solution: end -->\n?", re.DOTALL)
INDEX_MARK = "<!-- course-index -->"
# The start of a set-up cell once the course has an address. Only Colab runs the indented lines.
BOOT = """\
# @title Set-up
import sys
from importlib.util import find_spec

if "google.colab" in sys.modules and not find_spec("twostream_utils"):  # fetch the course, once
    !test -d {folder} || git clone --quiet --depth 1 https://github.com/{repository}
    %run {folder}/notebooks/make/colab_boot.py

"""
BOOT_END = "/notebooks/make/colab_boot.py\n\n"
# JupyterLab and Colab show such a cell as one line to click at; its output stays in view.
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


class SourceProblem(ValueError):
    """A source file that cannot become a notebook; the message names file and place."""


@dataclass(frozen=True)
class Source:
    """One source file: its stem ``NN_topic``, front matter, and text without front matter."""

    path: Path
    title: str
    question: str
    learn: list[str]
    before: str
    minutes: int
    text: str = field(repr=False)

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def number(self) -> str:
        return self.stem[:2]

    @property
    def exercises(self) -> int:
        """Number of exercises: headings ``### Exercise …``."""
        return len(re.findall(r"^### Exercise\b", self.text, flags=re.MULTILINE))


def read_source(path: Path) -> Source:
    """Read a source. Raises ``SourceProblem`` for a bad name or missing front matter."""
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem):
        raise SourceProblem(f"{path}: name it NN_topic.md, with two digits")
    match = re.match(r"---\n(.*?)\n---\n(.*)", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    if match is None:
        raise SourceProblem(f"{path}: starts without front matter (--- title: … ---)")
    front = yaml.safe_load(match[1])
    wanted = {"title", "question", "learn", "before", "minutes"}
    if not isinstance(front, dict) or set(front) != wanted:
        raise SourceProblem(f"{path}: front matter needs exactly {', '.join(sorted(wanted))}")
    return Source(path, text=match[2].strip("\n") + "\n", **front)


def read_sources(folder: Path = SOURCES) -> list[Source]:
    """All sources in order. Raises ``SourceProblem`` if there are none."""
    sources = [read_source(path) for path in sorted(folder.glob("[0-9]*.md"))]
    if not sources:
        raise SourceProblem(f"no notebook source NN_topic.md in {folder}")
    return sources


def repository() -> str | None:
    """``owner/name`` of the course, from ``[project.urls]`` of pyproject.toml, if it is set."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r'^Repository = "https://github\.com/([^"]+)"', text, flags=re.MULTILINE)
    return match[1].removesuffix("/") if match else None


def badge(source: Source) -> str:
    """The badge that opens a notebook in Colab, once the course has an address."""
    if not repository():
        return ""
    address = f"https://colab.research.google.com/github/{repository()}/blob/main/notebooks"
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({image})]({address}/{source.stem}.ipynb)"


def head_cell(source: Source, solved: bool) -> str:
    """First cell: title, badge, the question. The figure of the chapter follows it."""
    title = f"# {source.number} · {source.title}" + (" (solutions)" if solved else "")
    work = f"The notebook without solutions: [{source.stem}](../{source.stem}.ipynb)."
    parts = [title, work if solved else badge(source), f"*{source.question}*"]
    return "\n\n".join(filter(None, parts))


def plan_cell(source: Source) -> str:
    """The cell before the set-up: what one learns, what comes before, how long it takes."""
    parts = ["**You will learn**", "\n".join(f"- {item}" for item in source.learn)]
    parts += [f"**Before this:** {source.before}. **Time:** about {source.minutes} minutes."]
    return "\n\n".join(parts)


def foot_cell(source: Source, sources: list[Source], solved: bool) -> str:
    """Last cell: solutions, and the link to the next notebook."""
    parts = ["---"]
    if source.exercises and not solved:
        parts.append(f"Stuck? Solutions: [solutions/{source.stem}](solutions/{source.stem}.ipynb).")
    following = "this was the last notebook; go back to any you skipped."
    if later := [other for other in sources if other.stem > source.stem]:
        following = f"[{later[0].number} · {later[0].title}]({later[0].stem}.ipynb)"
    return "\n\n".join([*parts, f"**Next:** {following}"])


def stub_code(code: str, where: str) -> str:
    """Replace each solution between the markers by one line that raises, equally indented."""
    block = rf"^( +){BEGIN}\n.*?^\1{END}$"
    stub = re.sub(block, rf"\1{STUB}", code, flags=re.MULTILINE | re.DOTALL)
    if BEGIN in stub or END in stub:
        raise SourceProblem(
            f"{where}: '{BEGIN}' needs its '{END}', both equally far inside a function"
        )
    return stub


def solve_code(code: str) -> str:
    """Drop the markers, and make every check at the start of a line one that must pass."""
    kept = "\n".join(line for line in code.split("\n") if line.strip() not in (BEGIN, END))
    return re.sub(r"^(check\.\w+\()", r"assert \1", kept, flags=re.MULTILINE)


def move_links(text: str) -> str:
    """Make relative links right for a notebook one folder further down."""

    def moved(match: re.Match) -> str:
        target = match[2]
        if re.match(r"[a-z]+:|#|\d\d_\w+\.ipynb", target):
            return match[0]
        return f"{match[1]}../{target}"

    return re.sub(r"(\]\(|src=\")([^)\s\"]+)", moved, text)


def build(source: Source, sources: list[Source], solved: bool = False) -> nbformat.NotebookNode:
    """Build one notebook without outputs; ``solved`` gives the twin with solutions."""
    body = jupytext.reads(source.text, fmt="md").cells
    name = repository()
    boot = BOOT.format(repository=name, folder=name.split("/")[1]) if name else ""
    link_terms = TermLinker(read_terms())
    cells = [nbformat.v4.new_markdown_cell(head_cell(source, solved))]
    for number, cell in enumerate(body, start=1):
        tags = list(cell.metadata.get("tags", []))
        if "setup" in tags:
            plan = move_links(plan_cell(source)) if solved else plan_cell(source)
            cells.append(nbformat.v4.new_markdown_cell(plan))
        if cell.cell_type == "code":
            stub = stub_code(cell.source, f"{source.path}, cell {number}")
            code = solve_code(cell.source) if solved else stub
            new = nbformat.v4.new_code_cell(boot + code if "setup" in tags else code)
            if "setup" in tags:
                new.metadata |= FOLDED
        else:
            text = PROSE.sub(r"\1" if solved else "", cell.source + "\n").rstrip("\n")
            text = link_terms(text).replace(INDEX_MARK, index_table(sources))
            new = nbformat.v4.new_markdown_cell(move_links(text) if solved else text)
        if tags:
            new.metadata["tags"] = tags
        cells.append(new)
    cells.append(nbformat.v4.new_markdown_cell(foot_cell(source, sources, solved)))
    for number, cell in enumerate(cells):
        cell["id"] = f"{source.number}-{number:03d}"
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def keep_outputs(notebook: nbformat.NotebookNode, old_path: Path) -> bool:
    """Copy outputs of the committed notebook if all its code is the same; say whether it was.

    Boot lines do nothing where notebooks are built, so with others the outputs are the same.
    """
    old = nbformat.read(old_path, as_version=4) if old_path.exists() else notebook
    pairs = [[cell for cell in each.cells if cell.cell_type == "code"] for each in (notebook, old)]
    ours, theirs = ([cell.source.split(BOOT_END)[-1] for cell in cells] for cells in pairs)
    if ours != theirs:
        return False
    for mine, other in zip(*pairs, strict=True):
        mine.outputs, mine.execution_count = other.outputs, other.execution_count
    return old is not notebook


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("numbers", nargs="*", metavar="NN", help="which ones (default: all)")
    parser.add_argument("--execute", action="store_true", help="run them and keep the outputs")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TWOSTREAM_PROFILE", "mini")
    try:
        sources = read_sources()
        unknown = set(options.numbers) - {source.number for source in sources}
        if unknown:
            raise SourceProblem(f"no source for {', '.join(sorted(unknown))} in {SOURCES}")
        for source in sources:
            if options.numbers and source.number not in options.numbers:
                continue
            path = NOTEBOOKS / f"{source.stem}.ipynb"
            notebook = build(source, sources)
            if options.execute:
                execute(notebook, NOTEBOOKS, label=source.stem)
                clean_outputs(notebook, source.stem)
            elif not keep_outputs(notebook, path):
                print(f"{source.stem}: code changed, outputs dropped; run again with --execute")
            write_notebook(notebook, path)
            write_notebook(build(source, sources, solved=True), NOTEBOOKS / "solutions" / path.name)
        blocks = {"badge": badge(sources[0]), "index": index_table(sources, "notebooks/")}
        write_blocks(ROOT / "README.md", blocks)
    except KeyboardInterrupt:
        print("\nStopped. Notebooks that were done are written.", file=sys.stderr)
        return 130
    except (SourceProblem, OutputProblem) as problem:
        print(textwrap.indent(str(problem), "  "), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
