"""Where a run stands in its epochs and phases, as its checkpoint holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# By phase, what the phases before it have reported, and the end of an epoch cannot do without.
PHASES = {
    "weights": (),
    **dict.fromkeys(("strategy", "report"), ("time/weights_s", "shared/loss")),
    "train": (),
    "valid": ("time/train_s", "train/loss"),
}


@dataclass
class Position:
    """Where a run stands: the next ``step`` of a ``phase`` of an ``epoch``.

    ``phase_state``: whatever the phase needs to go on; ``epoch_metrics``: what the epoch has reported so far.
    """

    epoch: int = 0
    phase: str = ""
    step: int = 0
    phase_state: list = field(default_factory=list)
    epoch_metrics: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Position:
        """The position in a checkpoint; two of its values had other names once."""
        names = {"rows": "phase_state", "record": "epoch_metrics"}
        at = cls(**{names.get(name, name): value for name, value in values.items()})
        counted = all(isinstance(value, int) and value >= 0 for value in (at.epoch, at.step))
        numbers = isinstance(at.phase_state, list) and all(map(is_row, at.phase_state))
        reported = is_row(at.epoch_metrics, dict) and {*PHASES.get(at.phase, ())} <= at.epoch_metrics.keys()
        if not (counted and numbers and reported and at.phase in ("", *PHASES)):
            raise ValueError(f"position {values}")
        return at

    def begin(self, phase: str) -> None:
        """Enter a phase, unless this is the one that the run was interrupted in."""
        if self.phase != phase:
            self.phase, self.step, self.phase_state = phase, 0, []

    def next_epoch(self) -> None:
        """Move to the start of the next epoch."""
        self.epoch, self.phase, self.step, self.phase_state, self.epoch_metrics = self.epoch + 1, "", 0, [], {}


def is_row(value: Any, kind: type | tuple[type, ...] = (int, float, list, dict)) -> bool:
    """Whether a phase or a note may hold it: a number, or numbers in a list or under names; None is not known yet."""
    if isinstance(value, list | dict) and isinstance(value, kind):
        held = value.values() if isinstance(value, dict) else value
        return all(v is None or type(v) in (int, float) for v in held)  # a measure may be nan
    return kind is not dict and type(value) in (int, float)
