"""What a strategy looks like after an epoch: warnings, and pictures of what it favours."""

from __future__ import annotations

from collections.abc import Mapping

from controller.genotype_sampler import GenotypeSampler
from controller.pictures import likely_pictures
from controller.relaxation import Relaxation
from controller.statistics import UNIFORM, skip_collapse, warnings
from engine.run_state import RunState
from utils.reports import plots


def strategy_warnings(run: RunState, sampler: GenotypeSampler, metrics: Mapping[str, float], epoch: int) -> list[str]:
    """What looks wrong with a strategy after an epoch, by what it draws; mostly nothing. ``metrics``: of the epoch."""
    config = run.context.config
    if isinstance(sampler.strategy, Relaxation):
        texts = skip_collapse(sampler.sample(1, "derived", epoch)[0])
        distance = sampler.strategy.kl_from_uniform()
        if epoch == config.epochs - 1 and distance < UNIFORM:
            texts.append(
                f"the architecture still mixes uniformly, {distance:.2g} nats a choice away from it: "
                "the genotype that it stands for is that of its random start"
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


def show_strategy(run: RunState, sampler: GenotypeSampler, epoch: int) -> None:
    """Now and then, and at the end, pictures of what the strategy favours, in TensorBoard."""
    config = run.context.config
    if run.log.writer is None or (epoch % config.report_freq and epoch != config.epochs - 1):
        return
    with run.log.decoration("pictures of the controller"):
        for tag, picture in likely_pictures(sampler.strategy, plots.heat_map):
            run.log.figure(tag, picture, epoch)
