"""What a search and a retraining put together in the same way, from their flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from data.datasets import Dataset, Source, find_dataset, load, num_outputs
from engine.averaging import WeightAverage
from engine.checkpoints import TrainingState
from engine.passes import Learner
from engine.precision import choose_precision
from engine.run_state import RunState
from engine.schedule import Schedule
from engine.tasks import Task
from models.network import Backbone
from utils.config import CommonConfig
from utils.reports.log import RunLog
from utils.runs.context import RunContext
from utils.runs.resume import flags_of
from utils.system.device import compile_blocks, memory_format
from utils.system.processes import synchronise_norms


def choose_outputs(config: CommonConfig, task: Task, log: RunLog) -> tuple[Source, int]:
    """The data set, recognised but not read, and how many outputs a network for it has."""
    source = find_dataset(
        config.data,
        config.dataset,
        config.image_size,
        cutout=config.cutout,
        flip=config.flip,
        targets=task.targets,
        bad_images=config.bad_images,
    )
    if warning := task.warning(source.name, source.preset):
        log.line(warning)
    return source, task.outputs(num_outputs(source, config.num_class, log.line))


def read_dataset(context: RunContext, source: Source, task: Task) -> Dataset:
    """The images themselves, first in the first process, which may download them. Refuses other data on resume."""
    config = context.config
    with context.world.main_first():  # a second download would write over the first
        dataset = load(
            source,
            bad_images=config.bad_images,
            cache=config.cache,
            train_images=config.train_images,
            labels=task.uses_labels,
            log=context.log.line,
        )
    context.require_same_data(dataset.facts())  # of an earlier part of the run
    return dataset


def set_dropout(network: Backbone, share: float, *, named: bool) -> None:
    """Let training drop this share of what the head reads.

    A recipe gives way where a head cannot; what is ``named`` on the command line is refused there.
    """
    if share and (named or hasattr(network.head, "dropout")):  # 0 turns nothing on, and needs no dropout
        network.drop_before_head(share)


def make_sgd(
    parameters: Iterable[Tensor],
    lr: float,
    *,
    momentum: float,
    weight_decay: float,
    nesterov: bool = False,
    spare_norms: bool = False,
) -> torch.optim.SGD:
    """SGD with momentum. ``spare_norms``: weight decay on parameters of two or more dimensions only."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2 or not spare_norms], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2 and spare_norms], "weight_decay": 0.0},
    ]
    # One group where all decay alike: checkpoints of such runs have no second, empty one.
    groups = groups if spare_norms else groups[:1]
    # Torch refuses it without momentum.
    return torch.optim.SGD(groups, lr, momentum=momentum, nesterov=nesterov and momentum > 0)


def make_learner(
    context: RunContext,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    clip: float | None,
    warmup: int,
    by_step: bool = False,
    ema: float = 0.0,
    compiled: bool = False,
) -> Learner:
    """The model ready to be trained: memory format, precision, learning rates, wrapping for several processes."""
    config, device, world = context.config, context.device, context.world
    # Norms are exchanged first, since what follows copies, compiles or wraps them; the wrapper goes around everything.
    if config.sync_bn:
        synchronise_norms(model, world, device)
    average = WeightAverage(model, ema) if ema else None
    model.to(memory_format=memory_format(device))
    precision = choose_precision(config.precision, device, backend=config.amp_backend, opt_level=config.opt_level)
    precision.prepare(model, optimizer)
    if compiled:
        compile_blocks(model)
    schedule = Schedule(
        kind=config.lr_schedule,
        epochs=config.epochs,
        highest=config.child_lr_max,
        lowest=config.child_lr_min,
        period=config.child_lr_T_0,
        growth=config.child_lr_T_mul,
        warmup=warmup,
        by_step=by_step,
    )
    return Learner(model, world.wrap(model, device), optimizer, schedule, precision, clip, average, world.mean)


def make_run(context: RunContext, learner: Learner, dataset: Dataset, extras: Mapping[str, Any]) -> RunState:
    """A run at its start, which has written nothing; ``extras``: what belongs to its state besides the model."""
    training = TrainingState(
        context.kind,
        learner.model,
        learner.optimizer,
        learner.precision,
        flags=flags_of(context.config),
        # From these alone --evaluate rebuilds the network, without the run and its data.
        facts={"network": learner.model.arguments(), **dataset.facts()},
        extras=extras,
    )
    return RunState(context, training)  # at epoch 0; begin() moves it


def start_run(
    context: RunContext, learner: Learner, dataset: Dataset, num_images: int, extras: Mapping[str, Any]
) -> RunState:
    """The run, where it began or where an earlier part of it stopped, with its folder open.

    ``num_images``: of an epoch; ``extras``: what belongs to its state besides the model.
    """
    config, run = context.config, make_run(context, learner, dataset, extras)
    if context.earlier is not None:
        epoch, before = context.earlier.state["position"]["epoch"], context.earlier.state["flags"]["epochs"]
        # A cosine over more epochs is another one: the rate jumps, and a person should know.
        if config.epochs != before and epoch < config.epochs:
            lr = learner.schedule.lr(epoch)
            context.log.line(f"{config.epochs} epochs instead of {before}: the learning rate is now {lr:.6g}")
    run.begin({**dataset.facts(), **learner.model.arguments(), "epoch_images": num_images})
    return run
