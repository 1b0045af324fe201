"""Measure how the chapters are written: a table, a row a chapter and one for all.

    python notebooks/make/measure.py                    the sources as they lie here
    python notebooks/make/measure.py --against FOLDER   before them those of another checkout

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
from collections import Counter
from pathlib import Path

import jupytext
from build import solve_code
from index import ROOT

MEASURING = (
    r"(?i)\b(?:confidence|interval|bootstrap|paired|resampl\w*|significan\w*|seeds?|(?:not )?shown|"
    r"standard (?:error|deviation)|McNemar\w*|percentiles?|intervals|by chance)\b"
)
US = r"(?i)\b(?:we|our|ours|us|let[’']s)\b"
FIGURE = r"(?:plt|fig|figure|ax|axes|axis|axs|left|right)"
PLOTTING = re.compile(rf"^(?:print|show|display|{FIGURE}\b[\w.\[\], ]*\.\w+)$")
LOOPS = ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp
# Column, what is counted for it, on how many of what (none: as it is), decimals.
COLUMNS = [
    ("module", 100, "code cells", 0), ("own", 0, "", 0), ("imports", 0, "", 0),
    ("nodes", 1, "lines", 1), ("loops", 100, "lines", 1), ("specs", 100, "lines", 1),
    ("print", 100, "lines", 0), ("heads", 0, "", 0), ("cells", 0, "", 0),
    ("measuring", 1000, "words", 1), ("we", 1000, "words", 1), ("drawn", 0, "", 0),
    ("links", 0, "", 0), ("build", 0, "", 0), ("not shown", 0, "", 0),
]  # fmt: skip


def row(counts: Counter) -> list[float]:
    return [
        share * counts[name] / max(counts[of], 1) if of else counts[name]
        for name, share, of, _ in COLUMNS
    ]


def code_lines(text: str) -> int:
    return sum(line.strip() != "" and line.lstrip()[0] != "#" for line in text.split("\n"))


def calls(node: ast.AST) -> list[str]:
    """What is called inside a node, such as `c.store.rgb` of ``c.store.rgb(clip, 1)``."""
    return [ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)]


def plotting_lines(tree: ast.AST) -> int:
    """Lines of the innermost statements that print or plot."""
    rows: set[int] = set()
    for node in ast.walk(tree):
        innermost = isinstance(node, ast.stmt) and not hasattr(node, "body")
        if innermost and any(map(PLOTTING.match, calls(node))):
            rows |= set(range(node.lineno, node.end_lineno + 1))
    return len(rows)


def of_code(text: str, setup: bool, known: set[str]) -> Counter:
    """Count one solved code cell; its imports from the module go to ``known``."""
    tree, names = ast.parse(re.sub(r"^\s*[%!].*$", "", text, flags=re.MULTILINE)), set()
    nodes = list(ast.walk(tree))
    for node in nodes:
        module = getattr(node, "module", None) or ""
        if isinstance(node, ast.ImportFrom) and module.startswith("twostream_utils"):
            known |= {alias.asname or alias.name for alias in node.names}
            names |= {a.name for a in node.names} if module == "twostream_utils" else {module}
    known.discard("show")
    counts = Counter({
        "code cells": 1, "imports": setup * len(names),
        "module": any(re.match(r"\w*", call)[0] in known for call in calls(tree)),
        "lines": code_lines(text), "nodes": len(nodes), "print": plotting_lines(tree),
        "loops": sum(isinstance(node, LOOPS) for node in nodes),
        "specs": sum(getattr(node, "format_spec", None) is not None for node in nodes),
        "own": sum(code_lines(ast.get_source_segment(text, node)) for node in tree.body
                   if isinstance(node, (ast.FunctionDef, ast.ClassDef))),
    })  # fmt: skip
    known |= {"c"} if setup else set()
    return counts


def of_prose(text: str) -> Counter:
    """Count one Markdown cell."""
    patterns = {
        "heads": r"^#+ ", "drawn": r"figures/\w+\.(?:svg|webp|gif|png)",
        "links": r"\]\(https?://", "build": r"(?i)^### Exercise\b.*\bbuild\b",
    }  # fmt: skip
    found = {name: len(re.findall(p, text, re.MULTILINE)) for name, p in patterns.items()}
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|<[^>]*>|^    .*$", " ", text, flags=re.MULTILINE)
    words = {"words": r"[A-Za-z][\w’'-]*", "measuring": MEASURING, "we": US}
    return Counter(found | {name: len(re.findall(p, text)) for name, p in words.items()})


def measure(source: Path) -> Counter:
    """Count one source and the outputs of its notebook."""
    counts, known = Counter(), set()
    body = re.sub(r"\A---\n.*?\n---\n", "", source.read_text("utf-8"), flags=re.DOTALL)
    for cell in jupytext.reads(body, fmt="md").cells:
        counts["cells"] += 1
        if cell.cell_type == "code":
            setup = "setup" in cell.metadata.get("tags", [])
            counts += of_code(solve_code(cell.source), setup, known)
        else:
            counts += of_prose(cell.source)
    notebook = source.parents[1] / f"{source.stem}.ipynb"
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            said = [*output.get("text", ""), "\n", *output.get("data", {}).get("text/plain", "")]
            named = re.findall(r"\bnot shown\b(?:: (.+))?", "".join(said))
            counts["not shown"] += sum(names.count(", ") + 1 for names in named)
    return counts


def table(root: Path) -> str:
    """The table of a checkout of the course."""
    sources = sorted((root / "notebooks" / "source").glob("[0-9][0-9]_*.md"))
    chapters = {source.stem: measure(source) for source in sources}
    rows = {stem[:2]: row(counts) for stem, counts in chapters.items()}
    networks = [row(counts) for stem, counts in chapters.items() if "03" <= stem < "09"]
    others = [counts for stem, counts in chapters.items() if stem[3:] != "results"]
    rows["median"] = [statistics.median(column) for column in zip(*rows.values(), strict=True)]
    rows["03-08, median"] = [statistics.median(column) for column in zip(*networks, strict=True)]
    rows["without 09"] = row(sum(others, Counter()))
    rows["all"] = row(sum(chapters.values(), Counter()))
    lines = [" ".join([f"{'':<13}", *(f"{column[0]:>9}" for column in COLUMNS)])]
    for name, values in rows.items():
        cells = (f"{value:9.{column[3]}f}" for value, column in zip(values, COLUMNS, strict=True))
        lines.append(" ".join([f"{name:<13}", *cells]))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", metavar="FOLDER", type=Path, help="a checkout, measured first")
    options = parser.parse_args()
    if options.against:
        print(f"{options.against}\n{table(options.against)}\n")
    print(table(ROOT))


if __name__ == "__main__":
    main()
