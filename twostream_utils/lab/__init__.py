"""What a notebook needs and the networks do not: set-up, plots, explorers, checkers."""

import os

# Read when torch is loaded: without it the profiler talks of GPUs on machines that have none.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

from . import kept
from .environment import check_environment
from .flow_plots import liveliest, with_wheel
from .plots import LivePlot, contact_sheet, show
from .results import share, write_results
from .sources import get_data, open_source
from .start import ROOT, choose_profile, setup, shown

__all__ = [
    "LivePlot", "ROOT", "check_environment", "choose_profile", "contact_sheet",
    "get_data", "kept", "liveliest", "open_source", "setup", "share", "show", "shown",
    "with_wheel", "write_results",
]  # fmt: skip
