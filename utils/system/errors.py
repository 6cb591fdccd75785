"""How wrong use and faults are told apart: two exceptions for the whole house."""

from __future__ import annotations


class UsageError(Exception):
    """Wrong use or bad input, found before any work: one line on standard error, exit status 2."""


class WorkError(RuntimeError):
    """A fault during the work, after which nothing half-done is left: one line, exit status 1."""


class ReadingError(WorkError):
    """The next batch cannot be read; all steps before it are complete, so that a run can save where it stands."""
