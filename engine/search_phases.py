"""The three phases of an epoch of a search: shared weights, strategy, report (docs/method.md, section 4).

Then what the strategy looks like after the epoch: warnings, and pictures of what it favours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, islice
from typing import Any

from controller.genotype_sampler import GenotypeSampler
from controller.pictures import likely_pictures
from controller.relaxation import Relaxation
from controller.statistics import UNIFORM, derived_operations, shares, skip_collapse, warnings
from data.loaders import Batch, Loader, forever
from engine.architect import Architect
from engine.finite import NotFiniteError, require_finite
from engine.passes import Learner, train_pass
from engine.run_state import RunState
from engine.scoring import Scorer, evaluating
from engine.search_setup import SearchData
from engine.tasks import Task
from ops.genotype import Genotype
from utils.config import SearchConfig
from utils.reports import plots


def sample_paths(run: RunState, sampler: GenotypeSampler, steps: int, warming_up: bool) -> list[Genotype]:
    """The genotype whose path each step of an epoch trains: from the policy, or, warming up, drawn without it."""
    epoch = run.position.epoch
    sampler.constraints.take_acceptance()  # of draws for other ends
    # All of the epoch at once: the strategy does not move within it, and a resumed run draws the same list again.
    if sampler.trains_policy and not warming_up:
        paths = sampler.sample(steps, "paths", epoch)
    else:
        # Limits do not hold here (section 10).
        paths = sampler.form(sampler.free_draw(steps, sampler.generator("warm-up", epoch)))
    if sampler.constraints.filter:  # else nothing was tested, and there is no share
        run.position.epoch_metrics["controller/accepted"] = sampler.constraints.take_acceptance()
    sampler.seen.add(paths)
    run.position.epoch_metrics["controller/seen"] = len(sampler.seen)
    if epoch == 0:  # too little memory shows in the first step, not in the third hour
        paths[0] = Genotype.widest(len(paths[0].cells), paths[0].sharing, paths[0].space)
    return paths


def train_weights(
    run: RunState, learner: Learner, loader: Loader, task: Task, *, paths: Sequence[Genotype], drop_path: float
) -> dict[str, float]:
    """Phase 1: every batch of the images for shared weights once, each along a path of its own."""
    arguments = [(path, drop_path) for path in paths]
    try:
        metrics = _train_epoch(run, learner, loader, task, arguments, draws="drop_path")
    except NotFiniteError as error:  # the pass knows steps; which genotype it was is known here
        where = f"epoch {run.position.epoch}, genotype {paths[error.step]}"
        raise NotFiniteError(error.step, where) from None
    distinct = len(set(paths)) / len(paths)
    return {**metrics, "shared/drop_path": drop_path, "controller/distinct": distinct, **shares(paths)}


def train_mixture(
    run: RunState, learner: Learner, data: SearchData, task: Task, sampler: GenotypeSampler, architect: Architect | None
) -> dict[str, float]:
    """Phase 1 of a search by gradients: a step moves the architecture on a reward batch, and then the weights.

    ``architect``: None during the warm-up, in which the architecture rests.
    """
    epoch, steps, relaxation = run.position.epoch, len(data.weights), sampler.strategy
    # One a step, counted over all epochs: a run that goes on finds the batch that it would have had.
    reward_batches = forever(data.rewards, epoch * steps + run.position.step)
    arguments = [(relaxation.mixture(),)] * steps  # one for all steps: it reads the logits as they then are
    options = {"draws": "mixture", "architect": architect, "reward_batches": reward_batches}
    try:
        metrics = _train_epoch(run, learner, data.weights, task, arguments, **options)
    except NotFiniteError as error:
        raise NotFiniteError(error.step, f"epoch {epoch}") from None
    [genotype] = sampler.sample(1, "derived", epoch)  # what the logits stand for after this epoch
    sampler.seen.add([genotype])
    return {
        **metrics,
        "controller/seen": len(sampler.seen),
        "darts/entropy": relaxation.entropy(),
        **{f"darts/ops/{name}": number for name, number in derived_operations(genotype).items()},
    }


def _train_epoch(
    run: RunState, learner: Learner, loader: Loader, task: Task, arguments: Sequence[tuple[Any, ...]], **options: Any
) -> dict[str, float]:
    """The pass itself, with the metrics that both kinds of search have of it; ``options``: as train_pass takes them."""
    meter = task.meter(run.context.device, len(learner.model.aux_heads))
    train_pass(learner, loader, task, arguments=arguments, meter=meter, run=run, **options)
    metrics = meter.read(run.world.all_reduce_sum)
    return {
        **{f"shared/{name}": value for name, value in metrics.items() if not name.startswith("aux")},
        "shared/lr": learner.schedule.lr(run.position.epoch),  # that of the first step
        "images/trained": loader.num_images * loader.views,  # a task without labels shows several views of each
    }


def teach_strategy(
    run: RunState, sampler: GenotypeSampler, scorer: Scorer, rewards: Loader, *, steps: int, n: int, batches: int
) -> dict[str, float]:
    """Phase 2: ``steps`` updates of the strategy, each by the scores of ``n`` genotypes on ``batches`` of its own."""
    if not steps:  # during the warm-up, and in a search by gradients
        return {}
    position, epoch = run.position, run.position.epoch
    # Updates are numbered over all epochs, so that each has other batches and a resumed one those it would have had.
    all_batches = forever(rewards, (epoch * steps + position.step) * batches)
    with run.progress("strategy", steps) as progress, evaluating(scorer.supernet):
        for step in range(position.step, steps):
            reward_batches = list(islice(all_batches, batches))
            genotypes = sampler.ask(n, "propose", epoch, step)
            sampler.seen.add(genotypes)
            scores = score_once(run, scorer, genotypes, reward_batches)
            position.phase_state.append(sampler.strategy.tell(scores))
            # The only place to stop: whatever was asked for has been told, and its row is kept for the resumed phase.
            progress(step)
            run.step_done(step)
    updates = position.phase_state
    run.log.histogram("controller/rewards", [update["reward"] for update in updates], epoch)
    # A strategy may report more now and then: each column is averaged over the updates that have it.
    columns = {key: [update[key] for update in updates if key in update] for key in chain(*updates)}
    means = {f"controller/{key}": sum(column) / len(column) for key, column in columns.items()}
    return {**means, "controller/evaluations": len(scorer.cache)}


def score_once(run: RunState, scorer: Scorer, genotypes: Sequence[Genotype], batches: Sequence[Batch]) -> list[float]:
    """The score of each genotype on the batches, or the one that it has with these weights already."""
    # Weights do not move between two epochs of training: a score stays, though of the batches of an earlier update.
    missing = scorer.cache.missing(genotypes)
    run.count("images/scored", len(missing) * sum(len(batch.images) for batch in batches))
    return scorer.scores(genotypes, batches, f"epoch {run.position.epoch}")


def report_samples(
    run: RunState, sampler: GenotypeSampler, scorer: Scorer, loader: Loader, *, steps: int
) -> dict[str, float]:
    """Phase 3: the mean metrics of freshly sampled genotypes, one validation batch each. Nothing is learned from it.

    A search by gradients has its mixture evaluated in their place.
    """
    position, measure = run.position, scorer.task.measure
    if not steps:
        return {}
    mixes = isinstance(sampler.strategy, Relaxation)
    genotypes = [sampler.strategy.mixture()] * steps if mixes else sampler.sample(steps, "report", position.epoch)
    batches = forever(loader, position.epoch * steps + position.step)
    # By default the score is the measure itself.
    names = ["loss", measure, *(["score"] if scorer.name != measure else [])]
    with evaluating(scorer.supernet):
        for step, batch in enumerate(islice(batches, steps - position.step), position.step):
            [metrics] = scorer.metrics([genotypes[step]], [batch])  # on a batch that no other genotype sees
            run.count("images/scored", len(batch.images))
            where = "the mixture" if mixes else f"genotype {genotypes[step]}"
            require_finite(metrics["score"], f"epoch {position.epoch}, {where}")
            position.phase_state.append([metrics[name] for name in names])
            run.step_done(step)
    # With the rows from before an interruption.
    means = [sum(column) / steps for column in zip(*position.phase_state, strict=True)]
    return {f"valid/{name}": mean for name, mean in zip(names, means, strict=True)}


def strategy_warnings(
    run: RunState, config: SearchConfig, sampler: GenotypeSampler, metrics: Mapping[str, float], epoch: int
) -> list[str]:
    """What looks wrong with a strategy after an epoch, by what it draws; mostly nothing. ``metrics``: of the epoch."""
    if isinstance(sampler.strategy, Relaxation):
        texts = skip_collapse(sampler.sample(1, "derived", epoch)[0])
        distance = sampler.strategy.kl_from_uniform()
        if epoch == config.epochs - 1 and distance < UNIFORM:
            texts.append(
                f"the architecture still mixes uniformly, {distance:.2g} nats a choice away from it: "
                "the genotype that it stands for is hardly more than a random one"
            )
        return texts
    if "controller/reward" not in metrics:  # it was not taught in this epoch
        return []
    updates = (epoch + 1 - config.warmup_epochs) * config.controller_steps  # so far, as the warm-up has none
    entropy = metrics.get("controller/entropy")
    # The entropy that the strategy began with, in a run that goes on too: notes are saved with it.
    first = run.notes.setdefault("entropy", entropy)
    genotypes = sampler.sample(20, "sample", epoch)  # few: it is only looked at whether they are all alike
    return warnings(
        genotypes,
        entropy=entropy,
        first=first,
        moved=sampler.strategy.has_moved(),
        updates=updates,
        kl_from_uniform=metrics.get("controller/kl_from_uniform"),
    )


def show_strategy(run: RunState, config: SearchConfig, sampler: GenotypeSampler, epoch: int) -> None:
    """Now and then, and at the end, pictures of what the strategy favours, in TensorBoard."""
    if run.log.writer is None or (epoch % config.report_freq and epoch != config.epochs - 1):
        return
    with run.log.decoration("pictures of the controller"):
        for tag, picture in likely_pictures(sampler.strategy, plots.heat_map):
            run.log.figure(tag, picture, epoch)
