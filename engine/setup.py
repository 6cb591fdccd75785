"""What a search and a retraining put together in the same way, from their flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from data.datasets import Dataset, find_dataset, load, num_outputs
from data.images import Images
from data.loaders import Loader, make_loader
from data.presets import Preset
from engine.averaging import WeightAverage
from engine.checkpoints import TrainingState
from engine.passes import Learner
from engine.precision import choose_precision
from engine.run_state import RunState
from engine.schedule import Schedule
from engine.tasks import Task
from models.network import Backbone
from models.spec import NetworkSpec
from models.structures import STRUCTURES
from utils.runs.context import RunContext
from utils.runs.resume import flags_of
from utils.system.device import compile_blocks, memory_format
from utils.system.processes import synchronise_norms


def open_data(
    context: RunContext, task: Task, blocks: Sequence[int], space: str, *, in_search: bool
) -> tuple[Dataset, NetworkSpec]:
    """The images, and the shape of networks for them. What does not fit together is refused before images are read."""
    config, log = context.config, context.log
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
    spec = NetworkSpec(
        blocks=blocks,
        filters=config.child_out_filters,
        num_classes=task.outputs(num_outputs(source, config.num_class, log.line)),
        stem=config.stem or STRUCTURES[space].stem(not source.preset.is_small, in_search=in_search),
        antialias=config.antialias,
        aux=config.child_use_aux_heads,
        space=space,
        head=task.head,
    )
    spec.require_size(source.preset.image_size)
    with context.world.main_first():  # it may download them, and a second download would write over the first
        dataset = load(
            source,
            bad_images=config.bad_images,
            cache=config.cache,
            train_images=config.train_images,
            labels=task.uses_labels,
            log=log.line,
        )
    context.require_same_data(dataset.facts())  # of an earlier part of the run
    return dataset, spec


def open_loader(context: RunContext, task: Task, images: Images, preset: Preset, **options: Any) -> Loader:
    """What shows images of a run to its networks; ``options``: of a loader, in place of what the run says."""
    config, world = context.config, context.world
    of_run = {"batch_size": config.batch_size, "device": context.device, "seed": config.seed, "workers": config.workers}
    of_run |= {"rank": world.rank, "world_size": world.size}
    return task.wrap(make_loader(images, preset, **{**of_run, **options}))


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
    *,
    nesterov: bool,
    warmup: int,
    spare_norms: bool = False,
    by_step: bool = False,
    ema: float = 0.0,
    compiled: bool = False,
) -> Learner:
    """The model ready to be trained: SGD, memory format, precision, learning rates, wrapping for several processes."""
    config, device, world = context.config, context.device, context.world
    optimizer = make_sgd(
        model.parameters(),
        config.child_lr_max,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=nesterov,
        spare_norms=spare_norms,
    )
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
    wrapped = world.wrap(model, device)
    return Learner(model, wrapped, optimizer, schedule, precision, config.grad_clip, average, world.mean)


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
