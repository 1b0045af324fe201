"""Terms of the glossary are linked once in each notebook, at a place that can bear a link."""

from __future__ import annotations

import re

import build as bn
from glossary import ENTRY, GLOSSARY, TermLinker, anchor, read_terms
from test_notebooks import SOURCES, built, each

TEXT = GLOSSARY.read_text(encoding="utf-8")
ANCHORS = {anchor(heading) for heading, _ in ENTRY.findall(TEXT)}
LINK = re.compile(r"\]\((?:\.\./)?glossary\.md#([^)]*)\)")


def links(source: bn.Source, solved: bool = False) -> list[str]:
    cells = built(source.stem, solved).cells
    return [found for cell in cells if cell.cell_type == "markdown"
            for found in LINK.findall(cell.source)]  # fmt: skip


def test_entries_are_in_order_and_their_own_links_lead_somewhere():
    headings = re.findall(r"^### (.+)$", TEXT, flags=re.MULTILINE)
    assert headings == [heading for heading, _ in ENTRY.findall(TEXT)]
    assert headings == sorted(headings, key=str.lower) and len(ANCHORS) == len(headings)
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= ANCHORS
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("https://") or (GLOSSARY.parent / target).exists(), target


def test_no_word_leads_to_two_entries():
    words = [heading.lower() for heading, _ in ENTRY.findall(TEXT)]
    for _, also in ENTRY.findall(TEXT):
        words += also.replace("\n", " ").lower().split(", ") if also else []
    assert sorted(words) == sorted(set(words)) == sorted(read_terms())


@each
def test_links_of_a_notebook_and_its_twin_lead_to_entries_once(source):
    for solved in False, True:
        found = links(source, solved)
        assert len(found) >= 3 and len(found) == len(set(found))
        assert set(found) <= ANCHORS


def test_every_term_of_the_field_is_met_in_some_notebook():
    met = {target for source in SOURCES for target in links(source)}
    assert ANCHORS - met <= {"snippet"}  # explained because papers use it; the course says stack


def test_only_the_first_mention_in_open_prose_is_linked():
    link = TermLinker({"stack": "stack", "stacks": "stack", "flow field": "flow-field"})
    closed = "# A stack\n`stack` [stack](a.md) ![a stack](b.png)\n| stack |\n    stack\n<b>\n"
    assert link(closed + "Haystack, stack-wise.") == closed + "Haystack, stack-wise."
    assert link("**Stacks** and a stack") == "**[Stacks](glossary.md#stack)** and a stack"
    assert link("one stack, a flow\nfield") == "one stack, a [flow\nfield](glossary.md#flow-field)"
