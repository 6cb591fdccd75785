"""Search a cell architecture.

    python train_search_cifar.py --data digits --save first --epochs 5 --blocks "[1,1]" --child_out_filters 16
    torchrun --nproc_per_node 2 train_search_cifar.py --data ../data/cifar10 --save pair

An epoch trains the shared weights of a supernet on sampled genotypes, then the strategy on the scores that its
genotypes reach with these weights, then validates. At the end sampled genotypes are ranked and the best are written
to genotypes.json, which retrainer_cifar.py reads (docs/method.md, section 4). A search by gradients trains a mixture of
all genotypes, moves it with every step, and ends with the genotype that it stands for (section 23).
"""

from __future__ import annotations

from utils.system.threads import bound_threads

bound_threads()  # torch reads this when it is imported

import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from typing import Any

import torch

from controller.constraints import Constraints, pareto_front
from controller.genotype_sampler import GenotypeSampler
from controller.nao.learning import Settings
from controller.pictures import likely_pictures
from controller.policy import LogitScale
from controller.ranking import Ranked, Ranker, genotype_document, rank
from controller.relaxation import Relaxation
from controller.sampling import PATHS, POLICY, NothingFitsError, uniform
from controller.score_cache import ScoreCache
from controller.statistics import Seen, derived_operations, shares, skip_collapse, spread, warnings
from controller.strategies import GRADIENT, Strategy, make_strategy
from data.datasets import Dataset, find_dataset, load, num_outputs
from data.loader_sets import make_search_loaders
from data.loaders import Batch, Loader, forever
from data.presets import Preset
from engine.advice import advise
from engine.architect import Architect
from engine.last import LastWeights
from engine.optimizers import make_sgd
from engine.passes import NotFiniteError, train_pass
from engine.run_state import Training
from engine.schedule import drop_path_ramp
from engine.scoring import ScoreError, Scorer, evaluating, require_finite
from engine.tasks import TASKS, Task
from models.deployment import Deployment, cost_functions
from models.proxies import ProxyRanker
from models.spec import NetworkSpec
from models.structures import STRUCTURES
from models.supernet import BN_STATS, SuperNet
from ops.genotype import Genotype, GenotypeError, num_cells
from utils.config import SHARED, SearchConfig, parse_search
from utils.reports import plots
from utils.reports.log import write_json
from utils.reports.search_end import write_search
from utils.runs.clock import CONTROLLER, DATA, EVALUATION, WRITING
from utils.runs.handover import retrain_command
from utils.runs.resume import flags_of
from utils.runs.session import Session, session
from utils.system.command import command
from utils.system.device import keep_freed_memory
from utils.system.errors import UsageError
from utils.system.processes import synchronise_norms
from utils.system.seeds import derived_seed


@dataclass
class Search:
    """The parts of a search. ``training`` holds the shared weights and where the run stands.

    ``architect``: what moves a strategy of another kind, which has no phase of its own.
    """

    config: SearchConfig
    dataset: Dataset
    task: Task
    supernet: SuperNet
    strategy: Strategy | Relaxation
    architect: Architect | None
    draws: GenotypeSampler
    constraints: Constraints
    seen: Seen
    known: ScoreCache
    last: LastWeights
    deployment: Deployment
    training: Training
    scorer: Scorer
    weights: Loader
    rewards: Loader
    valid: Loader


def search(s: Search) -> None:
    """The whole search, from where the run stands: epochs of three phases, then the ranking."""
    config, training = s.config, s.training
    highest = STRUCTURES[config.space].search_drop_path if config.drop_prob is None else config.drop_prob
    with training.stoppable():
        for epoch in training.epochs():
            if training.enters("weights"):
                s.known.forget()
                drop_path = drop_path_ramp(epoch, config.epochs, highest)
                training.add(train_mixture(s, epoch) if s.architect else train_weights(s, epoch, drop_path))
            if not s.architect and training.enters("strategy"):
                training.add(teach(s, epoch, steps=config.controller_steps))
            if training.enters("report"):
                training.add(validate(s, epoch, steps=config.valid_steps))
            record = training.close_epoch("weights", s.weights.num_images)
            if epoch >= config.epochs - config.average_last:
                s.last.take()
            unusual = unusual_draws(s, epoch, record)
            training.end_epoch(record, s.task.measure)
            show_epoch(s, epoch, unusual)
        with s.last.averaged():
            derive(s)


def train_weights(s: Search, epoch: int, drop_path: float) -> dict[str, float]:
    """Phase 1: the shared weights, each batch along the path of one genotype."""
    training, steps = s.training, len(s.weights)
    s.constraints.take_acceptance()
    with training.clock.part(CONTROLLER):
        paths = draw_paths(s, epoch, steps)
    accepted = s.constraints.take_acceptance()
    s.seen.add(paths)
    if epoch == 0:  # too little memory shows in the first step, not in the third hour
        paths[0] = Genotype.widest(len(paths[0].cells), paths[0].sharing, paths[0].space)
    arguments = [[(path, drop_path)] for path in paths]
    try:
        metrics = pass_over_weights(s, epoch, arguments, draws="drop_path")
    except NotFiniteError as error:
        raise NotFiniteError(error.step, f"epoch {epoch}, genotype {paths[error.step]}") from None
    return {
        **metrics,
        "shared/drop_path": drop_path,
        "controller/distinct": len(set(paths)) / len(paths),
        "controller/seen": len(s.seen),
        **shares(paths),
        **({"controller/accepted": accepted} if s.constraints.filter else {}),
    }


def train_mixture(s: Search, epoch: int) -> dict[str, float]:
    """Phase 1 of a search by gradients: each batch moves the architecture, on a reward batch, and then the weights."""
    config, training, steps = s.config, s.training, len(s.weights)
    batches = forever(s.rewards, epoch * steps + training.at.step)

    def move(_step: int, batch: Batch) -> None:
        valid = next(batches)
        count_scored(s, [valid, *([batch] * 3 if config.order == 2 else [])], 1)
        s.architect.step(batch, valid)

    before = None if epoch < config.warmup_epochs else move
    try:
        metrics = pass_over_weights(s, epoch, [[(s.strategy.mixture(),)]] * steps, draws="mixture", before=before)
    except NotFiniteError as error:
        raise NotFiniteError(error.step, f"epoch {epoch}") from None
    genotype = s.draws.sample(1, "derived", epoch)[0]
    s.seen.add([genotype])
    return {
        **metrics,
        "controller/seen": len(s.seen),
        "darts/entropy": s.strategy.entropy(),
        **{f"darts/ops/{name}": number for name, number in derived_operations(genotype).items()},
    }


def pass_over_weights(
    s: Search,
    epoch: int,
    arguments: Sequence[Sequence[tuple[Any, ...]]],
    *,
    draws: str,
    before: Callable[[int, Batch], None] | None = None,
) -> dict[str, float]:
    """Train the shared weights on every batch of an epoch; ``arguments`` and ``before`` as train_pass takes them.

    ``draws``: the name by which what a step draws derives from the seed.
    """
    config, training = s.config, s.training
    meter = s.task.meter(training.device, training.heads)
    train_pass(
        training.wrapped,
        s.weights,
        s.task,
        arguments=arguments,
        seeds=[derived_seed(config.seed, draws, epoch, step, training.world.rank) for step in range(len(s.weights))],
        optimizer=training.optimizer,
        precision=training.precision,
        meter=meter,
        clip=config.grad_clip,
        progress=training,
        before=before,
        mean=training.world.mean,
    )
    metrics = meter.read(training.world.all_reduce_sum)
    return {
        **{f"shared/{name}": value for name, value in metrics.items() if not name.startswith("aux")},
        "shared/lr": training.schedule.lr(epoch),
        "images/trained": s.weights.num_images * s.weights.views,
    }


def draw_paths(s: Search, epoch: int, n: int) -> list[Genotype]:
    """The genotypes that the shared weights are trained on in an epoch; uniform ones during the warm-up."""
    config = s.config
    if config.path_sampling == POLICY and epoch >= config.warmup_epochs:
        return s.draws.sample(n, "paths", epoch)
    draw = PATHS[config.path_sampling] or uniform  # during the warm-up there is no policy
    generator = s.draws.generator("warm-up", epoch)
    return s.draws.form(draw(n, num_cells(config.sharing, config.blocks), config.sharing, generator, config.space))


def teach(s: Search, epoch: int, *, steps: int) -> dict[str, float]:
    """Phase 2: updates of the strategy, each on reward batches of its own; none during the warm-up."""
    at, training, each = s.training.at, s.training, s.config.reward_batches
    if epoch < s.config.warmup_epochs or not steps:
        return {}
    batches, clock = forever(s.rewards, (epoch * steps + at.step) * each), training.clock
    with training.reporter("strategy", steps) as reporter, evaluating(s.supernet):
        for step in range(at.step, steps):
            with clock.part(DATA):
                shown = list(islice(batches, each))
            with clock.part(CONTROLLER):
                genotypes = s.draws.ask(s.config.controller_samples, "propose", epoch, step)
                s.seen.add(genotypes)
            found = rewards(s, genotypes, shown, f"epoch {epoch}")
            with clock.part(CONTROLLER):
                at.rows.append(s.strategy.tell(found))
            at.step = step + 1
            reporter(step)
            training.stop.check()
    training.log.histogram("controller/rewards", [row["reward"] for row in at.rows], epoch)
    # A strategy may tell more now and then: each column is averaged over the updates that have it.
    columns = {key: [row[key] for row in at.rows if key in row] for key in chain(*at.rows)}
    means = {f"controller/{key}": sum(column) / len(column) for key, column in columns.items()}
    return {**means, "controller/evaluations": len(s.known)}


def rewards(s: Search, genotypes: Sequence[Genotype], batches: Sequence[Batch], where: str) -> list[float]:
    """The reward of each genotype: its score on the batches, or the one that is known, within soft limits."""
    unscored = s.known.missing(genotypes)
    count_scored(s, batches, len(unscored))
    for genotype, metrics in zip(unscored, s.scorer.metrics(unscored, batches), strict=True):
        s.known.scores[genotype] = require_finite(metrics["score"], f"{where}, genotype {genotype}")
    return [s.constraints.reward(s.known.scores[genotype], genotype) for genotype in genotypes]


def count_scored(s: Search, batches: Sequence[Batch], genotypes: int) -> None:
    """Put on record how many images of all processes pass through the shared weights for scores."""
    images, record = genotypes * sum(len(batch.images) for batch in batches), s.training.at.record
    # Summed at once, since a run goes on with the record of the first process.
    record["images/scored"] = record.get("images/scored", 0) + s.training.world.count(images)


def validate(s: Search, epoch: int, *, steps: int) -> dict[str, float]:
    """Phase 3: freshly sampled genotypes, or the mixture, one validation batch each. Nothing is learned from it."""
    at = s.training.at
    if not steps:
        return {}
    clock = s.training.clock
    with clock.part(CONTROLLER):
        genotypes = [s.strategy.mixture()] * steps if s.architect else s.draws.sample(steps, "report", epoch)
    batches = clock.waiting(forever(s.valid, epoch * steps + at.step))
    names = ["loss", s.task.measure, *(["score"] if s.scorer.name != s.task.measure else [])]
    with evaluating(s.supernet):
        for step, batch in enumerate(islice(batches, steps - at.step), at.step):
            [metrics] = s.scorer.metrics([genotypes[step]], [batch])
            count_scored(s, [batch], 1)
            shown = "the mixture" if s.architect else f"genotype {genotypes[step]}"
            require_finite(metrics["score"], f"epoch {epoch}, {shown}")
            at.rows.append([metrics[name] for name in names])
            at.step = step + 1
            s.training.stop.check()
    means = [sum(column) / steps for column in zip(*at.rows, strict=True)]
    return {f"valid/{name}": mean for name, mean in zip(names, means, strict=True)}


def unusual_draws(s: Search, epoch: int, record: Mapping[str, float]) -> list[str]:
    """What is wrong with the strategy after this epoch, by what it draws; nothing, mostly."""
    if s.architect:
        return skip_collapse(s.draws.sample(1, "derived", epoch)[0])
    if epoch < s.config.warmup_epochs or not s.config.controller_steps:
        return []
    entropy, notes = record.get("controller/entropy"), s.training.notes
    notes.setdefault("entropy", entropy)
    with s.training.clock.part(CONTROLLER):
        drawn = s.draws.sample(20, "sample", epoch)
    return warnings(
        drawn,
        entropy=entropy,
        first=notes["entropy"],
        moved=s.strategy.has_moved(),
        kl_from_uniform=record.get("controller/kl_from_uniform"),
    )


def show_epoch(s: Search, epoch: int, unusual: Sequence[str]) -> None:
    """Warnings, and now and then pictures of what the strategy favours."""
    log = s.training.log
    for text in unusual:
        log.line(f"warning: {text}")
    if log.writer and (epoch % s.config.report_freq == 0 or epoch == s.config.epochs - 1):
        with s.training.clock.part(WRITING), log.decoration("pictures of the controller"):
            for tag, picture in likely_pictures(s.strategy, plots.heat_map):
                log.figure(tag, picture, epoch)


def scores(s: Search, candidates: Sequence[Genotype]) -> list[dict[str, float]]:
    """The ``score`` of candidates by --rank_by: with the shared weights on all reward images, and then with all other
    metrics; or as untrained networks on some.
    """
    training, done = s.training, count()
    is_shared = s.config.rank_by == SHARED
    with training.reporter("derive", len(candidates) * (len(s.rewards) if is_shared else 1)) as reporter:

        def step() -> None:
            reporter(next(done))
            training.stop.check()

        if is_shared:
            keep_freed_memory(training.device)  # nothing is drawn any more, which would get slower by it
            found = s.scorer.metrics(candidates, training.clock.waiting(s.rewards), step)
            if not any(math.isfinite(metrics["score"]) for metrics in found):
                raise ScoreError(f"any of {len(found)} genotypes")
            return found
        ranker, found = untrained(s), []
        for genotype in candidates:
            found.append({"score": ranker(genotype)})
            step()
        return found


def untrained(s: Search) -> Ranker:
    """The ranker without training that --rank_by names: of fresh networks, on one batch of reward images.

    The first process scores for all: the images of the others are others, and so would be their scores.
    """
    if not s.training.world.is_main:
        return lambda _genotype: s.training.world.of_first(None)
    s.rewards.set_epoch(0)
    batch = next(iter(s.rewards))
    images, targets = batch.images, batch.labels
    score = ProxyRanker(
        s.config.rank_by,
        s.deployment.answering(s.supernet.spec),
        s.config.seed,
        images,
        targets,
        s.task.mean_loss,
    )
    return lambda genotype: s.training.world.of_first(lambda: score(genotype))


def derive(s: Search) -> None:
    """Rank sampled genotypes by --rank_by; write the best, and what each will cost to retrain."""
    config, training, constraints, clock = s.config, s.training, s.constraints, s.training.clock
    began = time.perf_counter()
    s.rewards.set_epoch(0)
    with clock.part(CONTROLLER):
        drawn = s.draws.finalists(config.derive_samples, "derive")
    candidates = sorted(genotype for genotype in set(drawn) if constraints.weight or constraints.meets(genotype))
    if not candidates:
        raise UsageError(constraints.explained(NothingFitsError(f"none of {len(drawn)} genotypes meets the limits")))
    with clock.part(EVALUATION):
        known = dict(zip(candidates, scores(s, candidates), strict=True))
    ranked = rank(candidates, lambda genotype: known[genotype]["score"], len(candidates))
    if training.world.is_main:
        finite = [r for r in ranked if math.isfinite(r.score)]
        front = pareto_front(finite, lambda r: r.score, lambda r: constraints.cost(front_cost(config), r.genotype))
        measures = {g: metrics[s.task.measure] for g, metrics in known.items() if s.task.measure in metrics}
        with clock.part(WRITING):
            write_genotypes(s, ranked, front, measures)
            write_result(s, finite, front, measures, time.perf_counter() - began)


def front_cost(config: SearchConfig) -> str:
    """The cost that the Pareto front is drawn against: the one that is limited, else MACs."""
    return "latency_ms" if config.max_latency_ms else "params" if config.max_params else "macs"


def write_genotypes(
    s: Search, ranked: Sequence[Ranked], front: Sequence[Ranked], measures: Mapping[Genotype, float]
) -> None:
    """genotypes.json: the best, and besides them the front of score against cost among all candidates.

    ``measures``: that of the task with the shared weights, where they were asked.
    """
    path = s.training.log.folder / "genotypes.json"

    def costs(genotype: Genotype) -> dict[str, object]:
        found = {"parameters": s.constraints.cost("params", genotype), "macs": s.constraints.cost("macs", genotype)}
        if s.config.max_latency_ms:
            found["latency_ms"] = s.constraints.cost("latency_ms", genotype)
        return found

    def describe(number: int, genotype: Genotype) -> dict[str, object]:
        return {
            **({s.task.measure: measures[genotype]} if genotype in measures else {}),
            **costs(genotype),
            "aux_parameters": s.deployment.network(genotype).num_aux_parameters,
            "pareto": any(genotype == on_front.genotype for on_front in front),
            "retrain": retrain_command(flags_of(s.config), path, number),
        }

    facts = {
        **s.deployment.facts(),
        "task": s.config.task,
        "searcher": s.config.searcher,
        "bn_stats": s.config.bn_stats,
        "ranked_by": s.config.rank_by,
        "score": s.scorer.name,
        "reward_images": s.rewards.num_images if s.config.rank_by == SHARED else s.rewards.first_batch,
        "ranked": len(ranked),
        "canonical": s.config.canonical,
        "seen": len(s.seen),
        "pareto_cost": front_cost(s.config),
        "pareto_front": [{"cells": g.to_lists(), "score": score, **costs(g)} for g, score in front],
    }
    write_json(path, genotype_document(ranked[: s.config.top_k], describe, facts))


def write_result(
    s: Search, ranked: Sequence[Ranked], front: Sequence[Ranked], measures: Mapping[Genotype, float], seconds: float
) -> None:
    """What the search found: pictures, report, result.json and the last lines on the console."""
    log, best, cost = s.training.log, ranked[0], front_cost(s.config)
    is_shared, of = s.config.rank_by == SHARED, s.scorer.score
    score = of.sentence.format(best.score) if is_shared else f"{s.config.rank_by} {best.score:.6g}"
    result = {
        "score": best.score,
        "ranked_by": s.config.rank_by,
        "genotype": best.genotype.to_lists(),
        "derive_s": seconds,
    }
    lines = [
        f"best of {len(ranked)}: {score}, {best.genotype}",
        f"retrain it with:  {retrain_command(flags_of(s.config), log.folder / 'genotypes.json', 0)}",
    ]
    if is_shared and s.scorer.name == "top1":  # whose noise is known
        found = spread([candidate.score for candidate in ranked], s.rewards.num_images)
        result["spread"] = found._asdict()
        lines.insert(0, found.sentence())
    elif measures:
        result[f"mean_{s.task.measure}"] = mean = statistics.fmean(measures.values())
        lines.insert(0, f"{len(measures)} candidates: mean {s.task.measure} {mean:.2f} on the reward images")
    if hasattr(s.strategy, "report"):
        result[s.config.searcher] = told = s.strategy.report([candidate.genotype for candidate in ranked])
        lines.insert(0, f"{s.config.searcher}: " + ", ".join(f"{k} {v:.4g}" for k, v in told.items() if v is not None))
    if s.config.advise:
        path = (best.genotype, 0.0)
        options = {"clip": s.config.grad_clip, "workers": s.config.workers}
        result["advice"] = advise(s.training, s.task, s.weights, [path], **options)
    write_search(
        log,
        best=best.genotype,
        draw=draw_genotype,
        points=[[(s.constraints.cost(cost, r.genotype), r.score) for r in part] for part in (ranked, front)],
        cost=cost,
        score=of.axis if is_shared else s.config.rank_by,
        result=result,
        lines=lines,
        epochs=s.config.epochs,
        clock=s.training.clock,
    )


def draw_genotype(genotype: Genotype):
    """A drawing; the packages for it take a second to import."""
    from ops.draw import draw

    return draw(genotype)


def make_constraints(run: Session, deployment: Deployment) -> Constraints:
    """What the network that will be retrained may cost, and how its costs are found."""
    config = run.config
    asked = {"params": config.max_params, "macs": config.max_macs, "latency_ms": config.max_latency_ms}
    maxima = {name: most for name, most in asked.items() if most is not None}
    if config.cost_weight and not maxima:
        raise UsageError("--cost_weight needs a target: --max_params, --max_macs or --max_latency_ms")
    return Constraints(
        cost_functions(deployment, run.world, run.device, config.latency_batch), maxima, config.cost_weight
    )


def search_spec(config: SearchConfig, preset: Preset, outputs: int) -> NetworkSpec:
    """The shape of the supernet."""
    return NetworkSpec(
        config.blocks,
        config.child_out_filters,
        outputs,
        config.stem or STRUCTURES[config.space].stem(not preset.is_small, in_search=True),
        config.antialias,
        config.child_use_aux_heads,
        config.space,
        TASKS[config.task].search().head,
    )


def make_loaders(run: Session, dataset: Dataset) -> dict[str, Loader]:
    """Loaders of the images for weights, rewards and validation, and with ``recalibrate`` for statistics."""
    config, device = run.config, run.device
    loaders = make_search_loaders(
        dataset.train,
        dataset.val,
        dataset.preset,
        reward_fraction=config.reward_fraction,
        calibrate=BN_STATS[config.bn_stats].calibrated,
        batch_size=config.batch_size,
        device=device,
        seed=config.seed,
        workers=config.workers,
        rank=run.world.rank,
        world_size=run.world.size,
    )
    return {name: TASKS[config.task].wrap(loader) for name, loader in loaders.items()}


def make_deployment(config: SearchConfig, preset: Preset, spec: NetworkSpec, classes: int) -> Deployment:
    """The network that a genotype of this search will be retrained as, for data of so many classes."""
    task = TASKS[TASKS[config.task].retrained_as].retrain()
    size = config.deploy_image_size or preset.image_size
    retrain_preset = find_dataset(
        config.data, config.dataset, size, targets=task.targets, bad_images=config.bad_images
    ).preset  # another stem for larger images
    space = spec.search_space
    blocks = (config.deploy_layers,) if config.deploy_layers else space.depths[1] if space.stacked else config.blocks
    deployed = replace(
        spec,
        blocks=config.deploy_blocks or blocks,
        filters=config.deploy_filters or config.child_out_filters,
        num_classes=task.outputs(classes),
        stem=STRUCTURES[spec.space].stem(not retrain_preset.is_small, in_search=False),
        head=task.head,
    )
    deployment = Deployment(deployed, config.sharing, size)
    deployment.require_fit(config.blocks)
    return deployment


def choose_strategy(config: SearchConfig, device: torch.device) -> Strategy | Relaxation:
    """Who searches: by the scores of genotypes, or by gradients, with numbers that are where the gradients are."""
    cells = num_cells(config.sharing, config.blocks)
    if config.searcher in GRADIENT:
        options = {"lr": config.arch_lr, "weight_decay": config.arch_weight_decay, "device": device}
        return GRADIENT[config.searcher](cells, config.sharing, config.space, **options)
    return make_strategy(
        config.searcher,
        cells,
        config.sharing,
        config.space,
        lr=config.controller_lr,
        entropy_weight=config.entropy_weight,
        baseline_decay=config.bl_dec,
        controller=config.controller,
        logit_scale=LogitScale(config.connection_bound, config.operation_bound, config.controller_temperature),
        optimizer=config.controller_optimizer,
        advantage=config.advantage,
        entropy_in_loss=config.entropy_in_loss,
        updates=(config.epochs - config.warmup_epochs) * config.controller_steps,
        nao=Settings(config.nao_pool, config.nao_replace, config.nao_best, epochs=config.nao_epochs),
    )


def build(run: Session, dataset: Dataset, spec: NetworkSpec, classes: int) -> Search:
    """Networks, optimizers and loaders, every random number of them from the seed."""
    config, device = run.config, run.device
    loaders, side = make_loaders(run, dataset), TASKS[config.task].input_side(dataset.preset.image_size)
    deployment = make_deployment(config, dataset.preset, spec, classes)
    constraints = make_constraints(run, deployment)
    torch.manual_seed(derived_seed(config.seed, "supernet"))
    supernet = SuperNet.of(spec, config.sharing, config.bn_stats, config.bn_affine).to(device)
    supernet.drop_before_head(config.dropout)
    for loader in loaders.values():
        spec.require_batch(side, loader.smallest_batch, loader.split.name, loader.remedy)
    if config.sync_bn:
        synchronise_norms(supernet, run.world, run.device)
    torch.manual_seed(derived_seed(config.seed, "controller"))
    strategy = choose_strategy(config, device)
    seen, known, last = Seen(), ScoreCache(), LastWeights(supernet, config.average_last)
    averaging = {"last": last} if config.average_last > 1 else {}
    training = Training(
        "search",
        supernet,
        make_sgd(
            supernet.parameters(),
            config.child_lr_max,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.nesterov,
        ),
        run.precision,
        replace(run.schedule, warmup=config.lr_warmup_epochs, by_step=config.lr_by_step),
        run.world,
        device,
        config.report_freq,
        flags=flags_of(config),
        facts={"network": supernet.arguments(), **dataset.facts()},
        clock=run.clock,
        extras={"strategy": strategy, "seen": seen, "known": known, "limits": constraints, **averaging},
    )
    task = TASKS[config.task].search()
    name, score = task.choose_score(config.score)
    scorer = Scorer(
        supernet,
        task,
        name,
        score,
        run.precision,
        device,
        heads=training.heads,
        calibration=[b.images for b in islice(loaders.pop("calibration", ()), config.calibration_steps)],
        by_path=BN_STATS[config.bn_stats].calibrated,
        total=run.world.all_reduce_sum,
    )
    architect = None
    if config.searcher in GRADIENT:
        architect = Architect(supernet, strategy, training.optimizer, task, config.order, run.world.mean)
    return Search(
        config=config,
        dataset=dataset,
        task=task,
        supernet=supernet,
        strategy=strategy,
        architect=architect,
        draws=GenotypeSampler(strategy, constraints, run.world, config.seed, config.canonical),
        constraints=constraints,
        seen=seen,
        known=known,
        last=last,
        deployment=deployment,
        training=training,
        scorer=scorer,
        **loaders,
    )


def assemble(run: Session) -> Search:
    """Read the data and build what searches on them. Refuses what does not fit together."""
    config = run.config
    task = TASKS[config.task]
    task.choose_score(config.score)  # or refuses it
    options = {"cutout": config.cutout, "flip": config.flip, "targets": task.targets}
    options["bad_images"] = config.bad_images
    source = find_dataset(config.data, config.dataset, config.image_size, **options)
    classes = num_outputs(source, config.num_class, run.note)
    spec = search_spec(config, source.preset, task.search().outputs(classes))
    size = source.preset.image_size
    spec.require_size(task.input_side(size), task.input_title(size))
    if warning := task.warning(source.name, source.preset):
        run.note(warning)
    with run.clock.part(DATA), run.world.main_first():
        options = {"bad_images": config.bad_images, "cache": config.cache, "train_images": config.train_images}
        dataset = load(source, **options, labels=task.uses_labels, log=run.note)
    run.require_same_data(dataset.facts())
    return build(run, dataset, spec, classes)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a search; see --help. Exits with 2 for what is refused and 1 for a fault during the run."""
    config = parse_search(argv)
    with command("train_search_cifar.py", GenotypeError) as state, session(config, "search") as run:
        if run.is_complete():
            run.note(f"{run.path.parent} is complete: nothing to do")
            return 0
        s = assemble(run)
        if run.saved is not None:
            run.saved["extras"].setdefault("known", {})  # checkpoints of before scores were kept
            s.training.restore(run.saved, run.path)
        # What nothing meets, and a ranker that cannot rank, are refused before anything is made.
        [genotype] = s.draws.sample(1, "limits")
        if s.config.rank_by != SHARED:
            untrained(s)(genotype)
        s.training.log = run.open_run(
            {**s.dataset.facts(), **s.supernet.arguments(), "epoch_images": s.weights.num_images}
        )
        state.started(s.training.log)
        search(s)
    return 0


if __name__ == "__main__":
    sys.exit(main())
