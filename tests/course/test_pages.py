"""README, docs/ and the other pages: generated blocks hold, links and commands lead somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import build as bn
import pytest
import readme
import run
import torch
from glossary import anchor
from index import index_table, with_block

from twostream_utils.fusion import METHODS
from twostream_utils.vgg import vgg19

ROOT = Path(__file__).resolve().parents[2]
PLACES = "*.md", "docs/*.md", "notebooks/*.md", "notebooks/source/README.md"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for place in PLACES
    for path in sorted(ROOT.glob(place))
}
each = pytest.mark.parametrize("name", PAGES)


def headings(path: Path) -> set[str]:
    found = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {anchor(heading) for heading in found}


@each
def test_links_lead_somewhere(name):
    text = re.sub(r"<!--.*?-->|^    .*$", "", PAGES[name], flags=re.DOTALL | re.MULTILINE)
    for target, mark in re.findall(r"\]\(([^)\s#]*)#?([^)\s]*)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path = (ROOT / name).parent / target if target else ROOT / name
        assert path.exists(), target
        assert not mark or mark in headings(path), f"{target}#{mark}"


@each
def test_commands_and_files_that_a_page_names_are_there(name):
    page = re.sub(r"^```.*?^```$", "", PAGES[name], flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    named = re.findall(r"(?:`|^    )make (?:[A-Z]+=\S+ )*([a-z-]+)", page, flags=re.MULTILINE)
    assert set(named) <= set(targets)
    code = "\n".join(re.findall(r"`[^`]+`|^    .*$", page, flags=re.MULTILINE))
    for path in re.findall(r"\b(?:\w+/)+\w+\.(?:py|md|json)\b", code):
        places = ROOT, ROOT / "twostream_utils"
        assert "NN" in path or any((place / path).exists() for place in places), path
    for module in re.findall(r"python -m (twostream_utils[\w.]+)", code):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module


def test_what_stands_between_markers_is_what_the_scripts_write():
    results = readme.load_results(readme.COMMITTED)
    for name, blocks in readme.pages(results).items():
        for block, text in blocks.items():
            assert with_block(PAGES[name], block, text) == PAGES[name], "notebooks/make/readme.py"
    index = index_table(bn.read_sources(), "notebooks/")
    assert with_block(PAGES["README.md"], "index", index) == PAGES["README.md"], "make notebooks"


def test_the_five_lines_of_the_readme_run():
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGES["README.md"], re.DOTALL | re.MULTILINE)
    names = {"torch": torch, "conv1x1": torch.nn.Conv2d(64, 32, 1)}
    for stream, channels in ("spatial", 30), ("temporal", 100):
        names[stream] = vgg19(channels, num_classes=7, width=1 / 16)
    names |= {"rgb": torch.rand(2, 30, 224, 224), "flow": torch.rand(2, 100, 224, 224)}
    with torch.no_grad():
        exec(code, names)
    assert code.count("(N, 512, 14, 14)") == 3 and names["fused"].shape == (2, 32, 14, 14)
    assert names["both"].shape == (2, 64, 14, 14) and names["scores"].shape == (2, 7)


def test_the_first_screen_is_short_and_its_picture_light():
    assert len(PAGES["README.md"].split()) < 950
    assert len(PAGES["docs/CONTRIBUTING.md"].splitlines()) < 90
    alt, picture = re.findall(r"!\[([^\]]*)\]\((notebooks[^)]+)\)", PAGES["README.md"])[0]
    assert len(alt.split()) > 20 and (ROOT / picture).stat().st_size < 3_000_000


# --- the tables -------------------------------------------------------------------------------

ROW = {"top1": 0.5, "ci95": [0.4567, 0.6], "top5": 1.0, "seconds": 12.3}
RESULTS = {
    "profile": "mini", "split": 1, "n_train": 640, "n_val": 80, "n_test": 280,
    "classes": ["a", "b"], "seed": 0, "torch": "2.9.0", "device": "CPU, 2 threads, float32",
    "methods": dict.fromkeys(METHODS, ROW),
}  # fmt: skip


def test_results_are_in_percent(monkeypatch):
    lines = readme.results_table(RESULTS).splitlines()
    assert len({len(line) for line in lines}) == 1 and len(lines) == 2 + len(METHODS)
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == ["Spatial stream", "50.0", "45.7 – 60.0", "100.0", "12"]
    assert "Spatial stream 50.0 % · Temporal stream 50.0 %" in readme.results_line(RESULTS)
    assert "640 training and 280 test clips" in readme.caption(RESULTS | {"n_val": 0})
    monkeypatch.setattr(readme, "elsewhere", lambda found: (2, dict.fromkeys(METHODS, (0.5, 0.6))))
    assert "the same seed moved them by up to 10.0 points." in readme.results_line(RESULTS)


def test_a_block_needs_its_markers():
    page = with_block("a\n<!-- b:begin (x) -->\nstale\n<!-- b:end -->\nc", "b", "new")
    assert page == "a\n<!-- b:begin (x) -->\nnew\n<!-- b:end -->\nc"
    with pytest.raises(ValueError, match="results:begin"):
        with_block(page, "results", "new")


def test_unfinished_results_are_named(tmp_path):
    path = tmp_path / "results.json"
    with pytest.raises(FileNotFoundError, match="make run"):
        readme.load_results(path)
    path.write_text(json.dumps(RESULTS | {"methods": {"spatial": ROW}}))
    with pytest.raises(ValueError, match="average_fusion, .*, temporal, weighted_fusion"):
        readme.load_results(path)


def test_a_run_says_where_its_time_went():
    methods = {"spatial": {"seconds": 30.0}, "conv_fusion": {"seconds": 90.0}}
    said = run.where_time_went(300.0, 60.0, methods)
    assert said == "minutes: data 1.0, training 1.5, all else 2.5"
