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
from functools import partial
from typing import Any

from models.deployment import Deployment
from models.proxies import PROXIES, ProxyRanker
from ops.genotype import Genotype
from studies.agreement import AgreementConfig, agreement_lines, alone_lines, judge, mean_tau, scatter
from studies.pieces import Maker
from studies.searches import OpenSearch, open_search, shared_metrics
from studies.study import STUDY, TRAININGS, difference, names_in, parse_study, run_study
from studies.tables import as_words, cell, write_study
from studies.trainings import Training, draw_genotypes, retrain_flags, settings_of, train_all
from utils.config.flags import flag
from utils.reports.log import RunLog
from utils.runs.resume import flags_of
from utils.system import numbers
from utils.system.errors import UsageError, WorkError
from utils.system.signals import StopRequest
from utils.system.terminal import show, tell

BY_LOSS = "shared (loss)"
RANKING = {
    "prog": "python -m studies.ranking",
    "about": "Compare rankings of genotypes with trainings from scratch.",
    "example": "python -m studies.ranking result/search/first-... --save first --genotypes 30 --epochs 12 -- "
    "--stem quarter",
}


@dataclass(frozen=True, kw_only=True)
class RankingConfig(AgreementConfig):
    """The flags of a study of rankings."""

    runs: tuple[str, ...] = ()
    rankers: str = flag("all", "without training: all, none, or names with commas", STUDY)
    data: str | None = flag(None, "where the data of the searches lie", STUDY, default_text="where they were")
    filters: int | None = flag(
        None, "of the networks", TRAININGS, type=numbers.filters, default_text="those of the search"
    )
    batch_size: int | None = flag(None, "of each training", TRAININGS, type=numbers.positive_int,
                                  default_text="the retrainer's")  # fmt: skip


@dataclass
class Study:
    """What is compared: searches by name, all of the same networks, and what is trained alone."""

    config: RankingConfig
    searches: dict[str, OpenSearch]
    rankers: tuple[str, ...]
    genotypes: list[Genotype]
    flags: tuple[str, ...]
    settings: dict[str, Any]
    deployment: Deployment
    stop: StopRequest


def prepare(config: RankingConfig, stop: StopRequest) -> Study:
    """Open the searches and choose the genotypes; refuses what cannot be compared, before anything is made."""
    config.require_enough()
    words = {"none": (), "all": tuple(PROXIES)}
    rankers = words[config.rankers] if config.rankers in words else names_in("rankers", config.rankers, PROXIES, words)
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
    study = Study(config, searches, rankers, *plans[0], stop)
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
    batch = next(iter(s.data.rewards))
    images = (batch.images, batch.labels, s.task.mean_loss)
    for name in study.rankers:
        ranker = ProxyRanker(name, study.deployment.answering(s.data.spec), study.config.seed, *images)
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
    folder, blocks = log.folder / "standalone", study.deployment.spec.blocks
    trainings = {g: [Training(folder, study.flags, g, blocks, seed) for seed in config.seeds] for g in study.genotypes}
    by_genotype = train_all(trainings, make_pieces)
    results = [by_genotype[g] for g in study.genotypes]
    rankings = {name: [row[name] for row in scores] for name in scores[0]}
    runs = {
        name: {"epochs": s.epoch, "recipe": s.config.recipe, "reward_images": s.data.rewards.num_images}
        for name, s in searches.items()
    }
    measure = next(iter(searches.values())).task.measure
    document = {
        "study": "ranking",
        "settings": study.settings,
        "runs": runs,
        **judge(config, measure, study.genotypes, results, rankings),
        "between": mean_tau([column for name, column in rankings.items() if name.startswith(BY_LOSS)]),
    }
    write_ranking(log, document)


def ranking_lines(study: Mapping[str, Any]) -> list[str]:
    """study.md, line by line."""
    n, seeds, settings = len(study["genotypes"]), study["seeds"], study["settings"]
    lines = [
        "# Rankings against trainings from scratch",
        "",
        f"{n} {settings['population']} genotypes, each trained alone with seeds {seeds}: {as_words(settings)}.",
        "",
        *alone_lines(study),
        *agreement_lines(study),
    ]
    if study["between"] is not None:
        lines += [
            "",
            f"The shared weights of two searches rank these genotypes alike with a tau of {cell(study['between'])},",
            "by loss, the mean over all pairs. Where they agree with one another but not with what is trained alone, a",
            "bias of sharing limits the ranking, and more weights of the same kind would not mend it.",
        ]
    return lines


def write_ranking(log: RunLog, study: Mapping[str, Any]) -> None:
    """Write the study; its picture has the shared weights of each search by loss, and the best ranker without them."""
    measure, taus = study["measure"], {}
    for name, by_result in study["rankers"].items():
        taus[name] = {key: by_result[key]["tau"] for key in (measure, "loss")}
    shared = [name for name in taus if name.startswith(BY_LOSS)]
    others = [name for name in taus if not name.startswith("shared (") and taus[name][measure] is not None]
    best = sorted(others, key=lambda name: -taus[name][measure][0])[:1]
    write_study(
        log,
        study,
        picture="ranking.png",
        draw=lambda: scatter(study, shared + best),
        lines=ranking_lines(study),
        summary=[f"{name}: tau {cell(t[measure])} by {measure}, {cell(t['loss'])} by loss" for name, t in taus.items()],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a study of rankings; see --help."""
    words = sys.argv[1:] if argv is None else argv
    config = parse_study(RankingConfig, words, "runs", "folders of searches of the same networks", **RANKING)
    return run_study("studies.ranking", config, partial(prepare, config), work)


if __name__ == "__main__":
    sys.exit(main())
