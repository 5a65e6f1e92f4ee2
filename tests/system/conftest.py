"""What tests of the catalogue of failures found out is written at the end of the run."""

from tests.lab.tables import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]
