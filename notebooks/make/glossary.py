"""Link the first mention of each glossary term in a notebook to notebooks/glossary.md."""

from __future__ import annotations

import re
from pathlib import Path

GLOSSARY = Path(__file__).resolve().parents[2] / "notebooks" / "glossary.md"
ENTRY = re.compile(r"^### (.+)\n\n(?:\*Also: ([^*]+)\.\*)?", re.MULTILINE)
# Code, links, pictures, tags, headings, tables, indented lines: no place for a link.
CLOSED = re.compile(
    r"(?s:```.*?```)|`[^`]*`|!?\[[^\]]*\]\([^)]*\)|<[^>]+>|^(?:#| *\||    ).*$", re.MULTILINE
)


def anchor(heading: str) -> str:
    """The fragment that GitHub, JupyterLab and Sphinx give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def read_terms(path: Path = GLOSSARY) -> dict[str, str]:
    """Every word that leads to an entry, in small letters, with the entry's anchor."""
    terms = {}
    for heading, also in ENTRY.findall(path.read_text(encoding="utf-8")):
        words = [heading, *(also.replace("\n", " ").split(", ") if also else [])]
        terms |= {word.lower(): anchor(heading) for word in words}
    return terms


class TermLinker:
    """Links terms in the cells of one notebook, given in order: each entry once."""

    def __init__(self, terms: dict[str, str]):
        self.terms = terms
        self.linked: set[str] = set()
        words = sorted(map(re.escape, terms), key=len, reverse=True)
        phrase = "|".join(words).replace(r"\ ", r"\s+")
        self.pattern = re.compile(rf"(?<![\w/-])(?:{phrase})(?![\w-])", re.IGNORECASE)

    def __call__(self, text: str) -> str:
        """``text``, a Markdown cell, with links at first mentions."""
        parts, end = [], 0
        for closed in CLOSED.finditer(text):
            parts += [self.pattern.sub(self._link, text[end : closed.start()]), closed[0]]
            end = closed.end()
        return "".join([*parts, self.pattern.sub(self._link, text[end:])])

    def _link(self, match: re.Match) -> str:
        target = self.terms[re.sub(r"\s+", " ", match[0].lower())]
        if target in self.linked:
            return match[0]
        self.linked.add(target)
        return f"[{match[0]}](glossary.md#{target})"
