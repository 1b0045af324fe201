"""What a notebook needs and the networks do not: set-up, plots, explorers, checkers."""

import os

# Read when torch is loaded: without it the profiler talks of GPUs on machines that have none.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

from . import kept
from .plots import show
from .start import ROOT, check_environment, setup, shown

__all__ = ["ROOT", "check_environment", "kept", "setup", "show", "shown"]
