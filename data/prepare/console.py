"""How the commands of this package end: in one line, and with an exit status."""

from __future__ import annotations

from utils.system.errors import UsageError, WorkError
from utils.system.terminal import complain, reason

ENDINGS = (UsageError, WorkError, OSError, KeyboardInterrupt)  # whatever else is raised is a mistake in this package


def ended_by(error: BaseException, command: str, *, left: str = "") -> int:
    """Say on standard error what ended a command, one of ENDINGS; its exit status.

    That is 2 for wrong use or bad input, which was found before any work, and 1 for a fault or an interruption.
    ``left``: what to add about the state in which a fault leaves things.
    """
    if isinstance(error, UsageError):
        complain(command, error)
        return 2
    said = "interrupted" if isinstance(error, KeyboardInterrupt) else reason(error)
    complain(command, f"{said}; {left}" if left else said)
    return 1
