"""Print the oldest versions that pyproject.toml allows, of all dependencies, for pip.

    python notebooks/make/floors.py > floors.txt && pip install -r floors.txt

The workflow's "oldest" job runs `make test` on them.
"""

from __future__ import annotations

import re
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def floors(text: str) -> list[str]:
    """Every ``"name>=1.2"`` of pyproject.toml as ``name==1.2.*``; not the build's own."""
    text = text[text.index("[project]") :]
    found = re.findall(r'^ +"([a-z][a-z0-9-]*)>=([0-9.]+)",$', text, flags=re.MULTILINE)
    return [f"{name}=={version}.*" for name, version in found]


if __name__ == "__main__":
    print("\n".join(floors(PYPROJECT.read_text(encoding="utf-8"))))
