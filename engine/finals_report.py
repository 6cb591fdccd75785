"""What finals cost and changed: a table, a picture, numbers for result.json, and one sentence."""

from __future__ import annotations

import math
from typing import Any

from controller.ranking import rank
from data.loaders import Loader
from engine.agreement import kendall_tau
from engine.finals import Final
from engine.ranking import Ranking, images_of_ranking
from engine.run_state import RunState
from ops.genotype import Genotype
from utils.reports import plots
from utils.reports.log import read_epochs

SHOWN = 10  # rows of the table in TensorBoard


def report_finals(run: RunState, ranking: Ranking, rewards: Loader) -> tuple[dict[str, Any], str]:
    """The facts on the finals for result.json, and one sentence; table and picture go to the log."""
    config, log = run.context.config, run.log
    scores = dict(ranking.candidates)
    order = [genotype for genotype, _ in rank(scores, scores.__getitem__, len(scores))]  # as it was before the finals
    winner = ranking.candidates[0].genotype
    trainings = [final for of_one in ranking.finals.values() for final in of_one]
    images = sum(final.images for final in trainings)
    others = len(order) * images_of_ranking(config.rank_by, rewards)
    others += sum(epoch.get("images/trained", 0) + epoch.get("images/scored", 0) for epoch in read_epochs(log.folder))
    facts = {
        "trainings": len(trainings),
        "images": images,
        "images_of_all": images + others,
        "winner_before": order.index(winner) + 1,
        "tau": {name: tau_with(ranking, name) for name in ranking.columns},
    }
    log.picture("finals", "genotype/finals", lambda: picture(ranking), config.epochs)
    if log.writer is not None:
        with log.decoration("the table of finals"):
            log.writer.add_text("genotype/finals", "\n".join(table(ranking)), config.epochs)
            log.writer.add_scalar("images/trained", images - len(trainings) * rewards.num_images, config.epochs)
    share = 100 * images / (images + others)
    sentence = (
        f"finals: {share:.1f} % of the images of this search; "
        f"the winner was {order.index(winner) + 1} of {len(order)} by {config.rank_by}"
    )
    return facts, sentence


def of_first_round(ranking: Ranking) -> dict[Genotype, Final]:
    """The trainings that all finalists of the first round had, those that failed left out."""
    first = {genotype: of_one[0] for genotype, of_one in ranking.finals.items()}
    return {g: final for g, final in first.items() if final.round == 0 and math.isfinite(final.score)}


def tau_with(ranking: Ranking, name: str) -> dict[str, float] | None:
    """Kendall's tau of a ranker with the first round, and its interval; None for fewer than three, or all alike."""
    first = {g: final for g, final in of_first_round(ranking).items() if math.isfinite(ranking.columns[name][g])}
    if len(first) < 3:
        return None
    scores = [ranking.columns[name][genotype] for genotype in first]
    tau = kendall_tau([final.score for final in first.values()], scores, seed=0)
    return None if tau is None else tau._asdict()


def picture(ranking: Ranking) -> Any:
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


def table(ranking: Ranking) -> list[str]:
    """The finalists in Markdown, best first."""
    names = [*ranking.columns]
    rows = [f"| rank | epochs | score trained | {' | '.join(names)} | encodings |", f"|{'---|' * (len(names) + 4)}"]
    for place, candidate in enumerate(ranking.candidates[:SHOWN]):
        if of_one := ranking.finals.get(candidate.genotype):
            scores = [of_one[-1].score, *(ranking.columns[name][candidate.genotype] for name in names)]
            cells = [place, of_one[-1].epochs, *(f"{score:.4g}" for score in scores), candidate.genotype.to_lists()]
            rows.append(f"| {' | '.join(map(str, cells))} |")
    return rows
