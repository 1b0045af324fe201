"""Rows of `make bench` on what the package's imports cost, each in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from measure import ROOT, Sample, Sizes, row, stopwatch


def importing(modules: str) -> Sample:
    """The sample that imports ``modules`` in a fresh process, s."""
    command = [sys.executable, "-c", f"import {modules}"]
    return stopwatch(lambda: subprocess.run(command, cwd=ROOT, check=True), scale=1.0)


@row("import twostream_utils.lab.start", "import torch, torchvision", "s", goal="≥ 0.91", rounds=7)
def import_course(sizes: Sizes) -> Iterator:
    yield importing("twostream_utils.lab.start"), importing("torch, torchvision")
