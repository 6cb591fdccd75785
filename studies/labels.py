"""Whether networks rank alike with and without labels: the same genotypes trained from scratch on both.

    python -m studies.labels --save first --data digits --task jigsaw --blocks "[1]" --filters 8 --epochs 4 -- --no-flip

Random genotypes are trained on the labels of the data and on a task that reads none, each in a piece that is kept
(docs/method.md, section 20.1). What stands behind ``--`` is for the retrainer, in both cases.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.sampling import POPULATIONS
from engine.tasks import PRETEXTS, TASKS
from ops.genotype import SHARINGS, Genotype, GenotypeError
from ops.space import SPACES
from studies import judging
from studies.folder import study_folder
from studies.options import ALONE, STUDY, StudyConfig, parse_study, require_one_process
from studies.pieces import Piece, key_of, make
from studies.standalone import alone_flags, alone_pieces, draw_genotypes, require_own, settings_of
from studies.tables import agreement_lines, alone_lines, scatter, shown, write_study
from utils.config import BLOCKS, SearchConfig, parse_retrain
from utils.config.flags import flag
from utils.reports.log import RunLog
from utils.runs.resume import flags_of
from utils.system import numbers
from utils.system.command import command
from utils.system.errors import UsageError
from utils.system.processes import World
from utils.system.signals import StopRequest, stop_requests

PICTURE = "labels.png"
LABELS = {
    "prog": "python -m studies.labels",
    "about": "Compare trainings from scratch without labels with those on labels.",
    "example": "python -m studies.labels --save first --data digits --task jigsaw --blocks '[1]' --filters 8",
}


@dataclass(frozen=True, kw_only=True)
class LabelsConfig(StudyConfig):
    """What a study of tasks without labels is told."""

    task: str = flag("rotation", "the one without labels", STUDY, choices=PRETEXTS)
    genotypes: int = flag(24, "how many are trained; more can be added later", STUDY, type=numbers.positive_int)
    population: str = flag("uniform", "how they are drawn", STUDY, choices=POPULATIONS)
    seed: int = flag(0, "of the genotypes and of the intervals", STUDY, type=numbers.seed)
    space: str = flag("slnas", "of the genotypes", STUDY, choices=SPACES)
    sharing: str = flag("type", "which blocks share an encoding", STUDY, choices=SHARINGS)

    data: str = flag("digits", "as the scripts take it", ALONE)
    blocks: tuple[int, ...] = flag((4, 4), "normal blocks of each stage", ALONE, type=BLOCKS)
    filters: int = flag(32, "of the networks", ALONE, type=numbers.filters)
    seeds: tuple[int, ...] = flag((0,), "of the trainings; more can be added later", ALONE, type=numbers.seeds,
                                  said="0")  # fmt: skip
    epochs: int = flag(12, "of each training on labels", ALONE, type=numbers.positive_int)
    pretext_epochs: int | None = flag(None, "of each one without", ALONE, type=numbers.positive_int, said="as many")


@dataclass(frozen=True)
class Study:
    """What is trained: genotypes, and by task the flags of the retrainer."""

    config: LabelsConfig
    genotypes: list[Genotype]
    flags: Mapping[str, tuple[str, ...]]
    settings: Mapping[str, Any]

    @property
    def measure(self) -> str:
        """The metric of the labels that networks are compared by."""
        return TASKS[self.tasks[0]].measure

    @property
    def tasks(self) -> tuple[str, str]:
        """The task of the labels, then the other."""
        return TASKS[self.config.task].retrained_as, self.config.task


def prepare(config: LabelsConfig) -> Study:
    """Choose the genotypes and read the data; refuses what cannot be trained, before anything is made."""
    require_one_process()
    judging.require_enough(config.genotypes)
    if "task" in parse_retrain(config.rest).given:
        raise UsageError("--task cannot stand behind --: the study trains on two")
    genotypes = draw_genotypes(
        config.genotypes, config.population, config.seed, config.blocks, config.sharing, config.space
    )
    data = flags_of(SearchConfig(data=config.data, child_out_filters=config.filters))
    flags, settings = {}, {"population": config.population, "seed of the genotypes": config.seed}
    for task in (TASKS[config.task].retrained_as, config.task):
        epochs = config.epochs if task != config.task else config.pretext_epochs or config.epochs
        flags[task] = alone_flags(data, config.device, {"task": task, "epochs": epochs}, config.rest)
        settings[task], _ = settings_of(flags[task], genotypes[0], config.blocks)
    return Study(config, genotypes, flags, settings)


def train(study: Study, log: RunLog, stop: StopRequest) -> dict[str, list[list[dict[str, Any]]]]:
    """Train what is not trained yet. By task: for each genotype the results of every seed."""
    config = study.config
    pieces: dict[str, list[Piece]] = {
        task: alone_pieces(log.folder, flags, study.genotypes, config.blocks, config.seeds, name=task)
        for task, flags in study.flags.items()
    }
    # In turns, so that a study that is stopped has as many of each.
    by_turns = [piece for pair in zip(*pieces.values(), strict=True) for piece in pair]
    results = make(by_turns, jobs=config.jobs, stop=stop, say=log.line)
    owners, n, found = [(g, seed) for g in study.genotypes for seed in config.seeds], len(config.seeds), {}
    for i, task in enumerate(pieces):
        own = results[i :: len(pieces)]
        for piece, result, owner in zip(pieces[task], own, owners, strict=True):
            require_own(piece, result, *owner)
        found[task] = [own[j : j + n] for j in range(0, len(own), n)]
    return found


def judge(study: Study, results: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> dict[str, Any]:
    """The content of study.json. ``results``: as :func:`train` gives them."""
    config, (labels, other), seed = study.config, study.tasks, study.config.seed
    measure = {labels: study.measure, other: TASKS[other].measure}
    # Higher is better: (genotypes, seeds).
    alone = {
        task: {
            measure[task]: [[r[f"valid/{measure[task]}"] for r in row] for row in rows],
            "loss": [[-r["valid/loss"] for r in row] for row in rows],
        }
        for task, rows in results.items()
    }
    scores = {f"{other} ({name})": judging.means(values) for name, values in alone[other].items()}
    scores["parameters"] = [float(row[0]["parameters"]) for row in results[labels]]
    return {
        "study": "labels",
        "settings": study.settings,
        "task": other,
        "seeds": list(config.seeds),
        "measure": measure[labels],
        "alone": {name: judging.spread(values) for name, values in alone[labels].items()},
        "floor": {name: judging.noise_floor(values, seed) for name, values in alone[labels].items()},
        "without labels": {
            "measure": measure[other],
            "seeds": list(config.seeds),
            "alone": {name: judging.spread(values) for name, values in alone[other].items()},
            "floor": {name: judging.noise_floor(values, seed) for name, values in alone[other].items()},
        },
        "rankers": {
            ranker: {name: judging.agreement(values, own, seed) for name, values in alone[labels].items()}
            for ranker, own in scores.items()
        },
        "genotypes": [
            {"key": key_of(genotype), "scores": {name: own[i] for name, own in scores.items()}, "alone": rows}
            for i, (genotype, rows) in enumerate(zip(study.genotypes, results[labels], strict=True))
        ],
    }


def lines_of(study: Mapping[str, Any]) -> list[str]:
    """study.md, line by line."""
    other, settings = study["task"], study["settings"]
    lines = ["# Trainings without labels against trainings on labels", ""]
    n, population = len(study["genotypes"]), settings["population"]
    lines += [f"{n} {population} genotypes, each trained alone with seeds {study['seeds']}:", ""]
    for task in (TASKS[other].retrained_as, other):
        own = " ".join(f"`{k} {v}`" for k, v in settings[task].items() if k.startswith("--") and k != "--data")
        lines += [f"- {task}: {own}"]
    lines += ["", *alone_lines(study, "On labels"), *alone_lines(study["without labels"], f"On {other}")]
    for name in (study["measure"], "loss"):
        lines += agreement_lines(study, name)
    return lines


def write(log: RunLog, study: Mapping[str, Any]) -> None:
    """Write what was found, and say the essence of it."""
    measure = study["measure"]
    said = [
        f"{name}: tau {shown(found[measure]['tau'])}, rho {shown(found[measure]['rho'])} with {measure} on labels"
        for name, found in study["rankers"].items()
    ]
    write_study(log, study, PICTURE, lambda: scatter(study, list(study["rankers"])), lines_of(study), said)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a study; see --help. Exits with 2 for what is refused and 1 for a fault during the work."""
    config = parse_study(LabelsConfig, sys.argv[1:] if argv is None else argv, **LABELS)
    with command("studies.labels", GenotypeError, again="the same command") as state, stop_requests(World()) as stop:
        study = prepare(config)
        stop.check()
        with study_folder(config.result, config.save, study.settings) as log:
            state.started(log)
            write(log, judge(study, train(study, log, stop)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
