"""The best validation of a retraining so far."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Best:
    """The best value of the task's measure and its epoch, counted from 0. A nan is never the best."""

    top1: float = -math.inf  # of any task: the name is that of checkpoints
    epoch: int = -1

    def improve(self, value: float, epoch: int) -> bool:
        """Take the value if it is better; whether it was."""
        if not value > self.top1:  # not `<=`: a nan would come past that
            return False
        self.top1, self.epoch = value, epoch
        return True

    def state_dict(self) -> dict[str, float]:
        """Plain values."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from there."""
        self.top1, self.epoch = state["top1"], state["epoch"]
