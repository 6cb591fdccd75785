"""Stopping a run politely: SIGTERM and SIGINT are noted, and the run ends after the step it is in."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from utils.distributed import World


class Stopped(Exception):
    """The run was asked to stop, by the signal of this number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class StopRequest:
    """Whether a signal came. A second one ends the process at once."""

    def __init__(self, world: World) -> None:
        self.world, self.number = world, 0

    def note(self, number: int, _frame: object) -> None:
        if self.number:
            os._exit(128 + number)
        self.number = number

    def check(self) -> None:
        """Raise Stopped, in all processes at the same call, if a signal reached any of them."""
        number = self.world.largest(self.number)
        if number:
            raise Stopped(number)


@contextmanager
def stop_requests(world: World) -> Iterator[StopRequest]:
    """Note signals within the body; what handled them before does so again afterwards."""
    request = StopRequest(world)
    before = {number: signal.signal(number, request.note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
