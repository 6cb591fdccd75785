"""The end of a search: genotypes.json for the retrainer; report, pictures and last lines for a person."""

from __future__ import annotations

import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.constraints import Constraints
from controller.genotype_sampler import GenotypeSampler
from controller.ranking import Ranked, genotype_document, rank
from controller.statistics import spread
from data.loaders import Loader
from engine.finals import Finals
from engine.ranking import Ranking, front_cost, images_of_ranking
from engine.run_state import RunState
from engine.scoring import Scorer
from engine.search_setup import SearchData
from ops.genotype import Genotype
from utils.config import SHARED, SearchConfig
from utils.reports import plots, report
from utils.reports.log import RunLog, read_epochs, write_json
from utils.runs.handover import retrain_command
from utils.runs.resume import flags_of

GENOTYPES = "genotypes.json"


def write_search(
    run: RunState,
    config: SearchConfig,
    ranking: Ranking,
    sampler: GenotypeSampler,
    scorer: Scorer,
    data: SearchData,
) -> None:
    """Write what the search has found; the first process does it for all."""
    if run.world.is_main:
        write_genotypes(run.log.folder / GENOTYPES, config, ranking, sampler, scorer, data)
        write_result(run.log, config, ranking, sampler, scorer, data.rewards)


def write_genotypes(
    path: Path, config: SearchConfig, ranking: Ranking, sampler: GenotypeSampler, scorer: Scorer, data: SearchData
) -> None:
    """genotypes.json: the best, and besides them the front of score against cost among all candidates."""
    deployment, measure = data.deployment, scorer.task.measure

    def costs(genotype: Genotype) -> dict[str, object]:
        names = ["parameters", "macs", *(["latency_ms"] if config.max_latency_ms else [])]
        return {name: sampler.constraints.cost(name, genotype) for name in names}

    several = {} if len(ranking.columns) == 1 else ranking.columns  # of one ranker it is the score

    def describe(number: int, genotype: Genotype) -> dict[str, object]:
        final = ranking.finals[genotype][-1] if genotype in ranking.finals else None
        return {
            **({measure: ranking.metrics[genotype][measure]} if ranking.metrics else {}),
            **({"scores": {name: column[genotype] for name, column in several.items()}} if several else {}),
            **({"final": final._asdict()} if final else {}),
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
        "reward_images": data.rewards.num_images if ranking.metrics else data.rewards.first_batch,
        "ranked": len(ranking.candidates),
        "canonical": config.canonical,
        "seen": len(sampler.seen),
        "pareto_cost": front_cost(config),
        "pareto_front": [{"cells": g.to_lists(), "score": score, **costs(g)} for g, score in ranking.front],
    }
    write_json(path, genotype_document(ranking.candidates[: config.top_k], describe, facts))


def write_result(
    log: RunLog, config: SearchConfig, ranking: Ranking, sampler: GenotypeSampler, scorer: Scorer, rewards: Loader
) -> None:
    """What the search has found for a person: pictures, report, result.json and the last lines on the console."""
    finite = [candidate for candidate in ranking.candidates if math.isfinite(candidate.score)]
    # There is one: where no score is finite the ranking raised before.
    best, by_weights = finite[0], [*ranking.columns] == [SHARED]
    score = scorer.score.sentence.format(best.score) if by_weights else f"{config.rank_by} {best.score:.6g}"
    if best.genotype in ranking.finals:
        final = ranking.finals[best.genotype][-1]
        score = f"100 exp(-loss) {final.score:.4g} on the reward images after {final.epochs} epochs of its own"
    result = {
        "score": best.score,
        "ranked_by": config.rank_by,
        "genotype": best.genotype.to_lists(),
        "derive_s": ranking.seconds,
        "ranking_images": len(ranking.candidates) * images_of_ranking(config.rank_by, rewards),
    }
    path, measure = log.folder / GENOTYPES, scorer.task.measure
    lines = [
        f"best of {len(finite)}: {score}, {best.genotype}",
        f"retrain it with:  {retrain_command(flags_of(config), scorer.task.retrained_as, path, 0)}",
    ]
    if ranking.finals:
        result["finals"], line = report_finals(log, config, ranking, rewards)
        lines.insert(1, line)
    measures = [metrics[measure] for metrics in ranking.metrics.values()]  # none where shared weights ranked nothing
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
    axis = scorer.score.axis if by_weights else config.rank_by
    draw_result(log, config, ranking, finite, sampler.constraints, axis)
    report.write(log, result)
    for line in lines:
        log.line(line)
    if log.writer is not None:
        log.line(f"look at the search with:  tensorboard --logdir {shlex.quote(str(log.folder))}")


def _draw(genotype: Genotype) -> Any:
    """A drawing; the packages for it take a second to import."""
    from ops.draw import draw

    return draw(genotype)


def draw_result(
    log: RunLog, config: SearchConfig, ranking: Ranking, finite: Sequence[Ranked], limits: Constraints, axis: str
) -> None:
    """The best genotype, and score against cost of all with a ``finite`` score; ``axis``: what a score is."""
    cost = front_cost(config)
    points, front = ([(limits.cost(cost, r.genotype), r.score) for r in part] for part in (finite, ranking.front))
    panel = {cost: {"candidates": points, "Pareto front": front}}
    # One epoch behind the last.
    log.picture("derived", "genotype/derived", lambda: _draw(finite[0].genotype), config.epochs)
    log.picture("pareto", "genotype/pareto", lambda: plots.panels(panel, axis), config.epochs)


def report_finals(log: RunLog, config: SearchConfig, ranking: Ranking, rewards: Loader) -> tuple[dict[str, Any], str]:
    """What finals cost and changed: facts for result.json, and one sentence; a picture goes to the log."""
    scores = dict(ranking.candidates)
    order = [genotype for genotype, _ in rank(scores, scores.__getitem__, len(scores))]  # as it was before the finals
    winner_before = order.index(ranking.candidates[0].genotype) + 1
    trainings = [final for of_one in ranking.finals.values() for final in of_one]
    images = sum(final.images for final in trainings)
    others = len(order) * images_of_ranking(config.rank_by, rewards)
    others += sum(epoch.get("images/trained", 0) + epoch.get("images/scored", 0) for epoch in read_epochs(log.folder))
    facts = {
        "trainings": len(trainings),
        "images": images,
        "images_of_all": images + others,
        "winner_before": winner_before,
        "tau": {name: tau_with_finals(column, ranking.finals) for name, column in ranking.columns.items()},
    }
    log.picture("finals", "genotype/finals", lambda: picture_of_finals(ranking), config.epochs)
    if log.writer is not None:
        with log.decoration("the images of finals"):
            log.writer.add_scalar("images/trained", images - len(trainings) * rewards.num_images, config.epochs)
    sentence = (
        f"finals: {100 * images / (images + others):.1f} % of the images of this search; "
        f"the winner was {winner_before} of {len(order)} by {config.rank_by}"
    )
    return facts, sentence


def tau_with_finals(column: Mapping[Genotype, float], finals: Finals) -> dict[str, float] | None:
    """Kendall's tau of a ranker's scores with the first round, and its p; None for fewer than three, or all alike."""
    from scipy.stats import kendalltau  # which takes a second to import

    pairs = [(column[genotype], of_one[0].score) for genotype, of_one in finals.items()]
    pairs = [pair for pair in pairs if all(map(math.isfinite, pair))]
    if len(pairs) < 3:
        return None
    tau, p = kendalltau(*zip(*pairs, strict=True))
    return None if math.isnan(tau) else {"value": float(tau), "p": float(p)}


def picture_of_finals(ranking: Ranking) -> Any:
    """What each ranker said against what the trainings gave, round by round."""
    panels = {}
    for name, column in ranking.columns.items():
        rounds: dict[str, list[tuple[float, float]]] = {}
        for genotype, of_one in ranking.finals.items():
            for final in of_one:
                if math.isfinite(final.score) and math.isfinite(column[genotype]):
                    rounds.setdefault(f"{final.epochs} epochs", []).append((column[genotype], final.score))
        panels[name] = rounds
    return plots.panels(panels, "100 exp(-loss) when trained") if any(panels.values()) else None
