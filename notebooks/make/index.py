"""The index of the course as a Markdown table, and the blocks of a page that scripts write."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTE = (
    "Minutes are for studying a notebook with its exercises, our estimate. To run, each takes two "
    "minutes or less on 2 cores in the profile `mini`."
)


def index_table(sources: list, prefix: str = "") -> str:
    """The index with its caption; ``prefix`` goes before each file name."""
    rows = ["| | Notebook | The question it answers | Minutes |", "|---|---|---|--:|"]
    for source in sources:
        link = f"[{source.title}]({prefix}{source.stem}.ipynb)"
        rows.append(f"| {source.number} | {link} | {source.question} | {source.minutes} |")
    return "\n".join(rows) + "\n\n" + NOTE


def with_block(page: str, name: str, block: str) -> str:
    """``page`` with ``block`` between ``<!-- name:begin … -->`` and ``<!-- name:end -->``.

    Raises ``ValueError`` if the page does not have this pair of markers once.
    """
    pattern = rf"(<!-- {name}:begin[^>]*-->\n).*?(<!-- {name}:end -->)"
    inner = block and block + "\n"
    new, count = re.subn(pattern, lambda m: m[1] + inner + m[2], page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"the page needs <!-- {name}:begin --> and <!-- {name}:end --> once")
    return new


def write_blocks(path: Path, blocks: dict[str, str]) -> None:
    """Put each of ``blocks`` between its markers in the page at ``path``."""
    old = page = path.read_text(encoding="utf-8")
    for name, block in blocks.items():
        page = with_block(page, name, block)
    if page != old:
        path.write_text(page, encoding="utf-8")
