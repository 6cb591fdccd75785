"""The ranking at the end of a search: sampled genotypes by one or several rankers (docs/method.md, section 4.4)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from controller.constraints import pareto_front
from controller.genotype_sampler import GenotypeSampler
from controller.ranking import Ranked, Ranker, mean_of_ranks, rank
from controller.sampling import NothingFitsError
from data.loaders import Loader
from engine.configuration import rankers_in
from engine.finals import Finals, finals_first, run_finals
from engine.finite import ScoreError
from engine.pieces import Workplace, make
from engine.run_state import RunState
from engine.scoring import Scorer
from models.proxies import READ_IMAGES, ProxyError
from ops.genotype import Genotype
from utils.config import SHARED, SearchConfig
from utils.system.errors import UsageError


@dataclass(frozen=True)
class Ranking:
    """The candidates of a search, best first.

    ``columns``: the scores of all of them by each ranker. ``metrics``: what the shared weights measure of them, if they
    were asked. ``front``: those that no other beats in score and cost. ``finals``: of those that were trained.
    ``seconds``: what all of it took.
    """

    candidates: Sequence[Ranked]
    columns: Mapping[str, Mapping[Genotype, float]]
    metrics: Mapping[Genotype, Mapping[str, float]]
    front: Sequence[Ranked]
    seconds: float
    finals: Finals


def rank_candidates(
    run: RunState,
    config: SearchConfig,
    sampler: GenotypeSampler,
    scorer: Scorer,
    rankers: Mapping[str, Ranker],
    rewards: Loader,
) -> Ranking:
    """Rank genotypes of the strategy by all that --rank_by names; ``rankers``: those without training.

    Raises UsageError where none meets the limits.
    """
    began, limits, cost = time.perf_counter(), sampler.constraints, front_cost(config)
    rewards.set_epoch(0)  # statistics are those of a batch, so which images share one has to be settled
    drawn = sampler.finalists(config.derive_samples, "derive")  # several may be the same
    # In an order that all processes share.
    candidates = sorted(genotype for genotype in set(drawn) if limits.meets(genotype))
    if not candidates:
        raise UsageError(limits.explained(NothingFitsError(f"none of {len(drawn)} genotypes meets the limits")))
    columns, metrics = {}, {}
    for name in rankers_in(config.rank_by):
        if name == SHARED:
            metrics = shared_weights_metrics(run, scorer, candidates, rewards)
            columns[name] = {genotype: metrics[genotype]["score"] for genotype in candidates}
        else:
            columns[name] = untrained_scores(run, name, rankers[name], candidates)
    if not any(math.isfinite(score) for column in columns.values() for score in column.values()):
        raise ScoreError(f"any of {len(candidates)} genotypes by {config.rank_by}")
    scores = mean_of_ranks([list(column.values()) for column in columns.values()])
    of_one = dict(zip(candidates, scores, strict=True)) if len(columns) > 1 else next(iter(columns.values()))
    # All of them: front and spread need more than the best.
    ranked = rank(candidates, of_one.__getitem__, len(candidates))
    finite = [candidate for candidate in ranked if math.isfinite(candidate.score)]  # a front has no place for nan
    for candidate in finite:  # in all processes: a latency is handed on by the first, which measures it
        limits.cost(cost, candidate.genotype)
    front = pareto_front(finite, lambda r: r.score, lambda r: limits.cost(cost, r.genotype))
    return Ranking(ranked, columns, metrics, front, time.perf_counter() - began, {})


def images_of_ranking(rank_by: str, rewards: Loader) -> int:
    """How many images each candidate passes through a network to be ranked."""
    names = rankers_in(rank_by)
    one_batch = sum(name in READ_IMAGES for name in names) * rewards.first_batch
    return one_batch + (SHARED in names) * rewards.views * rewards.num_images


def shared_weights_metrics(
    run: RunState, scorer: Scorer, candidates: Sequence[Genotype], rewards: Loader
) -> dict[Genotype, dict[str, float]]:
    """The metrics of the candidates with the shared weights, on all reward images."""
    with run.progress("derive", len(candidates) * len(rewards)) as progress:

        def batch_done() -> None:
            progress.advance()
            run.check_stop()

        metrics = scorer.metrics(candidates, rewards, batch_done)
    return dict(zip(candidates, metrics, strict=True))


def untrained_scores(run: RunState, name: str, ranker: Ranker, candidates: Sequence[Genotype]) -> dict[Genotype, float]:
    """The scores of the candidates by a ranker that needs no training; nan where it has none."""
    scores = {}
    with run.progress(name, len(candidates)) as progress:
        for genotype in candidates:
            try:
                scores[genotype] = ranker(genotype)
            except ProxyError:
                scores[genotype] = math.nan
            progress.advance()
            run.check_stop()
    return scores


def train_finals(run: RunState, config: SearchConfig, ranking: Ranking, *, images: int) -> Ranking:
    """The ranking when its best candidates were trained as --finals says: they come first, by what they reached.

    ``images``: that they are trained on.
    """
    began, order = time.perf_counter(), [candidate.genotype for candidate in ranking.candidates]
    n = min(config.finals, len(order))
    if n < config.finals:
        run.log.line(f"--finals {config.finals}: there are {n} different candidates, and all of them are trained")
    if n < 2:  # nothing to compare
        return ranking
    if not config.epochs:  # without a supernet nothing was saved yet, and finals read the run's checkpoint
        run.save()
    folder = run.world.broadcast(run.log.folder)  # the first process alone has it
    place = Workplace(config, folder, run.world, run.stop, run.log.line)
    apart = config.cluster or config.jobs > 1
    finals = run_finals(
        replace(config, finals=n),
        folder,
        order,
        lambda pieces: make(pieces, place),
        searched=config.epochs,
        steps=-(-images // config.batch_size),  # each is trained in one process, whatever there are
        folder=folder / "finals",
        device=None if apart else run.context.device,  # jobs choose theirs
    )
    by_final = {candidate.genotype: candidate for candidate in ranking.candidates}
    candidates = [by_final[genotype] for genotype in finals_first(finals, order)]
    seconds = ranking.seconds + time.perf_counter() - began
    return replace(ranking, candidates=candidates, finals=finals, seconds=seconds)


def front_cost(config: SearchConfig) -> str:
    """The cost that the Pareto front is drawn against: the one that is limited, else MACs."""
    return "latency_ms" if config.max_latency_ms else "parameters" if config.max_params else "macs"
