"""The two phases of an epoch of a retraining, and its best epoch so far (docs/method.md, section 5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from data.datasets import output_names
from data.loaders import Loader, read_first_batch
from engine.finite import NotFiniteError
from engine.passes import Learner, evaluate, train_pass
from engine.recipes import Recipe
from engine.retrain_setup import RetrainData
from engine.run_state import RunState
from engine.schedule import drop_path_ramp
from engine.tasks import Task
from engine.tasks.pictures import SHOWN
from models.folding import folded


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


def ramp(recipe: Recipe, highest: float, epoch: int, epochs: int, steps: int) -> list[float]:
    """The drop-path probability of every step of an epoch, which rises to ``highest`` as the recipe says."""
    # By step it is that of its end, as ENAS counts from 1.
    at = [epoch + (step + 1) / steps if recipe.drop_path_by_step else epoch for step in range(steps)]
    return [drop_path_ramp(e, epochs, highest, recipe.drop_path_until) for e in at]


def train_epoch(
    run: RunState, learner: Learner, loader: Loader, task: Task, recipe: Recipe, *, highest_drop_path: float
) -> dict[str, float]:
    """Phase 1: every training image once. ``highest_drop_path``: the probability at the end of its ramp."""
    network, device, epoch, steps = learner.model, run.context.device, run.position.epoch, len(loader)
    meter = task.meter(device, len(network.aux_heads))
    drop_paths = ramp(recipe, highest_drop_path, epoch, learner.schedule.epochs, steps)  # of every step
    arguments = [(p,) for p in drop_paths]
    if recipe.drop_path_by_layer:  # cell i of n drops the share i / n of it
        cells = len(network.blocks)
        share = torch.arange(1, cells + 1, device=device) / cells  # (cells,)
        arguments = [(p * share if p else p,) for p in drop_paths]
    try:
        train_pass(learner, loader, task, arguments=arguments, meter=meter, run=run, draws="drop_path")
    except NotFiniteError as error:
        raise NotFiniteError(error.step, f"epoch {epoch}, genotype {network.genotype}") from None
    run.world.average_statistics(network)  # each process has had its own until here
    metrics = meter.read(run.world.all_reduce_sum)
    return {
        **{f"train/{name}": value for name, value in metrics.items()},
        "train/lr": learner.schedule.lr(epoch),
        "train/drop_path": drop_paths[-1],
    }


def validate(run: RunState, learner: Learner, loader: Loader, task: Task, *, fold: bool = True) -> dict[str, float]:
    """Phase 2: every validation image once. ``fold``: batch norms into the convolutions before them."""
    # The pass of every epoch is the same one, so that values of epochs compare.
    loader.set_epoch(0)
    network = learner.evaluated  # the average of weights where one is kept
    metrics = evaluate(
        folded(network) if fold else network.eval(),
        loader,
        task,
        precision=learner.precision,
        meter=task.meter(run.context.device, len(network.aux_heads)),
        total=run.world.all_reduce_sum,
        check_stop=run.check_stop,
    )
    return {f"valid/{name}": value for name, value in metrics.items()}


def show_predictions(run: RunState, learner: Learner, data: RetrainData, task: Task, epoch: int) -> None:
    """What the network makes of a few validation images, always the same ones, beside the truth, in TensorBoard."""
    if run.log.writer is None or not task.draws_predictions:
        return
    with run.log.decoration("the picture of predictions"):
        network, preset = learner.evaluated, data.dataset.preset
        names = output_names(data.dataset.classes, network.num_classes)
        picture = task.picture(network, read_first_batch(data.valid, SHOWN), preset, names)
        run.log.figure("predictions", picture, epoch)
