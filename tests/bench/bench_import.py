"""The row of `make bench` on what importing the course costs, each time in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from measure import ROOT, Sample, Sizes, row, stopwatch


def importing(modules: str) -> Sample:
    """The sample that imports ``modules`` in a fresh process, s."""
    command = [sys.executable, "-c", f"import {modules}"]
    return stopwatch(lambda: subprocess.run(command, cwd=ROOT, check=True), scale=1.0)


# 1.67: at most 0.6 of the baseline's time.
@row("import twostream_utils.course", "import torch, torchvision", "s", goal="≥ 1.67", rounds=7)
def import_course(sizes: Sizes) -> Iterator:
    yield importing("twostream_utils.course"), importing("torch, torchvision")
