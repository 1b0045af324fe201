"""The generator of the mini set."""

from .generate import make_mini

__all__ = ["make_mini"]
