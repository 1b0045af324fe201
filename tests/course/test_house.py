"""The rules of the house: a small core, wings that import downwards, cells that are the module."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import build as bn
import jupytext
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
SOURCES = bn.read_sources()
IDS = [source.stem for source in SOURCES]
# What the chapters must build with their own hands.
TAUGHT = {
    "quantise", "decode", "StackDataset", "VGG", "transform_first_layer", "softmax", "late_fusion",
    "fusion_layer", "ConvFusion", "bootstrap_interval", "paired_difference",
}  # fmt: skip


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


def code_cells(source: bn.Source) -> list:
    cells = jupytext.reads(source.text, fmt="md").cells
    return [cell for cell in cells if cell.cell_type == "code"]


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_a_set_up_cell_is_short(source):
    """NumPy, torch, the core, the lab, and the word; all else is imported where it is used."""
    (setup,) = (c.source for c in code_cells(source) if "setup" in c.metadata.get("tags", []))
    lines = [line for line in setup.splitlines() if line.strip()]
    assert len(lines) <= 6, setup
    allowed = {"numpy", "torch", "twostream_utils", "twostream_utils.lab"}
    for node in ast.parse(setup).body:
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom):
            assert node.module in allowed


def definitions(source: str) -> dict[str, str]:
    """Top-level functions and classes by name, as code without docstrings and annotations."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = ast.unparse(Bare().visit(node))
    return found


class Bare(ast.NodeTransformer):
    """Takes out what a cell may leave away, and what `unparse` leaves away: not the code."""

    def visit_FunctionDef(self, node):
        node.returns = None
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)

    visit_ClassDef = visit_FunctionDef

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        """``x: int = 1`` becomes ``x = 1``; without a value it is a field, and stays."""
        if node.value is None:
            return node
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def test_cells_hold_the_cores_text():
    """What a chapter defines under a name of the core is the core's, so its networks are too."""
    core, held = {}, set()
    for module in CORE:
        core |= definitions(module.read_text(encoding="utf-8"))
    for source in SOURCES:
        for cell in code_cells(source):
            code = re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE)
            built = definitions(bn.solve_code(code))
            for name in built.keys() & core.keys():
                assert built[name] == core[name], f"{name} of {source.stem} is not the module's"
                held.add(name)
    assert TAUGHT <= held, f"no chapter defines {', '.join(sorted(TAUGHT - held))}"
