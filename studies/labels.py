"""Whether networks rank alike with and without labels: the same genotypes trained from scratch on both.

    python -m studies.labels --save first --data digits --task jigsaw --blocks "[1]" --filters 8 --epochs 4 -- --no-flip

Random genotypes are trained on the labels of the data and on a task that reads none, each in a piece that is kept
(docs/studies.md, section 20.1). What stands behind ``--`` is for the retrainer, in both cases.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from engine.configuration import parse_retrain
from engine.tasks import PRETEXTS, TASKS
from ops.genotype import SHARINGS, Genotype
from ops.space import SPACES
from studies import agreement
from studies.pieces import Maker
from studies.study import STUDY, TRAININGS, parse_study, require_free, run_study
from studies.tables import as_words, cell, write_study
from studies.trainings import Training, draw_genotypes, retrain_flags, settings_of, train_all
from utils.config import BLOCKS, SearchConfig
from utils.config.flags import flag
from utils.reports.log import RunLog
from utils.runs.resume import flags_of
from utils.system import numbers
from utils.system.signals import StopRequest

LABELS = {
    "prog": "python -m studies.labels",
    "about": "Compare trainings from scratch without labels with those on labels.",
    "example": "python -m studies.labels --save first --data digits --task jigsaw --blocks '[1]' --filters 8",
}


@dataclass(frozen=True, kw_only=True)
class LabelsConfig(agreement.AgreementConfig):
    """The flags of a study of tasks without labels."""

    task: str = flag("rotation", "the one without labels", STUDY, choice=PRETEXTS)
    genotypes: int = 24
    space: str = flag("slnas", "of the genotypes", STUDY, choice=SPACES)
    sharing: str = flag("type", "which blocks share an encoding", STUDY, choice=SHARINGS)

    data: str = flag("digits", "as the scripts take it", TRAININGS)
    blocks: tuple[int, ...] = flag((4, 4), "normal blocks of each stage", TRAININGS, type=BLOCKS)
    filters: int = flag(32, "of the networks", TRAININGS, type=numbers.filters)
    seeds: tuple[int, ...] = (0,)
    pretext_epochs: int | None = flag(None, "of each one without labels", TRAININGS, type=numbers.positive_int,
                                      default_text="as many")  # fmt: skip


@dataclass(frozen=True)
class Study:
    """What is trained: genotypes, and by task, that of the labels first, the flags of the retrainer."""

    config: LabelsConfig
    genotypes: list[Genotype]
    flags: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, Any]


def prepare(config: LabelsConfig, _stop: StopRequest) -> Study:
    """Choose the genotypes and read the data; refuses what cannot be trained, before anything is made."""
    config.require_enough()
    require_free(parse_retrain(config.rest).given, {"task"})
    of = (config.blocks, config.sharing, config.space)
    genotypes = draw_genotypes(config.genotypes, config.population, config.seed, *of)  # the same for both tasks
    # A search that never runs: its flags name the data.
    data = flags_of(SearchConfig(data=config.data, child_out_filters=config.filters))
    # An epoch of four views of each image is four times the work, so tasks can have numbers of their own.
    epochs = {TASKS[config.task].retrained_as: config.epochs, config.task: config.pretext_epochs or config.epochs}
    flags, settings = {}, {"population": config.population, "seed of the genotypes": config.seed}
    for task, n in epochs.items():
        flags[task] = retrain_flags(data, config.device, {"task": task, "epochs": n}, config.rest)
        settings[task], _ = settings_of(flags[task], genotypes[0], config.blocks)
    return Study(config, genotypes, flags, settings)


def work(study: Study, log: RunLog, make_pieces: Maker) -> None:
    """Train what is not trained yet, and write how the results of both tasks agree."""
    config, (labels, other) = study.config, study.flags
    # The tasks take turns, so that a study that is stopped has as many trainings of each.
    trainings = {
        (task, genotype): [Training(log.folder / task, flags, genotype, config.blocks, seed) for seed in config.seeds]
        for genotype in study.genotypes
        for task, flags in study.flags.items()
    }
    by_task = train_all(trainings, make_pieces)
    results = {task: [by_task[task, g] for g in study.genotypes] for task in study.flags}
    measures = {task: TASKS[task].measure for task in results}
    of_other = agreement.higher_is_better(results[other], measures[other])
    rankings = {f"{other} ({name})": agreement.means(values) for name, values in of_other.items()}
    # Any ranking has to beat the number of parameters.
    rankings["parameters"] = [float(row[0]["parameters"]) for row in results[labels]]
    # No rankings here: of these trainings only spread and noise are told.
    without = agreement.judge(config, measures[other], study.genotypes, results[other], {})
    document = {
        "study": "labels",
        "settings": study.settings,
        "task": other,
        **agreement.judge(config, measures[labels], study.genotypes, results[labels], rankings),
        "without labels": {key: without[key] for key in ("measure", "seeds", "alone", "floor")},
    }
    write_labels(log, document)


def labels_lines(study: Mapping[str, Any]) -> list[str]:
    """study.md, line by line."""
    other, settings = study["task"], study["settings"]
    n, population = len(study["genotypes"]), settings["population"]
    return [
        "# Trainings without labels against trainings on labels",
        "",
        f"{n} {population} genotypes, each trained alone with seeds {study['seeds']}:",
        "",
        *(f"- {task}: {as_words(settings[task])}" for task in (TASKS[other].retrained_as, other)),
        "",
        *agreement.alone_lines(study, "On labels"),
        *agreement.alone_lines(study["without labels"], f"On {other}"),
        *agreement.agreement_lines(study),
    ]


def write_labels(log: RunLog, study: Mapping[str, Any]) -> None:
    """Write the study."""
    measure, summary = study["measure"], []
    for name, by_result in study["rankers"].items():
        tau, rho = (cell(by_result[measure][key]) for key in ("tau", "rho"))
        summary.append(f"{name}: tau {tau}, rho {rho} with {measure} on labels")
    picture = partial(agreement.scatter, study, list(study["rankers"]))
    write_study(log, study, picture="labels.png", draw=picture, lines=labels_lines(study), summary=summary)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a study; see --help."""
    config = parse_study(LabelsConfig, sys.argv[1:] if argv is None else argv, **LABELS)
    return run_study("studies.labels", config, partial(prepare, config), work)


if __name__ == "__main__":
    sys.exit(main())
