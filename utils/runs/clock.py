"""Where the time of a run goes: one clock that is always in exactly one part of the work, so that parts sum to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

DATA, NETWORK, CONTROLLER = "data", "network", "controller"
EVALUATION, WRITING, REST = "evaluation", "writing", "rest"
PARTS = {
    DATA: "waiting for batches and augmenting them",
    NETWORK: "forward, backward and update in training",
    CONTROLLER: "proposing genotypes and learning from their scores",
    EVALUATION: "scoring genotypes, validation",
    WRITING: "log, checkpoints, pictures, report",
    REST: "everything else, the start above all",
}
# What a phase of an epoch does, but for what is clocked within it. A phase that is not here is the rest.
PHASES = {
    **{"weights": NETWORK, "strategy": EVALUATION, "report": EVALUATION},  # of a search
    **{"train": NETWORK, "valid": EVALUATION},  # of a retraining
}
GPU = " A GPU works on while the process goes on: its kernels count where the process next waits for them."


class Clock:
    """Seconds of a run by part, from when it is made. ``now``: reads the time.

    It waits for no device. On a GPU a part is therefore the time that this process spent there, which launches kernels
    and goes on; what they take counts where it next waits for them, mostly at the end of the same phase.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now, self._part, self._since = now, REST, now()
        self._seconds = dict.fromkeys(PARTS, 0.0)

    def enter(self, part: str) -> str:
        """From now on the time is that of ``part``; returns the part that it was until now."""
        now, before = self._now(), self._part
        self._seconds[before] += now - self._since
        self._part, self._since = part, now
        return before

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count a block, but for parts that are entered within it, as ``name``; then go on as before."""
        before = self.enter(name)
        try:
            yield
        finally:
            self.enter(before)

    def waiting(self, batches: Iterable[Any], part: str = DATA) -> Iterator[Any]:
        """The same batches; the time until each of them is there counts as ``part``."""
        left, none = iter(batches), object()  # a mark of its own: a batch may be anything
        while True:
            with self.part(part):
                batch = next(left, none)
            if batch is none:
                return
            yield batch

    def seconds(self) -> dict[str, float]:
        """The seconds of every part until now."""
        self.enter(self._part)  # brings the running part up to date
        return dict(self._seconds)

    def add(self, earlier: Mapping[str, float]) -> None:
        """Count what an earlier part of the same run took."""
        for part in PARTS:  # a file may name parts that there are no more
            self._seconds[part] += earlier.get(part, 0.0)


def percent(seconds: Mapping[str, float]) -> dict[str, float]:
    """The share of every part that took any time, in percent; they sum to 100."""
    total = sum(seconds.values())
    return {part: 100 * value / total for part, value in seconds.items() if value}


def legend(parts: Collection[str], *, gpu: bool) -> str:
    """What the parts in a report are, for its reader."""
    explained = "; ".join(f"*{part}*: {what}" for part, what in PARTS.items() if part in parts)
    text = "The time is that from the start of the command to this report; a resumed run adds up its commands."
    return f"{text} {explained}.{GPU if gpu else ''}"
