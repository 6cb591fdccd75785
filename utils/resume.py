"""Going on with a run: which checkpoint, which flags may differ, and where the run stood."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from utils.checkpoint import CheckpointError, load
from utils.config import CommonConfig
from utils.system.errors import UsageError
from utils.system.files import write_text

CHECKPOINT = "checkpoint.pt"
# What may change between the two parts of a run without changing what it computes.
FREE = {
    "epochs",
    "workers",
    "cache",
    "report_freq",
    "tensorboard",
    "device",
    "gpu",
    "save",
    "result",
    "resume",
    "export",
    "export_normalise",
}

Config = TypeVar("Config", bound=CommonConfig)


@dataclass
class Position:
    """Where a run stands: the next ``step`` of a ``phase`` of an ``epoch``, and what the phase gathered so far.

    ``rows``: whatever the phase needs to go on; ``record``: what earlier phases of the epoch reported.
    """

    epoch: int = 0
    phase: str = ""
    step: int = 0
    rows: list = field(default_factory=list)
    record: dict[str, float] = field(default_factory=dict)

    def begin(self, phase: str) -> None:
        """Enter a phase, unless this is the one that the run was interrupted in."""
        if self.phase != phase:
            self.phase, self.step, self.rows = phase, 0, []

    def next_epoch(self) -> None:
        self.epoch, self.phase, self.step, self.rows, self.record = self.epoch + 1, "", 0, [], {}


def find_checkpoint(resume: str, result: str, kind: str, save: str) -> Path | None:
    """The checkpoint that ``--resume`` means: a file, a run folder, or ``auto``, the newest run of that name.

    None if ``auto`` finds nothing. Raises CheckpointError for a path without one.
    """
    if resume != "auto":
        path = Path(resume).expanduser()
        path = path / CHECKPOINT if path.is_dir() else path
        if not path.is_file():
            raise CheckpointError(f"--resume {resume}: there is no {path.name}")
        return path
    runs = []
    base = Path(result).expanduser() / kind
    for path in base.glob(f"*/{CHECKPOINT}"):
        name = path.parent.name
        if name.startswith(f"{save}-") and name[len(save) + 1 :][:4].isdigit():
            runs.append((os.path.getmtime(path), path))
    return max(runs)[1] if runs else None


def read_run(path: Path, kind: str) -> dict[str, Any]:
    """The state in a checkpoint of a ``search`` or a ``retrain`` run. Raises CheckpointError."""
    state = load(path)
    if state.get("kind") != kind or "flags" not in state or "position" not in state:
        raise CheckpointError(f"{path} is no {kind} checkpoint that a run can go on from")
    return state


def continued(config: Config, stored: Mapping[str, Any]) -> Config:
    """The flags to go on with: those of the run, and of those given now the ones that are free to change.

    Raises UsageError, with both values, for a given flag that would change what the run computes.
    """
    changes = {}
    for name in (f.name for f in fields(config)):
        now, before = getattr(config, name), stored.get(name)
        if name not in stored or name == "given":
            continue
        if name not in config.given:
            changes[name] = before
        elif name not in FREE and _comparable(now) != _comparable(before):
            raise UsageError(f"--{name} is {now} now but was {before} in the run that --resume goes on with")
    merged = replace(config, **changes, resume=config.resume)
    if merged.epochs < stored["epochs"]:
        raise UsageError(f"--epochs {merged.epochs} is less than the {stored['epochs']} of the run")
    return merged


def _comparable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def flags_of(config: CommonConfig) -> dict[str, Any]:
    """The flags as plain values, for a checkpoint and for config.json."""
    return {name: value for name, value in asdict(config).items() if name != "given"}


def forget_from(folder: Path, epoch: int) -> None:
    """Drop the lines of metrics.jsonl that the run is going to write again."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["epoch"] < epoch:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue  # cut short when the run was killed
    write_text(path, "".join(f"{line}\n" for line in kept))
