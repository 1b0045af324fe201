"""`make book`: the site builds without a warning, without a dead link, without a silent picture."""

from __future__ import annotations

import importlib.util
import shutil

import book as build_book
import pytest

PAGES = [page for part in build_book.pages().values() for page in part]


def test_every_notebook_twin_and_page_is_in_the_table_of_contents():
    on_disk = {
        path.relative_to(build_book.ROOT).as_posix()
        for folder in ("", "solutions/")
        for path in (build_book.ROOT / "notebooks").glob(f"{folder}[0-9]*.ipynb")
    }
    assert on_disk <= set(PAGES) and len(PAGES) == len(set(PAGES))
    assert all((build_book.ROOT / page).is_file() for page in PAGES)


@pytest.mark.parametrize(
    ("link", "page", "repository", "moved"),
    [
        ("[a](01_a.ipynb#x)", "notebooks/00_b.ipynb", None, "[a](01_a.ipynb#x)"),
        ("[a](README.md#x)", "CONTRIBUTING.md", None, "[a](index.md#x)"),
        ("[a](../README.md)", "notebooks/00_b.ipynb", None, "[a](../index.md)"),
        ("[all](tests)", "README.md", None, "all"),
        ("[all](tests)", "README.md", "o/n", "[all](https://github.com/o/n/blob/main/tests)"),
        ("![p](figures/a.svg)", "notebooks/00_b.ipynb", None, "![p](figures/a.svg)"),
        ("[a](https://x.org/tests)", "README.md", None, "[a](https://x.org/tests)"),
    ],
)
def test_links_hold_inside_the_book(link, page, repository, moved):
    known = {"README.md", "notebooks/01_a.ipynb"}
    assert build_book.rewrite_links(link, page, known, repository) == moved


def test_broken_pages_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="here"></p><a href="b.html#there">x</a><a href="#here">x</a><a href="#gone">x</a>'
        '<a href="c.html">x</a><img src="b.html"><a href="https://elsewhere.org/x">x</a>'
    )
    (tmp_path / "b.html").write_text('<img src="a.html" alt="">')
    problems = build_book.page_problems(tmp_path)
    assert problems == [
        "a.html: b.html has no alt text",
        "a.html: b.html#there names a place that is not on that page",
        "a.html: #gone names a place that is not on that page",
        "a.html: c.html leads nowhere",
        "b.html: a.html has no alt text",
    ]


@pytest.fixture
def sphinx():
    for name in build_book.NEEDED:
        if not importlib.util.find_spec(name):
            pytest.skip(f"{name} is missing; the book needs: pip install -e '.[book]'")


def test_the_book_builds_whole_and_asks_nobody(sphinx, tmp_path):
    out = tmp_path / "book"
    assert build_book.build(out=out, folder=tmp_path / "stage") == []
    for page in PAGES:
        text = (out / page).with_suffix(".html").read_text(encoding="utf-8")
        assert 'src="http' not in text and '<link rel="stylesheet" href="http' not in text, page
    first = (out / "notebooks" / "01_the_data.html").read_text(encoding="utf-8")
    assert first.count("<img") >= 5 and 'href="glossary.html#group"' in first
    assert 'href="notebooks/01_the_data.html"' in (out / "index.html").read_text(encoding="utf-8")


def test_a_dead_reference_fails_the_build(sphinx, tmp_path, capfd):
    root = tmp_path / "course"
    (root / "notebooks" / "source").mkdir(parents=True)
    shutil.copytree(build_book.ROOT / "notebooks" / "figures", root / "notebooks" / "figures")
    for page in (build_book.START, *(page for page in PAGES if page.endswith(".md"))):
        (root / page).write_text("# A page\n", encoding="utf-8")
    folder, out = tmp_path / "stage", tmp_path / "book"
    assert build_book.build(root, out, folder) == []
    (root / "CONTRIBUTING.md").write_text("# A page\n\n[x](#nowhere)\n", encoding="utf-8")
    assert "Sphinx is not content, see above" in build_book.build(root, out, folder)
    assert "nowhere" in capfd.readouterr().err
