"""How a command ends: one line on standard error, and 0, 1 (a fault during the run) or 2 (refused before it)."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from utils.system.errors import UsageError, WorkError
from utils.system.signals import Stopped, stopped_at_once
from utils.system.terminal import complain, open_streams, reason


class Command:
    """Tells refusals from faults: ``started`` is called when everything that can be refused has been.

    ``log``: of the run, an ``utils.reports.log.RunLog``.
    """

    def __init__(self) -> None:
        self.log: Any = None

    def started(self, log: Any) -> None:
        """Note that from here on what goes wrong is a fault. An earlier run of the same command is over."""
        if self.log is not None:
            self.log.close()
        self.log = log


@contextmanager
def command(name: str, *refusals: type[Exception], again: str = "--resume") -> Iterator[Command]:
    """Turn exceptions into one line and an exit status. ``refusals``: those of wrong use besides UsageError.

    ``again``: what goes on where a signal stopped the work.
    The traceback of a fault goes to the run's log.txt, where it helps, not to the user's terminal.
    """
    # Before anything is opened: see there.
    open_streams()
    state = Command()
    try:
        yield state
    except Stopped as stop:
        _end(name, f"{stop}; {again} goes on from here" if stop.resumable else stop, 128 + stop.number)
    except KeyboardInterrupt:
        _end(name, "interrupted", 130)  # 128 + SIGINT, as shells have it
    except (UsageError, *refusals) as error:
        # Until a run has a log nothing was done, and what is wrong is refused; from then on it is a fault.
        _end(name, error, 2 if state.log is None else 1, state.log)
    except Exception as error:
        text = str(error) if str(error).strip() else type(error).__name__
        _end(name, text if state.log is not None else f"{type(error).__name__}: {text}", 1, state.log)
    finally:
        if state.log is not None:
            state.log.close()


def short_command(name: str, work: Callable[[], int | None], *refusals: type[Exception], after_fault: str = "") -> int:
    """The exit status of a command without a run: what ``work`` returns, 1 for a fault, 2 for wrong use.

    ``refusals``: those of wrong use besides UsageError; ``after_fault``: what else is said of a fault.
    """
    try:
        with stopped_at_once():
            return work() or 0
    except (UsageError, *refusals) as error:
        complain(name, reason(error))
        return 2
    except (WorkError, OSError, KeyboardInterrupt) as error:
        complain(name, reason(error) + after_fault)
        return 1


def _end(name: str, message: object, status: int, log: Any = None) -> None:
    details = ""
    if log is not None and log.folder is not None:
        try:
            log.detail(traceback.format_exc(), quiet=True)  # for log.txt alone
            details = f" (details in {log.folder / 'log.txt'})"
        except OSError:
            pass  # the disk may be what failed
    # Several processes share one console.
    rank = os.environ.get("RANK", "0")
    if status == 1 or rank == "0":  # all processes refuse the same
        process = f" (process {rank})" if rank != "0" else ""
        complain(f"{name}{process}", f"{' '.join(str(message).split())}{details}")
    raise SystemExit(status)
