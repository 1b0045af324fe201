"""What a notebook needs and the networks do not: set-up, plots, explorers, checkers."""

from .environment import check_environment
from .plots import show
from .start import ROOT, setup, shown

__all__ = ["ROOT", "check_environment", "setup", "show", "shown"]
