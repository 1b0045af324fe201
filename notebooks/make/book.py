"""Build the course as a web site from the committed notebooks: build/book/index.html.

    python notebooks/make/book.py        or: make book

Nothing is executed; pages show the committed outputs. Any warning of Sphinx (a reference that leads
nowhere, a page in no table of contents) and any broken link or picture without alt text in the
finished pages makes the build fail.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import posixpath
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
from build import repository_url

ROOT = Path(__file__).resolve().parents[2]
STAGE, OUT = ROOT / "build" / "book-source", ROOT / "build" / "book"
START = "README.md"  # becomes index.md
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
NEEDED = "myst_nb", "sphinx_book_theme"
CONFIG = {
    "project": "Two-stream action recognition",
    "extensions": [NEEDED[0], "build_book"],
    "html_theme": NEEDED[1],
    "html_title": "Two-stream action recognition",
    "html_copy_source": False,
    "html_show_sphinx": False,
    "html_theme_options": {
        "show_toc_level": 2,
        "use_download_button": False,
        "navbar_persistent": [],  # the sidebar has the search already
    },
    "html_static_path": ["_static"],
    "html_css_files": ["course.css"],
    "html_context": {"default_mode": "auto"},
    "nb_execution_mode": "off",
    "myst_heading_anchors": 4,
    "nitpicky": True,
    "suppress_warnings": ["myst.header"],  # exercises come as ### under a --- line
}
# Room for wide code. On dark pages the theme dims pictures, which would change flow colours.
CSS = """
.bd-page-width { max-width: 105rem; }
.bd-main .bd-content .bd-article-container { max-width: 66rem; }
html[data-theme="dark"] .bd-content img { filter: none !important; }
div.cell pre { font-size: 0.8rem; }
table.table td:first-child { white-space: nowrap; }
"""


def pages(root: Path = ROOT) -> dict[str, list[str]]:
    """The pages under their captions in the table of contents, as paths inside the repository."""

    def found(pattern: str) -> list[str]:
        return sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))

    return {
        "Notebooks": found("notebooks/[0-9]*.ipynb"),
        "Reference": ["notebooks/glossary.md", "notebooks/for_lecturers.md"],
        "Contributing": ["CONTRIBUTING.md", "notebooks/source/README.md"],
        "Solutions": found("notebooks/solutions/[0-9]*.ipynb"),
    }


def rewrite_links(text: str, page: str, known: set[str], repository: str | None) -> str:
    """``text`` of ``page`` with links that hold inside the book.

    The README is the start page. Files of the repository that are no pages of the book become
    links to ``repository`` (``owner/name`` on GitHub), or plain text where there is none.
    """

    def moved(match: re.Match) -> str:
        target, mark, fragment = match["target"].partition("#")
        if not target or re.match(r"[a-z]+:", target) or match["picture"]:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        if path == START:
            index = posixpath.relpath("index.md", posixpath.dirname(page) or ".")
            return f"[{match['text']}]({index}{mark}{fragment})"
        if path in known:
            return match[0]
        if repository is None:
            return match["text"]
        return f"[{match['text']}](https://github.com/{repository}/blob/main/{path})"

    return LINK.sub(moved, text)


def stage(root: Path = ROOT, folder: Path = STAGE, repository: str | None = None) -> None:
    """Copy what the book is made of to ``folder``, with links rewritten. Replaces the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    contents = pages(root)
    known = {START, *(page for part in contents.values() for page in part)}
    for page in sorted(known):
        target = folder / ("index.md" if page == START else page)
        target.parent.mkdir(parents=True, exist_ok=True)
        if page.endswith(".ipynb"):
            notebook = nbformat.read(root / page, as_version=4)
            for cell in notebook.cells:
                if cell.cell_type == "markdown":
                    cell.source = rewrite_links(cell.source, page, known, repository)
            nbformat.write(notebook, target)
            continue
        text = rewrite_links((root / page).read_text(encoding="utf-8"), page, known, repository)
        if page == START:
            text += "".join(
                f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n"
                + "".join(f"{entry.rsplit('.', 1)[0]}\n" for entry in part)
                + "```\n"
                for caption, part in contents.items()
            )
        target.write_text(text, encoding="utf-8")
    shutil.copytree(root / "notebooks" / "figures", folder / "notebooks" / "figures")
    settings = "".join(f"{name} = {value!r}\n" for name, value in CONFIG.items())
    scripts = f"import sys\n\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    (folder / "conf.py").write_text(scripts + settings, encoding="utf-8")
    (folder / "_static").mkdir()
    (folder / "_static" / "course.css").write_text(CSS, encoding="utf-8")


def alt_texts(folder: Path) -> dict[str, str]:
    """Alt texts of the notebooks' pictures by the SHA-256 of the picture, as MyST-NB names it."""
    found = {}
    for path in folder.glob("notebooks/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                for kind, metadata in output.get("metadata", {}).items():
                    data = base64.b64decode(output.data.get(kind, ""))
                    found[hashlib.sha256(data).hexdigest()] = metadata.get("alt", "")
    return found


def setup(app) -> dict:
    """Sphinx extension: carry alt texts over, which MyST-NB does not read from outputs."""
    from docutils import nodes

    texts = alt_texts(Path(app.srcdir))

    def add_alt(_app, document) -> None:
        for image in document.findall(nodes.image):
            image.setdefault("alt", texts.get(Path(image["uri"]).stem, ""))

    app.connect("doctree-read", add_alt)
    return {"parallel_read_safe": True}


class _Page(HTMLParser):
    """Links, anchors and pictures without alt text of one page."""

    def __init__(self, text: str):
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.silent: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.ids |= {values[name] for name in ("id", "name") if values.get(name)}
        self.targets += [values[name] for name in ("href", "src") if values.get(name)]
        if tag == "img" and not values.get("alt"):
            self.silent.append(values.get("src") or "a picture")


def page_problems(out: Path) -> list[str]:
    """Links and pictures that lead nowhere, and pictures without alt text, page by page."""
    found = {
        path: _Page(path.read_text(encoding="utf-8"))
        for path in sorted(out.rglob("*.html"))
        if "_static" not in path.parts
    }
    problems = []
    for path, page in found.items():
        name = path.relative_to(out).as_posix()
        problems += [f"{name}: {source} has no alt text" for source in page.silent]
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            other = (
                Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            )
            if not other.is_file():
                problems.append(f"{name}: {target} leads nowhere")
            elif parts.fragment and other in found:
                if unquote(parts.fragment) not in found[other].ids:
                    problems.append(f"{name}: {target} names a place that is not on that page")
    return problems


def build(root: Path = ROOT, out: Path = OUT, folder: Path = STAGE) -> list[str]:
    """Build the site of ``root`` into ``out``, staged in ``folder``; return what is wrong."""
    missing = [name for name in ("sphinx", *NEEDED) if not importlib.util.find_spec(name)]
    if missing:
        return [f"the book needs {', '.join(missing)}: pip install -e '.[book]'"]
    stage(root, folder, repository_url())
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
    done = subprocess.run([*command, "-d", folder / ".doctrees", folder, out])
    problems = ["Sphinx is not content, see above"] if done.returncode else []
    return problems + (page_problems(out) if out.is_dir() else [])


def main() -> int:
    problems = build()
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"wrote {(OUT / 'index.html').relative_to(ROOT)}")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
