"""Build the course as a web site from the committed notebooks: build/book/index.html.

    python notebooks/make/book.py        or: make book

Nothing is executed; pages show the committed outputs. Any warning of Sphinx (a link that leads
nowhere, a page in no table of contents) makes the build fail.
"""

from __future__ import annotations

import base64
import hashlib
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from build import ROOT, repository

STAGE, OUT = ROOT / "build" / "book-source", ROOT / "build" / "book"
START = "README.md"  # becomes index.md
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>(?!!\[)[^\]]*)\]\((?P<target>[^)\s]+)\)")
CONFIG = {
    "project": "Two-stream action recognition",
    "author": "The course authors",  # the theme's footer names them
    "extensions": ["myst_nb", "book"],
    "html_theme": "sphinx_book_theme",
    "html_title": "Two-stream action recognition",
    "html_copy_source": False,
    "html_show_sphinx": False,
    # The sidebar has the search already.
    "html_theme_options": {"use_download_button": False, "navbar_persistent": []},
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
@media (max-width: 40rem) {
  table.table { display: block; overflow-x: auto; }
  table.table td { min-width: 4.5rem; }
  table.table td:first-child { min-width: 0; }
  table.table td:nth-child(3) { min-width: 9rem; }
}
"""


def pages(root: Path = ROOT) -> dict[str, list[str]]:
    """The pages under their captions in the table of contents, as paths inside the repository."""

    def found(pattern: str) -> list[str]:
        return sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))

    return {
        "Notebooks": found("notebooks/[0-9]*.ipynb"),
        "Reference": [*found("docs/[a-z]*.md"), *found("notebooks/[a-z]*.md")],
        "Contributing": ["docs/CONTRIBUTING.md", "notebooks/source/README.md"],
        "Solutions": found("notebooks/solutions/[0-9]*.ipynb"),
    }


def rewrite_links(text: str, page: str, known: set[str], address: str | None = None) -> str:
    """``text`` of ``page`` with links that hold inside the book.

    The README is the start page. Files of the repository that are no pages of the book become
    links to ``address`` (``owner/name`` on GitHub), or plain text where there is none.
    """

    def moved(match: re.Match) -> str:
        target, mark, fragment = match["target"].partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        if path == START:
            index = posixpath.relpath("index.md", posixpath.dirname(page) or ".")
            return f"[{match['text']}]({index}{mark}{fragment})"
        if not target or re.match(r"[a-z]+:", target) or match["picture"] or path in known:
            return match[0]
        outside = f"[{match['text']}](https://github.com/{address}/blob/main/{path})"
        return outside if address else match["text"]

    return LINK.sub(moved, text)


def stage(root: Path, folder: Path) -> None:
    """Copy what the book is made of to ``folder``, with links rewritten. Replaces the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    contents, address = pages(root), repository()
    known = {START, *(page for part in contents.values() for page in part)}
    for page in known:
        target = folder / ("index.md" if page == START else page)
        target.parent.mkdir(parents=True, exist_ok=True)
        if page.endswith(".ipynb"):
            notebook = nbformat.read(root / page, as_version=4)
            if "/solutions/" in page:
                notebook.metadata["nosearch"] = True  # who searches isn't served the answers
            for cell in notebook.cells:
                if cell.cell_type == "markdown":
                    cell.source = rewrite_links(cell.source, page, known, address)
            nbformat.write(notebook, target)
            continue
        text = rewrite_links((root / page).read_text(encoding="utf-8"), page, known, address)
        for caption, part in contents.items() if page == START else ():
            entries = "\n".join(entry.rsplit(".", 1)[0] for entry in part)
            text += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n"
        target.write_text(text, encoding="utf-8")
    shutil.copytree(root / "notebooks" / "figures", folder / "notebooks" / "figures")
    settings = "".join(f"{name} = {value!r}\n" for name, value in CONFIG.items())
    scripts = f"import sys\n\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    (folder / "conf.py").write_text(scripts + settings, encoding="utf-8")
    (folder / "_static").mkdir()
    (folder / "_static" / "course.css").write_text(CSS, encoding="utf-8")


def setup(app) -> dict:
    """Sphinx extension: carry over the alt texts of outputs, which MyST-NB does not read.

    It names a figure by the SHA-256 of its bytes.
    """
    from docutils import nodes

    texts = {}
    for path in Path(app.srcdir).glob("notebooks/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                for kind, metadata in output.get("metadata", {}).items():
                    data = base64.b64decode(output.data.get(kind, ""))
                    texts[hashlib.sha256(data).hexdigest()] = metadata.get("alt", "")

    def add_alt(_app, document) -> None:
        for image in document.findall(nodes.image):
            image.setdefault("alt", texts.get(Path(image["uri"]).stem, ""))

    app.connect("doctree-read", add_alt)
    return {"parallel_read_safe": True}


def build(root: Path = ROOT, out: Path = OUT, folder: Path = STAGE) -> int:
    """Build the site of ``root`` into ``out``, staged in ``folder``; return 0 if all is well."""
    stage(root, folder)
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
    return subprocess.run([*command, "-d", folder / ".doctrees", folder, out]).returncode


def main() -> int:
    """Build the book. It needs more than the course does: ``pip install -e '.[book]'``."""
    if failed := build():
        return failed
    print(f"wrote {(OUT / 'index.html').relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
