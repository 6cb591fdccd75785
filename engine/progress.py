"""What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from torch import Tensor
from tqdm import tqdm

from engine.finite import FiniteWatch
from utils.reports.log import RunLog
from utils.system.errors import ReadingError
from utils.system.signals import Stopped


class ProgressReport:
    """Counts the steps of one phase; reads losses, and says something, every ``every`` steps and at the end."""

    def __init__(self, log: RunLog, name: str, total: int, every: int, first: int = 0, *, patience: int = 1) -> None:
        self.log, self.name, self.total, self.every = log, name, total, every
        self.steps_done, self.watch = first, FiniteWatch(patience)
        hidden = log.silent or sys.stderr is None or not sys.stderr.isatty()  # else its escapes would fill a file
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
            # A bar has it already: then for log.txt alone.
            self.log.detail(f"{self.name}  {self.steps_done}/{self.total}{shown}", quiet=not self.bar.disable)

    def advance(self) -> None:
        """One more step is done, which has no loss."""
        self(self.steps_done)

    def __enter__(self) -> ProgressReport:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.bar.close()
        # Also where the run stops and saves: weights that are not finite must not replace a good checkpoint. Another
        # end of the phase is not to be hidden by a loss.
        if kind is None or issubclass(kind, Stopped | ReadingError):
            self.watch.check()  # those since the last look, however few


LOSSES = ("train/loss", "shared/loss")
SIDES = ("valid", "train", "shared")  # where the measure is taken from; of a search, that of freshly drawn genotypes


def epoch_line(
    epoch: int, epochs: int, record: Mapping[str, float], seconds_left: float, measure: str, unit: str
) -> str:
    """What a person wants of an epoch: what is learned, how well, how fast, how long still.

    ``measure``: the task's, printed with its ``unit``.
    The whole record is in metrics.jsonl and TensorBoard.
    """
    loss = next(tag for tag in LOSSES if tag in record)
    accuracy = next(tag for tag in (f"{side}/{measure}" for side in SIDES) if tag in record)
    speed = record["time/images_per_s"]
    return (
        f"epoch {epoch} of {epochs}  {loss} {record[loss]:.4f}  {accuracy} {record[accuracy]:.2f}{unit}  "
        f"{speed:.{0 if speed >= 10 else 1}f} images/s  {duration(seconds_left)} left"
    )


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``40 s``, ``12 min``, ``3 h 05 min``, ``2 d 04 h``."""
    minutes = round(seconds / 60)
    # Seconds and minutes as long as two digits are enough: 99.5 s would be rounded to 100.
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60:02d} h"
