"""Signals: a long run notes them and ends after the step it is in; a short command ends at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from utils.system.processes import World  # which imports torch: commands that need none start a second earlier

# GNU timeout, Slurm and torchrun each send a signal to a process and to its whole group: what comes twice within
# this many seconds was sent once.
ONCE = 1.0
STOPPING = ("SIGTERM", "SIGINT", "SIGHUP")  # of schedulers, of Ctrl-C, and of a terminal that closes


class Stopped(KeyboardInterrupt):
    """The work was asked to stop, by the signal of this number; ``resumable``: it can go on from where it stands.

    No Exception: who catches whatever a decoder or a picture raises must not take it for that.
    """

    def __init__(self, number: int, *, resumable: bool = True) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number, self.resumable = number, resumable


class StopRequest:
    """Remember whether a signal came. Another one, more than a second later, ends the process at once."""

    def __init__(self, world: World) -> None:
        self.world, self.number, self.since = world, 0, 0.0

    def note(self, number: int, _frame: object) -> None:
        """Handle a signal: remember it, or end the process if one came before."""
        if not self.number:
            self.number, self.since = number, time.monotonic()
        elif time.monotonic() - self.since > ONCE:
            # At once, without any clean-up: a person has asked twice.
            os._exit(128 + number)

    def check(self) -> None:
        """Raise Stopped, in all processes at the same call, if a signal reached any of them."""
        # A signal may reach one process alone: all of them stop at the same step, or the others wait for it for ever.
        number = self.world.all_reduce_max(self.number)
        if number:
            raise Stopped(number)


@contextmanager
def stop_requests(world: World) -> Iterator[StopRequest]:
    """Note SIGTERM, SIGINT and SIGHUP within the body; what handled them before does so again afterwards.

    A SIGHUP that is ignored already, as `nohup` has it, stays so: the run is meant to outlive its terminal.
    """
    request = StopRequest(world)
    with handled_by(request.note, *_stopping()):
        yield request


@contextmanager
def stopped_at_once() -> Iterator[None]:
    """Raise Stopped within the body as soon as one of these signals comes: there is nothing to go on from."""

    def stop(number: int, _frame: object) -> None:
        raise Stopped(number, resumable=False)

    def once_more(lost: Any) -> None:
        if isinstance(lost.exc_value, Stopped):
            threading.Timer(0.1, os.kill, (os.getpid(), lost.exc_value.number)).start()
        else:
            hook(lost)

    # What is raised within a destructor, Python drops: then the signal is sent again, a moment later.
    hook, sys.unraisablehook = sys.unraisablehook, once_more
    try:
        with handled_by(stop, *_stopping()):
            yield
    finally:
        sys.unraisablehook = hook


def _stopping() -> list[str]:
    """The signals that stop a command here."""
    hangs_up = hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [name for name in STOPPING if name != "SIGHUP" or hangs_up]


@contextmanager
def handled_by(handler: Any, *names: str) -> Iterator[None]:
    """Let a handler take these signals within the body; those of before do so again afterwards."""
    if threading.current_thread() is not threading.main_thread():  # Python lets only that one set handlers
        yield
        return
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    # None is a handler that C code set: it cannot be put back, so the default takes its place.
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
