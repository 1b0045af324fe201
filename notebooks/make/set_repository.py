"""Say where the course is published: the one place, and everything that follows from it.

    python notebooks/make/set_repository.py owner/name

Writes `Repository` under `[project.urls]` of pyproject.toml. From there the badge and the lines
that boot Colab go into every notebook, whose outputs stay, and a badge into the README. Another
name replaces the last one.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import build as bn
from outputs import write_notebook

NAME = re.compile(r"(?:https://github\.com/)?([A-Za-z0-9][A-Za-z0-9-]*/[\w.-]+?)(?:\.git)?/?")
BADGE = re.compile(r"(<!-- badge:begin[^>]*-->\n).*?(<!-- badge:end -->)", re.DOTALL)


def with_address(pyproject: str, repository: str) -> str:
    """Return the text of pyproject.toml with the address of ``owner/name`` in it."""
    line = f'Repository = "https://github.com/{repository}"'
    text, found = re.subn(r"^Repository = .*$", line, pyproject, flags=re.MULTILINE)
    if found:
        return text
    if "[project.urls]\n" in text:
        return text.replace("[project.urls]\n", f"[project.urls]\n{line}\n")
    return text.replace("[tool.setuptools]\n", f"[project.urls]\n{line}\n\n[tool.setuptools]\n", 1)


def set_repository(repository: str, root: Path = bn.ROOT) -> int:
    """Write the address everywhere; return the number of notebooks.

    Raises ``bn.SourceProblem``, before anything is written, for a notebook that is not what its
    source builds: its outputs would be lost.
    """
    sources = bn.read_sources()
    pairs = [(source, bn.NOTEBOOKS / f"{source.stem}.ipynb") for source in sources]
    for source, path in pairs:
        if not bn.keep_outputs(bn.build(source, sources), path):
            raise bn.SourceProblem(f"{path.name} is older than its source: run `make notebooks`")
    readme, pyproject = root / "README.md", root / "pyproject.toml"
    text = readme.read_text(encoding="utf-8")
    if not BADGE.search(text):
        raise bn.SourceProblem(f"{readme.name} has no <!-- badge:begin --> and <!-- badge:end -->")
    written = with_address(pyproject.read_text(encoding="utf-8"), repository)
    pyproject.write_text(written, encoding="utf-8")
    for source, path in pairs:
        notebook = bn.build(source, sources)
        bn.keep_outputs(notebook, path)
        write_notebook(notebook, path)
        write_notebook(
            bn.build(source, sources, solved=True), path.parent / "solutions" / path.name
        )
    badge = bn.badge(repository, sources[0])
    readme.write_text(BADGE.sub(rf"\g<1>{badge}\n\g<2>", text), encoding="utf-8")
    return len(sources)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repository", metavar="owner/name", help="the repository on GitHub")
    given = parser.parse_args(arguments).repository
    match = NAME.fullmatch(given)
    if match is None:
        parser.error(f"{given!r} is not owner/name of a repository on GitHub")
    try:
        count = set_repository(match[1])
    except bn.SourceProblem as problem:
        print(f"  {problem}", file=sys.stderr)
        return 1
    print(f"{match[1]}: pyproject.toml, README.md and {count} notebooks with their solutions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
