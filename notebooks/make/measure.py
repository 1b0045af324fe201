"""Measure how the chapters are written: a table, a row a chapter and one for all.

    python notebooks/make/measure.py                    the sources as they lie here
    python notebooks/make/measure.py --against main     and those of another commit, before them

Code is that of the solved notebooks; blank lines and comments don't count. The columns:

module    cells of 100 that call the module: a name imported from it, or `c` of the set-up cell
          (`show` doesn't count: it stands for plt.show)
own       lines of functions and classes that the chapter defines, as statements in its cells
imports   project modules in the set-up cell
nodes, loops, specs   AST nodes a line; comprehensions and format specs on 100 lines
print     lines of 100 that print or plot (statements that call print, show, plt, axes, figures)
heads, cells   headings and cells of the source
measuring, we  words of measuring, and `we`, `our`, `let's`, on 1,000 words of prose
drawn, links, build   figures from notebooks/figures, links to the web, build exercises
not shown  rows of that verdict in the committed outputs
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass, field

import jupytext
from build import solve_code
from index import ROOT

SOURCES = "notebooks/source"
MEASURING = re.compile(
    r"\b(?:confidence|interval|bootstrap|paired|resampl\w*|significan\w*|seeds?|(?:not )?shown|"
    r"standard (?:error|deviation)|McNemar\w*|percentiles?|intervals|by chance)\b",
    re.IGNORECASE,
)
US = re.compile(r"\b(?:we|our|ours|us|let[’']s)\b", re.IGNORECASE)
FIGURE = r"(?:plt|fig|figure|ax|axes|axis|axs|left|right)"
PLOTTING = re.compile(rf"^(?:print|show|display|{FIGURE}\b[\w.\[\], ]*\.\w+)$")
NETWORKS = {
    "stacks", "first_layer", "spatial_stream", "temporal_stream", "average_fusion", "conv_fusion",
}  # fmt: skip
COMPREHENSIONS = ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp


@dataclass
class Chapter:
    """What one source holds, counted."""

    code_cells: int = 0
    module_cells: int = 0
    own: int = 0
    imports: int = 0
    lines: int = 0
    nodes: int = 0
    loops: int = 0
    specs: int = 0
    plots: int = 0
    heads: int = 0
    cells: int = 0
    words: int = 0
    measuring: int = 0
    us: int = 0
    drawn: int = 0
    links: int = 0
    build: int = 0
    not_shown: int = 0
    known: set[str] = field(default_factory=set, repr=False)

    def row(self) -> list[float]:
        lines, words = max(self.lines, 1), max(self.words, 1)
        return [
            100 * self.module_cells / max(self.code_cells, 1), self.own, self.imports,
            self.nodes / lines, 100 * self.loops / lines, 100 * self.specs / lines,
            100 * self.plots / lines, self.heads, self.cells, 1000 * self.measuring / words,
            1000 * self.us / words, self.drawn, self.links, self.build, self.not_shown,
        ]  # fmt: skip


COLUMNS = [
    "module", "own", "imports", "nodes", "loops", "specs", "print", "heads", "cells", "measuring",
    "we", "drawn", "links", "build", "not shown",
]  # fmt: skip
DECIMALS = [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0]


def git(*words: str) -> str:
    """What git prints. Raises ``CalledProcessError``."""
    return subprocess.run(
        ["git", *words], cwd=ROOT, check=True, capture_output=True, text=True, encoding="utf-8"
    ).stdout


def read(revision: str | None, folder: str, ending: str) -> dict[str, str]:
    """Texts of the numbered files of a folder, by stem; of a commit if one is given."""
    if revision is None:
        paths = sorted((ROOT / folder).glob(f"[0-9][0-9]_*{ending}"))
        return {path.stem: path.read_text(encoding="utf-8") for path in paths}
    names = git("ls-tree", "--name-only", f"{revision}:{folder}").split()
    names = [name for name in names if re.fullmatch(rf"\d\d_\w+\{ending}", name)]
    return {n.removesuffix(ending): git("show", f"{revision}:{folder}/{n}") for n in names}


def code_lines(text: str) -> int:
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") for line in text.split("\n")
    )


def called(node: ast.AST) -> set[str]:
    """First names of all that is called inside a node: `c` of ``c.store.rgb(clip, 1)``."""
    roots = set()
    for call in ast.walk(node):
        root = call.func if isinstance(call, ast.Call) else None
        while isinstance(root, (ast.Attribute, ast.Subscript, ast.Call)):
            root = root.func if isinstance(root, ast.Call) else root.value
        if isinstance(root, ast.Name):
            roots.add(root.id)
    return roots


def plotting_lines(tree: ast.AST) -> int:
    """Lines of the innermost statements that print or plot."""
    rows: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or hasattr(node, "body"):
            continue
        calls = [ast.unparse(c.func) for c in ast.walk(node) if isinstance(c, ast.Call)]
        if any(PLOTTING.match(call) for call in calls):
            rows |= set(range(node.lineno, node.end_lineno + 1))
    return len(rows)


def count_code(chapter: Chapter, text: str, setup: bool) -> None:
    """Add one solved code cell."""
    text = re.sub(r"^\s*[%!].*$", "", text, flags=re.MULTILINE)
    tree = ast.parse(text)
    chapter.code_cells += 1
    names = set()
    for node in ast.walk(tree):
        module = getattr(node, "module", None) or ""
        if isinstance(node, ast.ImportFrom) and module.startswith("twostream_utils"):
            chapter.known |= {alias.asname or alias.name for alias in node.names}
            names |= {a.name for a in node.names} if module == "twostream_utils" else {module}
    chapter.known.discard("show")
    chapter.imports += len(names) if setup else 0
    chapter.module_cells += bool(called(tree) & chapter.known)
    chapter.known |= {"c"} if setup else set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            chapter.own += code_lines(ast.get_source_segment(text, node))
    chapter.lines += code_lines(text)
    for node in ast.walk(tree):
        chapter.nodes += 1
        chapter.loops += isinstance(node, COMPREHENSIONS)
        chapter.specs += isinstance(node, ast.FormattedValue) and node.format_spec is not None
    chapter.plots += plotting_lines(tree)


def count_prose(chapter: Chapter, text: str) -> None:
    """Add one Markdown cell."""
    chapter.heads += len(re.findall(r"^#+ ", text, flags=re.MULTILINE))
    chapter.drawn += len(re.findall(r"figures/\w+\.(?:svg|webp|gif|png)", text))
    chapter.links += len(re.findall(r"\]\(https?://", text))
    chapter.build += len(re.findall(r"^### Exercise\b.*\bbuild\b", text, re.MULTILINE | re.I))
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|<[^>]*>|^    .*$", " ", text, flags=re.MULTILINE)
    words = re.findall(r"[A-Za-z][\w’'-]*", text)
    chapter.words += len(words)
    chapter.measuring += len(MEASURING.findall(text))
    chapter.us += len(US.findall(text))


def measure(text: str, notebook: str) -> Chapter:
    """Count one source (with its front matter) and the outputs of its notebook."""
    chapter = Chapter()
    body = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    for cell in jupytext.reads(body, fmt="md").cells:
        chapter.cells += 1
        if cell.cell_type == "code":
            count_code(chapter, solve_code(cell.source), "setup" in cell.metadata.get("tags", []))
        else:
            count_prose(chapter, cell.source)
    for cell in json.loads(notebook)["cells"] if notebook else ():
        for output in cell.get("outputs", []):
            said = [*output.get("text", ""), "\n", *output.get("data", {}).get("text/plain", "")]
            named = re.findall(r"\bnot shown\b(?:: (.+))?", "".join(said))
            chapter.not_shown += sum(names.count(", ") + 1 for names in named)
    return chapter


def total(chapters: list[Chapter]) -> list[float]:
    """The row of several chapters as if they were one."""
    whole = Chapter()
    for name in vars(whole).keys() - {"known"}:
        setattr(whole, name, sum(getattr(chapter, name) for chapter in chapters))
    return whole.row()


def table(revision: str | None) -> str:
    """The table of a commit, or of the files as they lie here."""
    sources, notebooks = read(revision, SOURCES, ".md"), read(revision, "notebooks", ".ipynb")
    chapters = {stem: measure(text, notebooks.get(stem, "")) for stem, text in sources.items()}
    rows = {stem[:2]: chapter.row() for stem, chapter in chapters.items()}
    networks = [chapters[stem].row() for stem in chapters if stem[3:] in NETWORKS]
    others = [chapter for stem, chapter in chapters.items() if stem[3:] != "results"]
    rows["median"] = [statistics.median(column) for column in zip(*rows.values(), strict=True)]
    rows["03-08, median"] = [statistics.median(column) for column in zip(*networks, strict=True)]
    rows["without 09"] = total(others)
    rows["all"] = total(list(chapters.values()))
    lines = [" ".join([f"{'':<13}", *(f"{name:>9}" for name in COLUMNS)])]
    for name, row in rows.items():
        cells = (f"{value:9.{digits}f}" for value, digits in zip(row, DECIMALS, strict=True))
        lines.append(" ".join([f"{name:<13}", *cells]))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", metavar="REV", help="a commit to measure first")
    options = parser.parse_args()
    if options.against:
        try:
            print(f"{options.against}\n{table(options.against)}\n")
        except subprocess.CalledProcessError as error:
            print(error.stderr.strip(), file=sys.stderr)
            return 1
    print(table(None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
