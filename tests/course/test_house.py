"""The rules of the house: a small core, wings that import downwards, cells that are the module."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "twostream_utils"
CORE = sorted(PACKAGE.glob("*.py"))
# What each wing may import beside itself and the core.
BELOW = {
    "data": set(),
    "mini": {"data"},
    "lab": {"data", "mini"},
    "experiments": {"lab", "data", "mini"},
}
NOTEBOOKS = sorted((ROOT / "notebooks" / "solutions").glob("[0-9]*.ipynb"))


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, anywhere in it."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*start, *([node.module] if node.module else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def wings(path: Path) -> set[str]:
    parts = [name.split(".") for name in imports(path)]
    return {p[1] for p in parts if p[0] == "twostream_utils" and len(p) > 1 and p[1] in BELOW}


def test_the_core_is_small():
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in CORE)
    assert len(CORE) <= 15 and lines <= 2500, f"{len(CORE)} files, {lines} lines"


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_the_core_stands_alone(path):
    assert not wings(path)
    outside = {name.split(".")[0] for name in imports(path)}
    assert not outside & {"matplotlib", "ipywidgets", "IPython"}


@pytest.mark.parametrize("wing", BELOW)
def test_wings_import_downwards(wing):
    for path in (PACKAGE / wing).rglob("*.py"):
        assert wings(path) <= {wing} | BELOW[wing], path


def cells(path: Path) -> list[str]:
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_set_up_cell_is_short(path):
    """NumPy, torch, the core, the lab, and the word; all else is imported where it is used."""
    book = nbformat.read(path, as_version=4)
    (setup,) = (c.source for c in book.cells if "setup" in c.metadata.get("tags", []))
    lines = [line for line in setup.splitlines() if line.strip()]
    assert len(lines) <= 6, setup
    allowed = {"numpy", "torch", "twostream_utils", "twostream_utils.lab"}
    for node in ast.parse(setup).body:
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom):
            assert node.module in allowed


def definitions(source: str) -> dict[str, str]:
    """Top-level functions and classes by name, as code without docstrings and comments."""
    found = {}
    for node in ast.parse(source).body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            continue
        for inner in ast.walk(node):
            body = getattr(inner, "body", None)
            if isinstance(inner, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(inner):
                inner.body = body[1:] or [ast.Pass()]
        found[node.name] = ast.unparse(node)
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_cell_that_builds_a_piece_of_the_core_has_its_text(path):
    core = {}
    for module in CORE:
        core |= definitions(module.read_text(encoding="utf-8"))
    for cell in cells(path):
        try:
            built = definitions(cell)
        except SyntaxError:  # magics
            continue
        for name in built.keys() & core.keys():
            assert built[name] == core[name], f"{name} of {path.name} is not the module's"
