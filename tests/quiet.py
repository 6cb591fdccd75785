"""A run in the process of a test, without data, folder or a word, for what trains or reports within one."""

from __future__ import annotations

from contextlib import ExitStack

import torch

from engine.checkpoints import TrainingState
from engine.configuration import parse_retrain
from engine.passes import Learner
from engine.run_state import RunState
from engine.schedule import Schedule
from utils.reports.log import RunLog
from utils.runs.context import RunContext
from utils.system.processes import World


class Batches(list):
    """Batches of a list, as a loader gives them."""

    def set_epoch(self, _epoch: int, start: int = 0) -> None:
        self.start = start

    def __iter__(self):
        return iter(self[self.start :])


def constant(lr: float) -> Schedule:
    """The same learning rate throughout."""
    return Schedule("cosine", epochs=1, highest=lr, lowest=lr, period=1, growth=1)


def quiet_run(learner: Learner, every: int = 50) -> RunState:
    """A run in this process alone, which has no folder and says nothing."""
    config = parse_retrain(["--report_freq", str(every)])
    log = RunLog(silent=True)
    context = RunContext("retrain", config, World(), torch.device("cpu"), log, ExitStack())
    return RunState(context, TrainingState("retrain", learner.model, learner.optimizer, learner.precision, {}, {}))
