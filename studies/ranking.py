"""How well rankings of genotypes agree with trainings from scratch: of shared weights, and of rankers without training.

    python -m studies.ranking result/search/mine-... --save mine --genotypes 30 --seeds 0,1 --epochs 12 --filters 16

Random genotypes are trained alone, each in a piece that is kept, and scored by everything that can score them
(docs/studies.md, section 17). What stands behind ``--`` is for the retrainer.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.ranking import mean_of_ranks
from controller.sampling import POPULATIONS
from engine.configuration import rankers_in
from engine.finals import epochs_of_finals, finals_first, run_finals
from engine.open_search import OpenSearch, open_search, shared_metrics
from engine.pieces import Maker
from models.deployment import Deployment
from models.proxies import PROXIES, ProxyRanker
from ops.genotype import Genotype
from studies.ranking_report import BEST, BY_LOSS, judge, write_ranking
from studies.study import STUDY, TRAININGS, TrainingStudyConfig, difference, run_study
from studies.trainings import Training, draw_genotypes, retrain_flags, settings_of, train_all
from utils.config import SHARED, FinalsConfig
from utils.config.flags import flag
from utils.reports.log import RunLog
from utils.runs.resume import flags_of
from utils.system import numbers
from utils.system.errors import UsageError, WorkError
from utils.system.signals import StopRequest
from utils.system.terminal import show, tell

ABOUT = {
    "prog": "python -m studies.ranking",
    "about": "Compare rankings of genotypes with trainings from scratch.",
    "example": "python -m studies.ranking result/search/first-... --save first --genotypes 30 --epochs 12 -- "
    "--stem quarter",
    "positional": "runs",
    "help": "folders of searches of the same networks",
}


@dataclass(frozen=True, kw_only=True)
class RankingConfig(FinalsConfig, TrainingStudyConfig):
    """The flags of a study of rankings."""

    runs: tuple[str, ...] = ()
    genotypes: int = flag(30, "how many are trained; more can be added later", STUDY, type=numbers.positive_int)
    population: str = flag("uniform", "how they are drawn", STUDY, choice=POPULATIONS)
    seed: int = flag(0, "of genotypes, untrained networks and intervals", STUDY, type=numbers.seed)
    rankers: str = flag("all", "without training: all, none, names with commas; nwot+shared: mean of ranks", STUDY)
    data: str | None = flag(None, "where the data of the searches lie", STUDY, default_text="where they were")

    seeds: tuple[int, ...] = flag((0, 1), "of the trainings; more can be added later", TRAININGS, type=numbers.seeds,
                                  default_text="0,1")  # fmt: skip
    epochs: int = flag(12, "of each training", TRAININGS, type=numbers.positive_int)
    filters: int | None = flag(
        None, "of the networks", TRAININGS, type=numbers.filters, default_text="those of the search"
    )
    batch_size: int | None = flag(None, "of each training", TRAININGS, type=numbers.positive_int,
                                  default_text="the retrainer's")  # fmt: skip


@dataclass
class Study:
    """What is compared: searches by name, all of the same networks, and what is trained alone.

    ``combined``: means of ranks by name, and of which rankers.
    """

    config: RankingConfig
    searches: dict[str, OpenSearch]
    rankers: tuple[str, ...]
    combined: Mapping[str, Sequence[str]]
    genotypes: list[Genotype]
    flags: tuple[str, ...]
    settings: dict[str, Any]
    deployment: Deployment
    stop: StopRequest


def prepare(config: RankingConfig, stop: StopRequest) -> Study:
    """Open the searches and choose the genotypes; refuses what cannot be compared, before anything is made."""
    if config.genotypes < BEST:  # fewer than true ranks are given of
        raise UsageError(f"--genotypes {config.genotypes}: the statistics of a ranking need {BEST} or more")
    words = {"none": (), "all": (*PROXIES, "zero_cost", "zero_cost+shared")}
    rows = words[config.rankers] if config.rankers in words else tuple(dict.fromkeys(config.rankers.split(",")))
    parts = {row: rankers_in(row.replace("+", ",")) for row in rows}
    rankers = tuple(name for name in PROXIES if any(name in row for row in parts.values()))
    changes = {"device": config.device, **({} if config.data is None else {"data": config.data})}
    searches, plans = {}, []
    for run in config.runs:
        s = open_search(run, **changes)
        name = show(str(run).rstrip("/").split("/")[-1])  # the folder, without the path
        if name in searches:
            raise UsageError(f"{name} is named twice")
        for ranker in rankers:
            s.task.require_ranker(ranker)
        # All searches have to stand for the same trainings: same data, networks and flags.
        searches[name] = s
        plans.append(plan_of(config, s))
        differing = difference(plans[0][2], plans[-1][2])  # of the settings alone, which everything else follows from
        if differing:
            raise UsageError(f"{name} cannot be compared with {next(iter(searches))}: {differing}")
        if s.epoch < s.config.epochs:
            tell(f"warning: {name} is not complete: its weights are those of epoch {s.epoch}")
    genotypes, flags, settings, deployment = plans[0]
    combined = {row: names for row, names in parts.items() if len(names) > 1}
    study = Study(config, searches, rankers, combined, genotypes, flags, settings, deployment, stop)
    score(study, 1)  # refuses a ranker that these networks cannot have
    return study


def plan_of(config: RankingConfig, s: OpenSearch) -> tuple[list[Genotype], tuple[str, ...], dict[str, Any], Deployment]:
    """The genotypes of a search's space, the flags that they are trained under, the settings, and the network."""
    changes = {"epochs": config.epochs, "child_out_filters": config.filters, "batch_size": config.batch_size}
    flags = retrain_flags(flags_of(s.config), config.device, changes, config.rest)
    population, of = config.population, (s.config.blocks, s.config.sharing, s.config.space)
    genotypes = draw_genotypes(config.genotypes, population, config.seed, *of)
    settings, deployment = settings_of(flags, genotypes[0], s.data.deployment.spec.blocks)
    return genotypes, flags, {"population": population, "seed of the genotypes": config.seed, **settings}, deployment


def score(study: Study, n: int) -> list[dict[str, float]]:
    """All scores of the first ``n`` genotypes by name, higher is better.

    Shared weights score by minus the loss and by the measure of the task; they are named after the search where there
    are several. Raises WorkError for a score that is no finite number.
    """
    genotypes, rows = study.genotypes[:n], [{} for _ in range(n)]
    for search, s in study.searches.items():
        suffix = f", {search}" if len(study.searches) > 1 else ""
        for row, metrics in zip(rows, shared_metrics(s, genotypes, study.stop.check), strict=True):
            # Minus: of every score the higher is the better.
            row[f"{BY_LOSS}{suffix}"] = -metrics["loss"]
            row[f"shared ({s.task.measure}){suffix}"] = metrics[s.task.measure]
    # Rankers without training look at one batch of images, of the first search.
    # The data of all searches are the same, but batches need not be: one of them has to speak for all.
    s = next(iter(study.searches.values()))
    s.data.rewards.set_epoch(0)
    images = next(iter(s.data.rewards)).images
    for name in study.rankers:
        ranker = ProxyRanker(name, study.deployment, study.config.seed, images)
        for row, genotype in zip(rows, genotypes, strict=True):
            row[name] = ranker(genotype)
            study.stop.check()
    for row, genotype in zip(rows, genotypes, strict=True):
        # A shared loss that is infinite would break every mean of the study.
        bad = [name for name, value in row.items() if not math.isfinite(value)]
        if bad:
            raise WorkError(f"{bad[0]} gives {row[bad[0]]} for {genotype}")
    return rows


def work(study: Study, log: RunLog, make_pieces: Maker) -> None:
    """Train the genotypes that are not trained yet, and write what their scores are worth."""
    config, searches = study.config, study.searches
    scores = score(study, len(study.genotypes))  # all of them before any training: a fault shows early
    measure = next(iter(searches.values())).task.measure
    results = true_results(study, log, make_pieces)
    rankings = {name: [row[name] for row in scores] for name in scores[0]}
    columns = {**rankings, SHARED: next(iter(rankings.values()))}  # of several searches the first
    for row, names in study.combined.items():
        rankings[row] = mean_of_ranks([columns[name] for name in names])
    if config.finals:
        rankings |= rank_by_finals(study, rankings, log, make_pieces)
    runs = {
        name: {"epochs": s.epoch, "recipe": s.config.recipe, "reward_images": s.data.rewards.num_images}
        for name, s in searches.items()
    }
    document = {
        "study": "ranking",
        "settings": study.settings,
        "runs": runs,
        **judge(measure, config.seeds, config.seed, study.genotypes, results, rankings),
    }
    write_ranking(log, document)


def rank_by_finals(
    study: Study, rankings: Mapping[str, Sequence[float]], log: RunLog, make_pieces: Maker
) -> dict[str, list[float]]:
    """A ranking of all genotypes by finals from the shared weights of the first search, as its end would have it.

    They are ranked before as --rank_by of that search says, if that is among the ``rankings``; else by its loss.
    """
    run, s, c = study.config.runs[0], next(iter(study.searches.values())), study.config
    before = rankings.get(s.config.rank_by.replace(",", "+"), next(iter(rankings.values())))
    order = [g for _, g in sorted(zip(before, study.genotypes, strict=True), key=lambda pair: (-pair[0], pair[1]))]
    folder = log.folder / "finals" / Path(run).name
    steps = len(s.data.weights)
    finals = run_finals(c, Path(run), order, make_pieces, steps=steps, searched=s.epoch, folder=folder, device=None)
    best_first, epochs = finals_first(finals, order), epochs_of_finals(c, steps)
    name = f"finals: {c.finals}, {epochs} epochs, {c.finals_start}"
    return {name: [float(-best_first.index(genotype)) for genotype in study.genotypes]}


def true_results(study: Study, log: RunLog, make_pieces: Maker) -> list[Sequence[Mapping[str, Any]]]:
    """What each genotype reached, for every seed, trained where it is not trained yet."""
    folder, blocks = log.folder / "standalone", study.deployment.spec.blocks
    seeds = study.config.seeds
    trainings = {g: [Training(folder, study.flags, g, blocks, seed) for seed in seeds] for g in study.genotypes}
    by_genotype = train_all(trainings, make_pieces)
    return [by_genotype[g] for g in study.genotypes]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study; see --help."""
    return run_study(RankingConfig, argv, prepare, work, **ABOUT)


if __name__ == "__main__":
    sys.exit(main())
