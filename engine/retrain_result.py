"""The end of a retraining: what is measured of the chosen network, and written for a person."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from data.datasets import output_names
from data.loaders import read_first_batch
from data.mixing import WatchedLoader
from engine.passes import Learner
from engine.recipes import Recipe
from engine.retrain_phases import Best
from engine.retrain_setup import RetrainData
from engine.run_state import RunState
from engine.tasks import Task
from models.export import export_network
from models.network import Network
from models.stored import trained_network
from utils.reports import report
from utils.reports.log import RunLog, write_json
from utils.system import checkpoint
from utils.system.seeds import derived_seed


def finish_retraining(
    run: RunState, learner: Learner, data: RetrainData, task: Task, recipe: Recipe, best: Best
) -> None:
    """Measure the chosen network on all of val/, write report and export. The first process does it alone."""
    log, config, device = run.log, run.context.config, run.context.device
    if not run.world.is_main:  # the others wait at the end of the run: nothing below may need them
        return
    chosen = learner.evaluated
    if config.holdout:  # val/ was not looked at yet: the epoch was chosen on training images
        path = log.folder / "best.pt"
        chosen = trained_network(checkpoint.load(path, device), path).to(device)  # the last weights may be others
    names = output_names(data.dataset.classes, chosen.num_classes)
    # A seed of their own: --evaluate of this network makes the same shifts and gives the same measures.
    generator = torch.Generator().manual_seed(derived_seed(config.seed, "shift"))
    # Other processes wait at the end of the run: then a stop could not save, which takes all of them.
    test = WatchedLoader(data.test, run.check_stop) if run.world.size == 1 else data.test
    measures = task.measures(chosen, test, names, generator)
    write_json(log.folder / "measures.json", measures)
    result = {
        f"last_{task.measure}": run.notes["last_top1"],
        **retraining_facts(learner.model, data, task, measures, best, holdout=bool(config.holdout)),
        "recipe": asdict(recipe),
    }
    draw_measures(log, chosen, data, task, measures, names, epochs=config.epochs)
    if config.export:
        facts, images = data.dataset.facts(), read_first_batch(data.test).images
        result["export"] = export_network(chosen, log.folder, config.export, facts=facts, classes=names, images=images)
        log.line(result["export"]["line"])
    report.write(log, result)
    say_result(run, task, measures, result)


def retraining_facts(
    network: Network, data: RetrainData, task: Task, measures: Mapping[str, Any], best: Best, *, holdout: bool
) -> dict[str, Any]:
    """What result.json states of a retraining: its measures, where they were taken, the size of the network."""
    aux = network.num_aux_parameters
    return {
        f"best_{task.measure}": best.top1,
        "best_epoch": best.epoch,
        "chosen_on": "holdout" if holdout else "val",  # the best of val on val is too good, since it was chosen there
        "measured": "best on the holdout" if holdout else "last",
        **{f"val_{key}": measures[key] for key in task.result_measures},
        "notices": list(data.dataset.notices),  # such as of difficult objects, which measures may be read by
        "parameters": network.num_parameters - aux,  # as papers count: the heads are gone after training
        "aux_parameters": aux,
        "macs": network.macs(data.dataset.preset.image_size),
        "genotype": network.genotype.to_lists(),
        "sharing": network.genotype.sharing,
    }


def draw_measures(
    log: RunLog,
    network: Network,
    data: RetrainData,
    task: Task,
    measures: Mapping[str, Any],
    names: Sequence[str],
    *,
    epochs: int,
) -> None:
    """Pictures of predictions beside the truth and of the measures, where the task has them; each may fail alone."""
    if task.draws_predictions:
        draw = partial(task.picture, network, read_first_batch(data.test), data.dataset.preset, names)
        log.picture("predictions", "predictions", draw, epochs, dpi=100)
    with log.decoration("the picture of measures"):
        picture = None if log.writer is None else task.picture_of_measures(measures, names)
        if picture is not None:
            log.figure("measures/confusion", picture, epochs)


def say_result(run: RunState, task: Task, measures: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """The last lines of a run."""
    log, title, unit, chosen_on = run.log, task.measure_title, task.unit, result["chosen_on"]
    numbers = {key: measures[key] for key in task.result_measures if measures[key] is not None}
    log.line("measured on val: " + ", ".join(f"{key} {value:.2f}" for key, value in numbers.items()))
    last, best = result[f"last_{task.measure}"], result[f"best_{task.measure}"]
    log.line(
        f"{chosen_on} {title}: last {last:.2f}{unit}, best {best:.2f}{unit} "
        f"(epoch {result['best_epoch']}, picked on {chosen_on})"
    )
    if chosen_on == "holdout":
        log.line(f"val {title} of the best on the holdout, read once: {measures[task.measure]:.2f}{unit}")
    if log.writer is not None:
        log.line(f"look at it with:  tensorboard --logdir {shlex.quote(str(log.folder))}")
