"""The parts of a retraining, put together from its flags. Everything that does not fit together is refused here."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from data.datasets import Dataset
from data.decoding import DataError
from data.loaders import Loader
from data.mixing import MixedLoader
from data.splits import split_indices
from engine.configuration import check_retrain, giving_way
from engine.passes import Learner
from engine.recipes import Recipe, choose_recipe
from engine.setup import make_learner, open_data, open_loader, set_dropout
from engine.tasks import TASKS, Task
from models.network import Network
from models.spec import NetworkSpec
from models.stored import chosen_candidate, inherit_weights, kept_candidate
from ops.genotype import Candidate
from utils.config import RetrainConfig
from utils.runs import resume
from utils.runs.context import RunContext
from utils.system.device import keep_freed_memory
from utils.system.seeds import derived_seed


@dataclass(frozen=True)
class RetrainData:
    """The images of a retraining. ``valid`` chooses the epoch; ``test`` is read once, at the end.

    Without ``holdout`` both are val/.
    """

    dataset: Dataset
    spec: NetworkSpec  # of the network that fits them
    drop_path: float  # at the end of its ramp
    train: Loader | MixedLoader
    valid: Loader
    test: Loader


def choose_candidate(context: RunContext) -> Candidate:
    """The genotype that is trained and its depth; of a run that goes on, those of its checkpoint."""
    config, earlier = context.config, context.earlier
    if earlier is None:
        return chosen_candidate(config.arch, config.sharing, config.blocks, layers=config.layers, space=config.space)
    return kept_candidate(config.arch, config.sharing, earlier.state, earlier.path, config.space)


def assemble(context: RunContext, candidate: Candidate) -> tuple[Recipe, Task, RetrainData, Learner]:
    """The recipe, the task, the data, the network of a candidate and what trains it."""
    config: RetrainConfig = context.config
    recipe = choose_recipe(config.recipe, vars(config))
    task = TASKS[config.task].retrain(recipe.label_smoothing, config.aux_weight)
    task.require_packages()
    data = open_retraining(context, candidate, recipe, task)
    return recipe, task, data, build_network(context, candidate, recipe, data)


def open_retraining(context: RunContext, candidate: Candidate, recipe: Recipe, task: Task) -> RetrainData:
    """Recognise the data, refuse what cannot work with them, then read them."""
    config: RetrainConfig = context.config
    if config.resume:  # of a run that goes on: only now all flags are known
        check_retrain(config)
    if gone := giving_way(config):
        context.log.line(f"--recipe {config.recipe} without {', '.join(gone)}: --task {config.task} cannot have them")
    dataset, spec = open_data(context, task, candidate.blocks, candidate.genotype.space, in_search=False)
    train, valid = dataset.train, dataset.val
    if config.holdout:
        rest, held_out = split_indices(train.labels, config.holdout, seed=config.seed)
        if not len(held_out):
            raise DataError(f"--holdout {config.holdout} leaves no image of {len(train)} to choose on")
        train, valid = train.subset(rest), train.subset(held_out)
    preset, as_they_are = dataset.preset, {"augment": False, "shuffle": False}
    changed = {"augment": True, "shuffle": True, "policy": recipe.augment, "erasing": recipe.random_erasing}
    changed["resolution_jitter"] = config.resolution_jitter
    train = open_loader(context, task, train, preset, stream="train", **changed)
    valid = open_loader(context, task, valid, preset, stream="valid", **as_they_are)
    # Which each process reads whole.
    test = open_loader(context, task, dataset.val, preset, stream="test", rank=0, world_size=1, **as_they_are)
    spec.require_batch(preset.image_size, train.smallest_batch, train.split)
    if recipe.mixup or recipe.cutmix:
        train = MixedLoader(train, spec.num_classes, mixup=recipe.mixup, cutmix=recipe.cutmix)
    # By image size, as published.
    drop_path = preset.drop_prob if config.drop_prob is None else config.drop_prob
    return RetrainData(dataset, spec, drop_path, train, valid, test)


def build_network(context: RunContext, candidate: Candidate, recipe: Recipe, data: RetrainData) -> Learner:
    """The network of the genotype, with fresh weights or those of a search, and what trains it."""
    config: RetrainConfig = context.config
    keep_freed_memory(context.device)  # the maps of these networks take megabytes each
    torch.manual_seed(derived_seed(config.seed, "network"))
    network = Network.of(candidate.genotype, data.spec)
    if config.inherit and context.earlier is None:  # a run that goes on has its weights already
        path = resume.checkpoint_in(config.inherit)
        inherit_weights(network, resume.read_run(path, "search"), config.inherit, path)
    set_dropout(network, recipe.dropout, named="dropout" in config.given)
    network.to(context.device)
    return make_learner(
        context,
        network,
        nesterov=recipe.nesterov,
        warmup=recipe.lr_warmup_epochs,
        spare_norms=not recipe.decay_norms,
        ema=recipe.ema,
        compiled=config.compile,
    )
