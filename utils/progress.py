"""What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from torch import Tensor
from tqdm import tqdm

from utils.engine import FiniteWatch
from utils.log import RunLog


class Reporter:
    """Counts the steps of one phase; reads losses, and says something, every ``every`` steps and at the end."""

    def __init__(self, log: RunLog, name: str, total: int, every: int, first: int = 0, *, patience: int = 1) -> None:
        self.log, self.name, self.total, self.every = log, name, total, every
        self.steps_done, self.watch = first, FiniteWatch(patience)
        hidden = log.folder is None or sys.stderr is None or not sys.stderr.isatty()
        self.bar = tqdm(total=total, initial=first, desc=name, disable=hidden, leave=False)

    def __call__(self, step: int, loss: Tensor | None = None) -> None:
        """Step ``step`` is done, with this loss. Raises NotFiniteError; waits for the device now and then."""
        self.steps_done = step + 1
        if loss is not None:
            self.watch.add(step, loss)
        self.bar.update()
        if self.steps_done % self.every == 0:
            value = self.watch.check()
            shown = "" if value is None else f"  loss {value:.4f}"
            self.log.detail(f"{self.name}  {self.steps_done}/{self.total}{shown}", quiet=not self.bar.disable)

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.bar.close()
        if kind is None:
            self.watch.check()


def epoch_line(epoch: int, epochs: int, record: Mapping[str, float]) -> str:
    """The record of an epoch in one line, without timings, memory and shares."""
    hidden = ("operations/", "inputs/", "time/", "memory/")
    shown = [f"{tag} {value:.5g}" for tag, value in record.items() if not tag.startswith(hidden)]
    return f"epoch {epoch} of {epochs}  {'  '.join(shown)}  {record['time/epoch_s']:.1f} s"
