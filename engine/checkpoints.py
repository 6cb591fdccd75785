"""The complete state of a training, as one plain dictionary in a file, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.precision import Precision
from utils.runs.position import Position
from utils.system import checkpoint
from utils.system.processes import World, running_statistics


@dataclass
class TrainingState:
    """What a checkpoint holds besides where the run stands.

    ``extras``: further things with ``state_dict`` and ``load_state_dict``; ``flags``: of the command line; ``facts``:
    plain values of data and network, from which a checkpoint is read without its run.
    """

    kind: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    precision: Precision
    flags: Mapping[str, Any]
    facts: Mapping[str, Any]
    extras: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: Path | None, position: Position, notes: Mapping[str, Any], world: World) -> None:
        """Write the file; the first process does it for all, and all of them must call this."""
        statistics = {name: buffer.cpu() for name, buffer in running_statistics(self.model).items()}
        by_rank = world.gather(statistics) if world.size > 1 else []  # a single process has them in the model
        if not world.is_main:  # but all of them had to take part in the gathering
            return
        state = {
            "kind": self.kind,
            "flags": dict(self.flags),
            "position": vars(position),
            "notes": dict(notes),
            "model": self.model.state_dict(),
            "statistics_by_rank": by_rank,
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
            "extras": {name: extra.state_dict() for name, extra in self.extras.items()},
            **self.facts,
        }
        checkpoint.save(path, state)

    def restore(self, state: Mapping[str, Any], path: Path, world: World) -> None:
        """Put everything back as the checkpoint at ``path`` has it. Raises CheckpointError."""
        with checkpoint.fitting(path):
            checkpoint.load_weights(self.model, state["model"], path)  # with statistics of the first process
            for part in ("optimizer", "extras"):
                checkpoint.require_finite(state[part], part)
            if world.size > 1:  # within an epoch each process has running statistics of its own
                statistics = state["statistics_by_rank"][world.rank]
                for name, buffer in running_statistics(self.model).items():
                    buffer.copy_(statistics[name])
            # Those of the strategy too: to load one takes anything, and the next step would fail.
            parts = [self.optimizer, *(part for extra in self.extras.values() for part in vars(extra).values())]
            optimizers = [part for part in parts if isinstance(part, torch.optim.Optimizer)]
            fresh = [[dict(group) for group in optimizer.param_groups] for optimizer in optimizers]
            self.optimizer.load_state_dict(state["optimizer"])
            self.precision.load_state_dict(state["precision"])
            for name, extra in self.extras.items():
                stored = state["extras"].get(name, {})  # a file of before scores were kept has none
                checkpoint.require_like(stored, extra.state_dict(), name)
                extra.load_state_dict(stored)
            for optimizer, groups in zip(optimizers, fresh, strict=True):
                checkpoint.require_sound(optimizer, groups)
