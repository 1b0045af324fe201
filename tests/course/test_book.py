"""`make book`: the site builds without a warning, without a dead link, without a silent figure."""

from __future__ import annotations

import json
import re

import book
import pytest
import slides
from test_notebooks import committed, each

PAGES = [page for part in book.pages().values() for page in part]


@pytest.mark.parametrize(
    ("link", "page", "address", "moved"),
    [
        ("[a](01_a.ipynb#x)", "notebooks/00_b.ipynb", None, "[a](01_a.ipynb#x)"),
        ("[a](../README.md#x)", "docs/a.md", None, "[a](../index.md#x)"),
        ("[a](../README.md)", "notebooks/00_b.ipynb", None, "[a](../index.md)"),
        ("[all](tests)", "README.md", None, "all"),
        ("[all](tests)", "README.md", "o/n", "[all](https://github.com/o/n/blob/main/tests)"),
        ("![p](figures/a.svg)", "notebooks/00_b.ipynb", None, "![p](figures/a.svg)"),
        ("[![p](a.svg)](x.md)", "README.md", None, "[![p](a.svg)](x.md)"),
        ("[a](https://x.org/tests)", "README.md", None, "[a](https://x.org/tests)"),
    ],
)
def test_links_hold_inside_the_book(link, page, address, moved):
    known = {"README.md", "notebooks/01_a.ipynb"}
    assert book.rewrite_links(link, page, known, address) == moved


def test_every_dead_link_is_named_and_fails_the_build(tmp_path, capfd):
    pytest.importorskip("sphinx_book_theme", reason="the book needs: pip install -e '.[book]'")
    root = tmp_path / "course"
    dead = "[x](#no-heading)", "[x](colab.md#elsewhere)", "![x](no.png)"
    for page in book.START, "docs/colab.md", *book.pages(root)["Contributing"]:
        (root / page).parent.mkdir(parents=True, exist_ok=True)
        text = ("# A page", *dead) if page == "docs/CONTRIBUTING.md" else ["# A page"]
        (root / page).write_text("\n\n".join(text), encoding="utf-8")
    (root / "notebooks" / "figures").mkdir()
    assert book.build(root, tmp_path / "book", tmp_path / "stage") != 0
    lines = [line for line in capfd.readouterr().err.splitlines() if "WARNING" in line]
    assert len(lines) == 3 and all("CONTRIBUTING.md" in line for line in lines)
    assert all(name in "".join(lines) for name in ("'no-heading'", "'elsewhere'", "no.png"))


@pytest.mark.slow  # and `make book` of the workflow
def test_the_book_builds_whole_and_asks_nobody(tmp_path):
    pytest.importorskip("sphinx_book_theme", reason="the book needs: pip install -e '.[book]'")
    out = tmp_path / "book"
    assert book.build(out=out, folder=tmp_path / "stage") == 0
    for page in PAGES:
        text = (out / page).with_suffix(".html").read_text(encoding="utf-8")
        assert 'src="http' not in text and '<link rel="stylesheet" href="http' not in text, page
        for figure in re.findall(r"<img [^>]*>", text):
            assert re.search(r'alt="[^"]', figure), f"{page}: {figure} has no alt text"
    first = (out / "notebooks" / "01_get_the_data.html").read_text(encoding="utf-8")
    assert first.count("<img") >= 5 and 'href="glossary.html#group"' in first
    search = (out / "searchindex.js").read_text(encoding="utf-8")
    search = json.loads(search[search.index("(") + 1 : search.rindex(")")])
    solved = {k for k, name in enumerate(search["docnames"]) if "/solutions/" in name}
    pages = search["terms"].values()
    found = {page for some in pages for page in (some if isinstance(some, list) else [some])}
    assert solved and not solved & found, "the search gives solutions away"
    index = (out / "index.html").read_text(encoding="utf-8")
    assert 'href="notebooks/01_get_the_data.html"' in index


@each
def test_a_deck_goes_from_the_question_to_the_exercises_and_gives_no_answer(source):
    notebook = committed(source)
    cells = slides.deck(notebook).cells
    assert cells[0].source.startswith("# ") and 5 <= len(cells) <= 60
    assert sum(len(cell.get("outputs", [])) for cell in cells) >= 1 or source.number == "00"
    shown = [out for cell in cells for out in cell.get("outputs", []) if out.get("data")]
    assert all('alt="' in out.data["text/html"] for out in shown), "a figure without its alt text"
    text = "\n".join(cell.source for cell in cells)
    (takeaways,) = [cell.source for cell in cells if cell.source.startswith("## Takeaways")]
    assert takeaways.count("\n- ") >= 2 and "Read on" not in takeaways
    assert 'your turn")' not in text and "c = setup(" not in text
    assert max(len(cell.source.splitlines()) for cell in cells) <= 28, "more than fits on a slide"
    if "### Exercise 1" in "\n".join(cell.source for cell in notebook.cells):
        assert cells[-1].source.startswith("## Your turn\n\n- Exercise 1")
