"""Helpers of the two-stream action-recognition course; import the module you need from here."""

__version__ = "0.1.0"
