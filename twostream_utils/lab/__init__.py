"""What a notebook needs and the networks do not: set-up, plots, explorers, checkers."""

from .plots import show
from .start import ROOT, check_environment, setup, shown

__all__ = ["ROOT", "check_environment", "setup", "show", "shown"]
