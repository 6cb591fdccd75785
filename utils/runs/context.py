"""What both scripts do before and around their work: processes, device, an earlier run, the run folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from utils.config import CommonConfig
from utils.reports.log import RunLog, make_folder, write_json
from utils.reports.report import RESULT
from utils.runs import resume
from utils.runs.same_data import require_same_data
from utils.system.checkpoint import fitting
from utils.system.device import choose_kernels, describe_machine, pick_device
from utils.system.errors import UsageError
from utils.system.files import sweep
from utils.system.lock import FolderLock
from utils.system.processes import World, connected, launched
from utils.system.terminal import show


@dataclass
class Earlier:
    """A run to go on with: its checkpoint, and the state that was read from there."""

    path: Path
    state: dict[str, Any]
    complete: bool = False  # nothing is left to do: all epochs, and its result


@dataclass
class RunContext:
    """One run of a script. ``held``: what is let go of when the run ends, the lock of its folder above all."""

    kind: str
    config: CommonConfig
    world: World
    device: torch.device
    log: RunLog
    held: ExitStack
    earlier: Earlier | None = None

    def is_complete(self) -> bool:
        """Whether the run to go on with has nothing left to do; then it says so."""
        complete = self.earlier is not None and self.earlier.complete
        if complete:
            self.log.line(f"{self.earlier.path.parent} is complete: nothing to do")
        return complete

    def settle(self, refusal: UsageError | None) -> None:
        """Refuse, in all processes, to go on as things are; ``refusal``: of the first, which could not lock the run."""
        state, path = self.earlier.state, self.earlier.path
        # Of the file as each process read it: a run that was just ending may have written it anew in between.
        at = [state["position"][key] for key in ("epoch", "phase", "step")]
        complete = at[0] >= self.config.epochs and (path.parent / RESULT).is_file()
        message = None if refusal is None else str(refusal)
        self.earlier.complete, message, of_first = self.world.broadcast((complete, message, at))
        if self.earlier.complete:
            return
        # After the check of completeness: a complete run is only read, and needs no lock.
        if message:
            raise UsageError(message)
        resume.require_same_processes(state, self.world.size)
        if self.world.all_reduce_max(at != of_first):
            raise UsageError(f"{show(path)} changed while it was read: try again")
        self.log.line(f"going on with {path.parent.name} in epoch {at[0]}")

    def require_same_data(self, facts: Mapping[str, Any]) -> None:
        """Refuse data whose content is not what an earlier part of the run had. Raises UsageError."""
        if self.earlier is not None:
            with fitting(self.earlier.path):
                require_same_data(self.earlier.state, facts, self.earlier.path.parent.name)

    def open_folder(self, derived: Mapping[str, Any], precision: str) -> None:
        """Make the folder of the run, or go on in it, and write config.json. The first process does it alone."""
        if not self.world.is_main:
            return
        config, purge = self.config, None
        if self.earlier is None:
            folder = make_folder(config.result, self.kind, config.save)
            self.held.enter_context(FolderLock(folder))
        else:
            folder, purge = self.earlier.path.parent, self.earlier.state["position"]["epoch"]
            (folder / RESULT).unlink(missing_ok=True)  # of fewer epochs
            sweep(folder)  # safe, since the folder is locked
            resume.forget_from(folder, purge)  # epochs that were written but not saved come again
        write_json(
            folder / "config.json",
            {
                "kind": self.kind,
                "defaults": config.defaults(),  # of this code: a report tells by them what was changed
                "flags": resume.flags_of(config),
                "derived": derived,
                "processes": self.world.size,
                "precision": precision,
                "machine": describe_machine(self.device),
            },
        )
        self.log.open(folder, tensorboard=config.tensorboard, purge_step=purge)
        self.log.line(f"writing to {folder}")


@contextmanager
def run_context(config: CommonConfig, kind: str) -> Iterator[RunContext]:
    """Find and lock the earlier run if one is named, take the device, connect the processes."""
    world, earlier, refusal = launched(), None, None
    with ExitStack() as held:
        path = resume.find_checkpoint(config.resume, config.result, kind, config.save) if config.resume else None
        if path is not None and world.is_main:
            try:
                held.enter_context(FolderLock(path.parent))
            except UsageError as error:  # all processes have to hear of it before one of them ends
                refusal = error
        if path is not None:
            earlier = Earlier(path, resume.read_run(path, kind))  # locked first: who writes it may just be ending
            with fitting(path):
                resume.require_own_folder(earlier.state, path)
                config = resume.continued(config, earlier.state)
        # By the flags of the run that goes on, now that they are known.
        device = pick_device(config.device, config.gpu, world.local_rank)
        choose_kernels(deterministic=config.deterministic, tf32=config.tf32)
        with connected(world, device):
            log = RunLog(silent=not world.is_main)
            context = RunContext(kind, config, world, device, log, held, earlier)
            if earlier is not None:
                context.settle(refusal)
            elif config.resume:
                log.line(f"there is no run called {config.save} to go on with: starting one")
            yield context
