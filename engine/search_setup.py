"""The parts of a search, put together from its flags. Everything that does not fit together is refused here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch

from controller.constraints import Constraints
from controller.genotype_sampler import GenotypeSampler
from controller.nao.learning import Settings
from controller.ranking import Ranker
from controller.relaxation import Relaxation
from controller.samplers import LogitScale
from controller.sampling import uniform
from controller.strategies import GRADIENT, Strategy, make_strategy
from data.datasets import Dataset, find_dataset
from data.decoding import DataError
from data.loaders import Loader
from data.splits import split_indices
from engine.architect import Architect
from engine.configuration import check_search, rankers_in
from engine.passes import Learner
from engine.scoring import Scorer
from engine.setup import make_learner, open_data, open_loader, set_dropout
from engine.tasks import TASKS, Task
from models.deployment import Deployment, cost_functions
from models.proxies import ProxyError, ProxyRanker
from models.spec import NetworkSpec, final_spec
from models.structures import STRUCTURES
from models.supernet import BN_STATS, SuperNet
from ops.genotype import num_cells
from utils.config import SHARED, SearchConfig
from utils.runs.context import RunContext
from utils.system.device import keep_freed_memory
from utils.system.seeds import derived_seed


@dataclass(frozen=True)
class SearchData:
    """The images of a search. ``calibration``: those that batch-norm statistics are taken from, if any."""

    dataset: Dataset
    spec: NetworkSpec  # of the supernet that fits them
    deployment: Deployment  # of the network that will be retrained on them
    drop_path: float  # of the shared weights, at the end of its ramp
    weights: Loader
    rewards: Loader
    valid: Loader
    calibration: Loader | None = None


def open_search(context: RunContext, task: Task) -> SearchData:
    """Recognise the data, refuse what cannot work with them, then read them and divide them."""
    config: SearchConfig = context.config
    if config.resume:  # of a run that goes on: only now all flags are known
        check_search(config)
    task.choose_score(config.score)  # or refuses it
    dataset, spec = open_data(context, task, config.blocks, config.space, in_search=True)
    shared, reward = split_indices(dataset.train.labels, config.reward_fraction, seed=config.seed)
    if not len(reward):
        raise DataError("no class has two training images: nothing is left for rewards")
    weights = dataset.train.subset(shared)
    parts = {"weights": weights, "rewards": dataset.train.subset(reward), "valid": dataset.val}
    if BN_STATS[config.bn_stats].calibrated:  # the images of the weights as evaluation shows them
        parts["calibration"] = weights
    loaders = {
        # All are shuffled, since batch statistics need mixed classes.
        stream: open_loader(
            context, task, images, dataset.preset, stream=stream, augment=stream == "weights", shuffle=True
        )
        for stream, images in parts.items()
    }
    side = dataset.preset.image_size
    for loader in loaders.values():
        spec.require_batch(side, loader.smallest_batch, loader.split)
    drop_path = STRUCTURES[config.space].search_drop_path if config.drop_prob is None else config.drop_prob
    deployment = build_deployment(config, spec, dataset)
    if config.finals:
        trained = final_spec(spec, deployment.spec)
        trained.require_size(side)
        trained.require_batch(side, min(loaders["weights"].sizes), loaders["weights"].split)
    return SearchData(dataset, spec, deployment, drop_path, **loaders)


def build_supernet(context: RunContext, spec: NetworkSpec) -> Learner:
    """The supernet with fresh weights, and what trains them."""
    config: SearchConfig = context.config
    keep_freed_memory(context.device)
    torch.manual_seed(derived_seed(config.seed, "supernet"))  # weights do not depend on what was drawn before
    supernet = SuperNet.of(spec, config.sharing, config.bn_stats, config.bn_affine).to(context.device)
    set_dropout(supernet, config.dropout, named="dropout" in config.given)
    return make_learner(
        context, supernet, nesterov=config.nesterov, warmup=config.lr_warmup_epochs, by_step=config.lr_by_step
    )


def build_deployment(config: SearchConfig, spec: NetworkSpec, dataset: Dataset) -> Deployment:
    """The network that a genotype of this search will be retrained as. Refuses one that is another kind of network."""
    task = TASKS[TASKS[config.task].retrained_as].retrain()
    size = config.deploy_image_size or dataset.preset.image_size
    # Other images may take another stem.
    options = {"targets": task.targets, "bad_images": config.bad_images}
    preset = find_dataset(config.data, config.dataset, size, **options).preset
    space = spec.search_space
    blocks = (config.deploy_layers,) if config.deploy_layers else space.depths[1] if space.stacked else config.blocks
    shape = replace(
        spec,
        blocks=config.deploy_blocks or blocks,
        filters=config.deploy_filters or config.child_out_filters,
        num_classes=task.outputs(config.num_class or len(dataset.classes)),
        # Often not that of the search.
        stem=config.deploy_stem or STRUCTURES[spec.space].stem(not preset.is_small, in_search=False),
        head=task.head,
    )
    deployment = Deployment(shape, config.sharing, size)
    deployment.require_fit(config.blocks)
    return deployment


def build_sampler(context: RunContext, deployment: Deployment) -> GenotypeSampler:
    """The strategy, whose genotypes are drawn alike in all processes and within the limits."""
    config: SearchConfig = context.config
    maxima = {"parameters": config.max_params, "macs": config.max_macs, "latency_ms": config.max_latency_ms}
    limits = Constraints(
        cost_functions(deployment, context.world, context.device),
        {name: most for name, most in maxima.items() if most is not None},
    )
    without = f"--warmup_epochs {config.warmup_epochs}" if config.warmup_epochs >= config.epochs else None
    if not config.controller_steps and config.searcher not in GRADIENT:
        without = "--controller_steps 0"
    if without and config.searcher != "random":
        context.log.line(
            f"warning: {without} leaves none of {config.epochs} epochs to --searcher {config.searcher}: "
            "what it ends with is no more than its start"
        )
    torch.manual_seed(derived_seed(config.seed, "controller"))
    cells = num_cells(config.sharing, config.blocks)
    sampler = GenotypeSampler(
        build_strategy(config, context.device),
        limits,
        context.world,
        config.seed,
        config.canonical,
        free_draw=lambda n, generator: uniform(n, cells, config.sharing, generator, config.space),
        trains_policy=config.path_sampling == "policy",
    )
    sampler.sample(1, "limits")  # what nothing meets is refused before anything is made
    return sampler


def build_strategy(config: SearchConfig, device: torch.device) -> Strategy | Relaxation:
    """Who searches: by the scores of genotypes, or by gradients, with numbers that are where the gradients are."""
    cells = num_cells(config.sharing, config.blocks)
    if config.searcher in GRADIENT:
        options: dict[str, Any] = {"lr": config.arch_lr, "weight_decay": config.arch_weight_decay, "device": device}
        return GRADIENT[config.searcher](cells, config.sharing, config.space, **options)
    updates = (config.epochs - config.warmup_epochs) * config.controller_steps
    return make_strategy(
        config.searcher, cells, config.sharing, config.space, **strategy_options(config, updates=updates)
    )


def strategy_options(config: SearchConfig, *, updates: int) -> dict[str, Any]:
    """What strategies read of the flags. ``updates``: how often they will be told scores."""
    return {
        "lr": config.controller_lr,
        "entropy_weight": config.entropy_weight,
        "baseline_decay": config.bl_dec,
        "controller": config.controller,
        "logit_scale": LogitScale(config.connection_bound, config.operation_bound, config.controller_temperature),
        "optimizer": config.controller_optimizer,
        "advantage": config.advantage,
        "entropy_in_loss": config.entropy_in_loss,
        "updates": updates,
        "nao": Settings(config.nao_pool, config.nao_replace, config.nao_best, epochs=config.nao_epochs),
    }


def build_scorer(context: RunContext, learner: Learner, task: Task, calibration: Loader | None) -> Scorer:
    """What scores genotypes with the shared weights."""
    config: SearchConfig = context.config
    name, score = task.choose_score(config.score)
    return Scorer(
        learner.model,
        task,
        name,
        score,
        learner.precision,
        calibration=[batch.images for batch in islice(calibration or (), config.calibration_steps)],
        total=context.world.all_reduce_sum,
    )


def build_architect(context: RunContext, learner: Learner, sampler: GenotypeSampler, task: Task) -> Architect | None:
    """What moves a strategy that searches by gradients; None for all others."""
    config: SearchConfig = context.config
    if config.searcher not in GRADIENT:
        return None
    return Architect(learner.model, sampler.strategy, learner.optimizer, task, config.order, context.world.mean)


def build_rankers(context: RunContext, sampler: GenotypeSampler, data: SearchData) -> dict[str, Ranker]:
    """The rankers without training among those of --rank_by, of fresh networks on one batch of reward images.

    If none of --rank_by can rank, that is refused here. The first process scores for all: the images of the others are
    others, and so would be their scores.
    """
    config, world, rankers, refusals = context.config, context.world, {}, []
    names = rankers_in(config.rank_by)
    for name in names:
        if name == SHARED:  # the scorer ranks
            continue
        score = None  # in all processes but the first
        if world.is_main:
            data.rewards.set_epoch(0)  # the same batch in a run that goes on
            score = ProxyRanker(name, data.deployment, config.seed, next(iter(data.rewards)).images)
        rankers[name] = lambda genotype, score=score: world.of_first(lambda: score(genotype))
        try:
            # All processes take part, since drawing and scoring hand on what the first one has.
            rankers[name](sampler.sample(1, "limits")[0])
        except ProxyError as error:
            refusals.append(error)
    if len(refusals) == len(names):  # refuses now what it could not rank after all epochs
        raise refusals[0]
    return rankers


def search_state(sampler: GenotypeSampler, scorer: Scorer) -> dict[str, Any]:
    """What belongs to the state of a search besides its shared weights, by its name in checkpoints."""
    return {
        "strategy": sampler.strategy,
        "seen": sampler.seen,
        "known": scorer.cache,  # the former name, which older files have
        "limits": sampler.constraints,
    }
