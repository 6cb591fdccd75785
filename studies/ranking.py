"""How well rankings of genotypes agree with trainings from scratch: of shared weights, and of rankers without training.

    python -m studies.ranking result/search/mine-... --save mine --genotypes 30 --seeds 0,1 --epochs 12 --filters 16

Random genotypes are trained alone, each in a piece that is kept, and scored by everything that can score them
(docs/method.md, section 17). What stands behind ``--`` is for the retrainer.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.sampling import POPULATIONS
from models.deployment import Deployment
from models.proxies import PROXIES, ProxyRanker
from ops.genotype import Genotype, GenotypeError
from studies import judging
from studies.folder import difference, study_folder
from studies.options import ALONE, STUDY, StudyConfig, chosen, parse_study, require_one_process
from studies.pieces import key_of, make
from studies.searches import open_search, shared_metrics
from studies.standalone import alone_flags, alone_pieces, draw_genotypes, require_own, settings_of
from studies.tables import write_ranking
from train_search_cifar import Search
from utils.config.flags import flag
from utils.runs.resume import flags_of
from utils.system import numbers
from utils.system.command import command
from utils.system.errors import UsageError, WorkError
from utils.system.processes import World
from utils.system.signals import StopRequest, stop_requests
from utils.system.terminal import show, tell

SHARED = "shared"  # what scores by shared weights are called
BY_LOSS = f"{SHARED} (loss)"
RANKING = {
    "prog": "python -m studies.ranking",
    "about": "Compare rankings of genotypes with trainings from scratch.",
    "example": "python -m studies.ranking result/search/first-... --save first --genotypes 30 --epochs 12 -- "
    "--stem quarter",
}


@dataclass(frozen=True, kw_only=True)
class RankingConfig(StudyConfig):
    """What a study of rankings is told."""

    runs: tuple[str, ...] = ()
    genotypes: int = flag(30, "how many are trained alone; more can be added later", STUDY, type=numbers.positive_int)
    population: str = flag("uniform", "how they are drawn", STUDY, choices=POPULATIONS)
    seed: int = flag(0, "of the genotypes, of networks that are scored untrained, and of the intervals", STUDY,
                     type=numbers.seed)  # fmt: skip
    rankers: str = flag("all", "without training: all, none, or names with commas", STUDY)
    data: str | None = flag(None, "where the data of the searches lie", STUDY, said="where they were")

    seeds: tuple[int, ...] = flag((0, 1), "of the trainings; more can be added later", ALONE, type=numbers.seeds,
                                  said="0,1")  # fmt: skip
    epochs: int = flag(12, "of each training", ALONE, type=numbers.positive_int)
    filters: int | None = flag(None, "of the networks", ALONE, type=numbers.filters, said="those of the search")
    batch_size: int | None = flag(None, "of each training", ALONE, type=numbers.positive_int, said="the retrainer's")


@dataclass
class Study:
    """What is compared: searches by name, all of the same networks, and what is trained alone."""

    config: RankingConfig
    searches: dict[str, Search]
    genotypes: list[Genotype]
    flags: tuple[str, ...]
    settings: dict[str, Any]
    deployment: Deployment
    rankers: list[str]


def draw(s: Search, n: int, population: str, seed: int) -> list[Genotype]:
    """``n`` genotypes of a population in their canonical form; more of them begin with the same ones."""
    c = s.config
    return draw_genotypes(n, population, seed, c.blocks, c.sharing, c.space)


def chosen_rankers(text: str) -> list[str]:
    """The names in ``--rankers``. Raises UsageError for one that is not known."""
    if text == "none":
        return []
    return list(PROXIES) if text == "all" else list(chosen("rankers", text, PROXIES, also=("all", "none")))


def prepare(config: RankingConfig) -> Study:
    """Open the searches and choose the genotypes; refuses what cannot be compared, before anything is made."""
    require_one_process()
    judging.require_enough(config.genotypes)
    rankers = chosen_rankers(config.rankers)
    changes = {"device": config.device, **({} if config.data is None else {"data": config.data})}
    searches, found = {}, []
    for run in config.runs:
        s = open_search(run, **changes)
        name = show(str(run).rstrip("/").split("/")[-1])
        if name in searches:
            raise UsageError(f"{name} is named twice")
        for ranker in rankers:
            s.task.require_ranker(ranker)
        searches[name] = s
        alone = {"epochs": config.epochs, "child_out_filters": config.filters, "batch_size": config.batch_size}
        flags = alone_flags(flags_of(s.config), config.device, alone, config.rest)
        genotypes = draw(s, config.genotypes, config.population, config.seed)
        settings, deployment = settings_of(flags, genotypes[0], s.deployment.spec.blocks)
        found.append(
            (
                genotypes,
                flags,
                {"population": config.population, "seed of the genotypes": config.seed, **settings},
                deployment,
            )
        )
        differing = difference(found[0][2], found[-1][2])
        if differing:
            raise UsageError(f"{name} cannot be compared with {next(iter(searches))}: {differing}")
    return Study(config, searches, *found[0], rankers)


def score(study: Study, n: int, stop: StopRequest) -> list[dict[str, float]]:
    """All scores of the first ``n`` genotypes by name, higher is better.

    Shared weights score by minus the loss and by the measure of the task; they are named after the search where there
    are several. Raises WorkError for a score that is no finite number.
    """
    genotypes, rows = study.genotypes[:n], [{} for _ in range(n)]
    for search, s in study.searches.items():
        of = f", {search}" if len(study.searches) > 1 else ""
        for row, metrics in zip(rows, shared_metrics(s, genotypes, stop.check), strict=True):
            row[f"{BY_LOSS}{of}"] = -metrics["loss"]
            row[f"{SHARED} ({s.task.measure}){of}"] = metrics[s.task.measure]
    s = next(iter(study.searches.values()))
    s.rewards.set_epoch(0)
    batch = next(iter(s.rewards))
    images = (batch.images, batch.labels, s.task.mean_loss)
    for name in study.rankers:
        ranker = ProxyRanker(name, study.deployment.answering(s.supernet.spec), study.config.seed, *images)
        for row, genotype in zip(rows, genotypes, strict=True):
            row[name] = ranker(genotype)
            stop.check()
    for row, genotype in zip(rows, genotypes, strict=True):
        bad = [name for name, value in row.items() if not math.isfinite(value)]
        if bad:
            raise WorkError(f"{bad[0]} gives {row[bad[0]]} for {genotype}")
    return rows


def judge(study: Study, scores: Sequence[Mapping[str, float]], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The content of study.json. ``scores``: of each genotype; ``results``: of the pieces, seed by seed for each."""
    config, searches = study.config, study.searches
    measure = next(iter(searches.values())).task.measure
    n = len(config.seeds)
    rows = [results[i : i + n] for i in range(0, len(results), n)]  # (genotypes, seeds)
    # Higher is better.
    alone = {measure: [[r[f"valid/{measure}"] for r in row] for row in rows]}
    alone["loss"] = [[-r["valid/loss"] for r in row] for row in rows]
    return {
        "study": "ranking",
        "settings": study.settings,
        "runs": {
            name: {"epochs": s.training.at.epoch, "recipe": s.config.recipe, "reward_images": s.rewards.num_images}
            for name, s in searches.items()
        },
        "seeds": list(config.seeds),
        "measure": measure,
        "alone": {name: judging.spread(values) for name, values in alone.items()},
        "floor": {name: judging.noise_floor(values, config.seed) for name, values in alone.items()},
        "rankers": {
            ranker: {
                name: judging.agreement(values, [row[ranker] for row in scores], config.seed)
                for name, values in alone.items()
            }
            for ranker in scores[0]
        },
        "between": judging.between([[row[name] for row in scores] for name in scores[0] if name.startswith(BY_LOSS)]),
        "genotypes": [
            {"key": key_of(genotype), "scores": own, "alone": row}
            for genotype, own, row in zip(study.genotypes, scores, rows, strict=True)
        ],
    }


def run(study: Study, stop: StopRequest, started: Any) -> None:
    """Score, train what is not trained yet, judge."""
    config = study.config
    with study_folder(config.result, config.save, study.settings) as log:
        started(log)
        scores = score(study, len(study.genotypes), stop)
        pieces = alone_pieces(log.folder, study.flags, study.genotypes, study.deployment.spec.blocks, config.seeds)
        results = make(pieces, jobs=config.jobs, stop=stop, say=log.line)
        owners = [(genotype, seed) for genotype in study.genotypes for seed in config.seeds]
        for piece, result, (genotype, seed) in zip(pieces, results, owners, strict=True):
            require_own(piece, result, genotype, seed)
        write_ranking(log, judge(study, scores, results))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a study of rankings; see --help. Exits with 2 for what is refused and 1 for a fault during the work."""
    words = sys.argv[1:] if argv is None else argv
    config = parse_study(RankingConfig, words, "runs", "folders of searches of the same networks", **RANKING)
    with command("studies.ranking", GenotypeError, again="the same command") as state, stop_requests(World()) as stop:
        study = prepare(config)
        score(study, 1, stop)  # refuses a ranker that these networks cannot have
        for name, s in study.searches.items():
            if s.training.at.epoch < s.config.epochs:
                tell(f"warning: {name} is not complete: its weights are those of epoch {s.training.at.epoch}")
        run(study, stop, state.started)
    return 0


if __name__ == "__main__":
    sys.exit(main())
