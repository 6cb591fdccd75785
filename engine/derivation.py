"""The end of a search: sampled genotypes are ranked, and the best are written (docs/method.md, section 4.4)."""

from __future__ import annotations

import math
import shlex
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.constraints import pareto_front
from controller.genotype_sampler import GenotypeSampler
from controller.ranking import Ranked, Ranker, genotype_document, rank
from controller.sampling import NothingFitsError
from controller.statistics import spread
from data.loaders import Loader
from engine.finite import ScoreError
from engine.run_state import RunState
from engine.scoring import Scorer
from engine.search_setup import SearchData
from ops.genotype import Genotype
from utils.config import SHARED, SearchConfig
from utils.reports import plots, report
from utils.reports.log import write_json
from utils.runs.handover import retrain_command
from utils.runs.resume import flags_of
from utils.system.device import keep_freed_memory
from utils.system.errors import UsageError

Metrics = Mapping[Genotype, Mapping[str, float]]


@dataclass(frozen=True)
class Ranking:
    """The candidates of a search, best first. ``metrics``: those of each, its ``score`` among them.

    ``front``: those that no other beats in score and cost; ``seconds``: what ranking them took.
    """

    candidates: Sequence[Ranked]
    metrics: Metrics
    front: Sequence[Ranked]
    seconds: float


def rank_candidates(
    run: RunState, sampler: GenotypeSampler, scorer: Scorer, ranker: Ranker | None, rewards: Loader, *, samples: int
) -> Ranking:
    """Rank ``samples`` genotypes of the strategy, by a ranker without training or else by the shared weights.

    Raises UsageError where none meets the limits.
    """
    began, limits, cost = time.perf_counter(), sampler.constraints, front_cost(run.context.config)
    rewards.set_epoch(0)  # statistics are those of a batch, so which images share one has to be settled
    drawn = sampler.finalists(samples, "derive")  # several may be the same
    # In an order that all processes share.
    candidates = sorted(genotype for genotype in set(drawn) if limits.weight or limits.meets(genotype))
    if not candidates:
        raise UsageError(limits.explained(NothingFitsError(f"none of {len(drawn)} genotypes meets the limits")))
    if ranker is None:
        metrics = shared_weights_metrics(run, scorer, candidates, rewards)
    else:
        metrics = untrained_metrics(run, ranker, candidates)
    # All of them: front and spread need more than the best.
    ranked = rank(candidates, lambda genotype: metrics[genotype]["score"], len(candidates))
    finite = [candidate for candidate in ranked if math.isfinite(candidate.score)]  # a front has no place for nan
    for candidate in finite:  # in all processes: a latency is handed on by the first, which measures it
        limits.cost(cost, candidate.genotype)
    front = pareto_front(finite, lambda r: r.score, lambda r: limits.cost(cost, r.genotype))
    return Ranking(ranked, metrics, front, time.perf_counter() - began)


def shared_weights_metrics(
    run: RunState, scorer: Scorer, candidates: Sequence[Genotype], rewards: Loader
) -> dict[Genotype, dict[str, float]]:
    """The metrics of the candidates with the shared weights, on all reward images."""
    keep_freed_memory(run.context.device)  # nothing is drawn any more, which would get slower by it
    with run.progress("derive", len(candidates) * len(rewards)) as progress:

        def batch_done() -> None:
            progress.advance()
            run.check_stop()

        metrics = scorer.metrics(candidates, rewards, batch_done)
    if not any(math.isfinite(of_one["score"]) for of_one in metrics):
        raise ScoreError(f"any of {len(metrics)} genotypes")
    return dict(zip(candidates, metrics, strict=True))


def untrained_metrics(
    run: RunState, ranker: Ranker, candidates: Sequence[Genotype]
) -> dict[Genotype, dict[str, float]]:
    """The score of the candidates by a ranker that needs no training."""
    metrics = {}
    with run.progress("derive", len(candidates)) as progress:
        for genotype in candidates:
            metrics[genotype] = {"score": ranker(genotype)}
            progress.advance()
            run.check_stop()
    return metrics


def front_cost(config: SearchConfig) -> str:
    """The cost that the Pareto front is drawn against: the one that is limited, else MACs."""
    return "latency_ms" if config.max_latency_ms else "parameters" if config.max_params else "macs"


def write_search(run: RunState, ranking: Ranking, sampler: GenotypeSampler, scorer: Scorer, data: SearchData) -> None:
    """Write what the search has found; the first process does it for all."""
    if run.world.is_main:
        write_genotypes(run, ranking, sampler, scorer, data)
        write_result(run, ranking, sampler, scorer, data.rewards)


def write_genotypes(
    run: RunState, ranking: Ranking, sampler: GenotypeSampler, scorer: Scorer, data: SearchData
) -> None:
    """genotypes.json: the best, and besides them the front of score against cost among all candidates."""
    config, deployment = run.context.config, data.deployment
    path, measure = run.log.folder / "genotypes.json", scorer.task.measure

    def costs(genotype: Genotype) -> dict[str, object]:
        names = ["parameters", "macs", *(["latency_ms"] if config.max_latency_ms else [])]
        return {name: sampler.constraints.cost(name, genotype) for name in names}

    def describe(number: int, genotype: Genotype) -> dict[str, object]:
        metrics = ranking.metrics[genotype]
        return {
            **({measure: metrics[measure]} if measure in metrics else {}),
            **costs(genotype),
            "aux_parameters": deployment.network(genotype).num_aux_parameters,
            "pareto": any(genotype == on_front.genotype for on_front in ranking.front),
            "retrain": retrain_command(flags_of(config), scorer.task.retrained_as, path, number),
        }

    facts = {
        **deployment.facts(),
        "task": config.task,
        "searcher": config.searcher,
        "bn_stats": config.bn_stats,
        "ranked_by": config.rank_by,
        "score": scorer.name,
        # A ranker without training looks at one batch.
        "reward_images": data.rewards.num_images if config.rank_by == SHARED else data.rewards.first_batch,
        "ranked": len(ranking.candidates),
        "canonical": config.canonical,
        "seen": len(sampler.seen),
        "pareto_cost": front_cost(config),
        "pareto_front": [{"cells": g.to_lists(), "score": score, **costs(g)} for g, score in ranking.front],
    }
    write_json(path, genotype_document(ranking.candidates[: config.top_k], describe, facts))


def write_result(run: RunState, ranking: Ranking, sampler: GenotypeSampler, scorer: Scorer, rewards: Loader) -> None:
    """What the search has found for a person: pictures, report, result.json and the last lines on the console."""
    config: SearchConfig = run.context.config
    finite = [candidate for candidate in ranking.candidates if math.isfinite(candidate.score)]
    # There is one: where no score is finite the ranking raised before.
    best, cost, by_weights = finite[0], front_cost(config), config.rank_by == SHARED
    score = scorer.score.sentence.format(best.score) if by_weights else f"{config.rank_by} {best.score:.6g}"
    result = {
        "score": best.score,
        "ranked_by": config.rank_by,
        "genotype": best.genotype.to_lists(),
        "derive_s": ranking.seconds,
    }
    path, measure = run.log.folder / "genotypes.json", scorer.task.measure
    lines = [
        f"best of {len(finite)}: {score}, {best.genotype}",
        f"retrain it with:  {retrain_command(flags_of(config), scorer.task.retrained_as, path, 0)}",
    ]
    # None of a ranker without training.
    measures = [metrics[measure] for metrics in ranking.metrics.values() if measure in metrics]
    if by_weights and scorer.score.is_share:  # whose noise is known
        # Its noise is that of a share of so many images.
        scores = spread([candidate.score for candidate in finite], rewards.num_images)
        result["spread"] = scores._asdict()
        lines.insert(0, scores.sentence())
    elif measures:
        result[f"mean_{measure}"] = mean = statistics.fmean(measures)
        lines.insert(0, f"{len(measures)} candidates: mean {measure} {mean:.2f} on the reward images")
    if hasattr(sampler.strategy, "report"):
        facts = result[config.searcher] = sampler.strategy.report([candidate.genotype for candidate in finite])
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in facts.items() if value is not None)
        lines.insert(0, f"{config.searcher}: {numbers}")
    log, axis = run.log, scorer.score.axis if by_weights else config.rank_by
    points, front = (
        [(sampler.constraints.cost(cost, r.genotype), r.score) for r in part] for part in (finite, ranking.front)
    )
    panel = {cost: {"candidates": points, "Pareto front": front}}
    log.picture("derived", "genotype/derived", lambda: _draw(best.genotype), config.epochs)  # one epoch behind the last
    log.picture("pareto", "genotype/pareto", lambda: plots.panels(panel, axis), config.epochs)
    report.write(log, result)
    for line in lines:
        log.line(line)
    if log.writer is not None:
        log.line(f"look at the search with:  tensorboard --logdir {shlex.quote(str(log.folder))}")


def _draw(genotype: Genotype) -> Any:
    """A drawing; the packages for it take a second to import."""
    from ops.draw import draw

    return draw(genotype)
