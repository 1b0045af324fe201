"""Make a deck of slides a chapter from the committed notebooks: build/slides/index.html.

    python notebooks/make/slides.py                    or: make slides
    python notebooks/make/slides.py --reveal FOLDER    with a copy of reveal.js, for rooms offline

A deck has the first screen, each heading with its first paragraph, the *Before you run it*
questions, cells that define something, figures, takeaways, and the exercises by name. The tag
`slide` adds a code cell with what it printed, `no-slide` leaves a cell out. The slides are
nbconvert's; nothing is executed.
"""

from __future__ import annotations

import argparse
import ast
import html
import re
import shutil
import sys
from pathlib import Path

import nbformat
from build import NOTEBOOKS, ROOT, Source, read_sources
from nbconvert import SlidesExporter
from nbformat import NotebookNode

OUT = ROOT / "build" / "slides"
ASK = re.compile(r"\*\*(Before you run [^*]*):\*\*\s*(.*?)(?=\n\s*\n|\Z)", re.DOTALL)
# nbconvert's page without jQuery, require.js and mermaid: reveal.js is all that slides need.
PAGE = """
{%- extends 'reveal/index.html.j2' -%}
{%- block html_head_js_jquery %}{% endblock -%}
{%- block html_head_js_requirejs %}{% endblock -%}
{%- block html_head_js_mermaidjs %}{% endblock -%}
{%- block html_head_css %}
<style>
.reveal, .reveal .jp-RenderedHTMLCommon { font-size: 24px; }
.reveal h1 { font-size: 1.8em; text-transform: none; }
.reveal h2, .reveal h3 { font-size: 1.4em; text-transform: none; }
.reveal .slides section { text-align: left; }
.reveal img, .reveal .jp-OutputArea-output img {
  width: 100%; max-width: 100%; max-height: 600px; object-fit: contain;
}
.reveal .jp-Cell-inputWrapper + .jp-Cell-outputWrapper img { max-height: 440px; }
.reveal pre {
  font-size: 17px; line-height: 1.3; box-shadow: none; width: 100%; white-space: pre-wrap;
}
</style>
{% endblock -%}
{%- block footer_js %}
<script src="{{ resources.reveal.url_prefix }}/dist/reveal.js"></script>
<script>
Reveal.initialize({
  controls: true, progress: true, hash: true, slideNumber: "c/t", width: 1100, height: 720,
});
</script>
{% endblock -%}
"""


def prose(text: str) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(text)


def paragraphs(text: str) -> list[str]:
    return [part for part in re.split(r"\n\s*\n", text.strip()) if part.strip()]


def defines(code: str) -> bool:
    """Whether a cell defines a function or a class."""
    try:
        body = ast.parse(code).body
    except SyntaxError:  # magics
        return False
    return any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in body)


def with_alt(output: NotebookNode) -> NotebookNode:
    """A figure with its alt text, as HTML: nbconvert leaves out that of a PNG."""
    png = output.get("data", {}).get("image/png")
    if not png:
        return output
    alt = html.escape(output.metadata["image/png"]["alt"])
    data = {"text/html": f'<img src="data:image/png;base64,{png}" alt="{alt}">'}
    return nbformat.v4.new_output("display_data", data)


def figures(cell: NotebookNode) -> list[NotebookNode]:
    return [with_alt(out) for out in cell.outputs if "image/png" in out.get("data", {})]


def parts(code: str, most: int = 28) -> list[str]:
    """``code`` in parts that fit on a slide, ``most`` lines each, cut where it has a blank line."""
    found = [""]
    for block in re.split(r"\n\n+", code):
        longer = f"{found[-1]}\n\n{block}".strip("\n")
        if found[-1] and longer.count("\n") >= most:
            found.append(block)
        else:
            found[-1] = longer
    return found


def of_code(cell: NotebookNode) -> list[NotebookNode]:
    """The slides of a code cell: what it defines, and its figures without the code."""
    tags = cell.metadata.get("tags", [])
    if "no-slide" in tags or "setup" in tags:
        return []
    if "slide" in tags:
        outputs = [with_alt(output) for output in cell.outputs]
        return [nbformat.v4.new_code_cell(cell.source, outputs=outputs)]
    found = []
    if defines(cell.source):
        found += map(nbformat.v4.new_code_cell, parts(cell.source))
    for figure in figures(cell):
        hidden = {"transient": {"remove_source": True}}
        found.append(nbformat.v4.new_code_cell("", outputs=[figure], metadata=hidden))
    return found


def of_prose(text: str) -> list[NotebookNode]:
    """The slides of a Markdown cell: a heading with what follows it, and the question."""
    found, asked = [], ASK.search(text)
    told = paragraphs(text[: asked.start()] if asked else text)
    for k, part in enumerate(told):
        if re.match(r"#+ ", part):
            following = told[k + 1 : k + 2]
            found.append(prose("\n\n".join([part, *following])))
        elif part.startswith("![") and (not k or not re.match(r"#+ ", told[k - 1])):
            found.append(prose(part))
    if asked:
        found.append(prose(f"## {asked[1]}\n\n{asked[2][:1].upper()}{asked[2][1:]}"))
    return found


def deck(notebook: NotebookNode) -> NotebookNode:
    """The slides of a notebook, a cell each."""
    cells, exercises, takeaways = [], [], ""
    inside = False
    for cell in notebook.cells:
        text = cell.source
        if cell.cell_type == "markdown":
            exercises += re.findall(r"^### (Exercise \d.*)$", text, flags=re.MULTILINE)
            begin = re.search(r"^## Takeaways", text, flags=re.MULTILINE)
            if (begin or takeaways) and not inside:  # code may stand between their paragraphs
                at = begin.start() if begin else 0
                end = re.compile(r"^## Exercises|^---$|\*\*Read on", re.MULTILINE)
                takeaways += end.split(text[at:])[0].strip() + "\n\n"
                text = text[:at]
            inside = inside or bool(re.search(r"^## Exercises", cell.source, flags=re.MULTILINE))
        if inside:
            continue
        if cell.cell_type == "code":
            cells += of_code(cell)
        elif not text.startswith("**You will learn**"):
            cells += of_prose(text)
    if takeaways:
        cells.append(prose(takeaways.strip()))
    if exercises:
        cells.append(prose("## Your turn\n\n" + "\n".join(f"- {name}" for name in exercises)))
    for number, cell in enumerate(cells):
        cell["id"] = f"slide-{number:03d}"
        cell.metadata["slideshow"] = {"slide_type": "slide"}
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def write(source: Source, out: Path, reveal: str | None) -> None:
    """Write the deck of one chapter."""
    slides = deck(nbformat.read(NOTEBOOKS / f"{source.stem}.ipynb", as_version=4))
    slides.metadata["title"] = f"{source.number} · {source.title}"
    exporter = SlidesExporter(
        raw_template=PAGE, exclude_input_prompt=True, exclude_output_prompt=True,
        reveal_url_prefix=reveal or "https://unpkg.com/reveal.js@4.6.1",
    )  # fmt: skip
    page, _ = exporter.from_notebook_node(slides)
    # Links to other notebooks lead to their decks.
    page = re.sub(r'href="(\d\d_\w+)\.ipynb"', r'href="\1.html"', page)
    (out / f"{source.stem}.html").write_text(page, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("numbers", nargs="*", metavar="NN", help="which chapters (default: all)")
    parser.add_argument("--reveal", metavar="FOLDER", type=Path, help="a copy of reveal.js")
    options, sources = parser.parse_args(), read_sources()
    if unknown := {*options.numbers} - {source.number for source in sources}:
        parser.error(f"no chapter {', '.join(sorted(unknown))}")
    shutil.rmtree(OUT, ignore_errors=True)
    shutil.copytree(NOTEBOOKS / "figures", OUT / "figures")
    reveal = None
    if options.reveal:
        shutil.copytree(
            options.reveal, OUT / "reveal", ignore=shutil.ignore_patterns("node_modules")
        )
        reveal = "reveal"
    links = []
    for source in sources:
        if options.numbers and source.number not in options.numbers:
            continue
        write(source, OUT, reveal)
        links.append(f'<li><a href="{source.stem}.html">{source.number} · {source.title}</a></li>')
    page = '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Slides</title>'
    page += '<body style="font-family: sans-serif; margin: 3em"><h1>Slides, a deck a chapter</h1>'
    (OUT / "index.html").write_text(f"{page}<ul>{''.join(links)}</ul></body></html>", "utf-8")
    print(f"wrote {(OUT / 'index.html').relative_to(ROOT)}, {len(links)} decks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
