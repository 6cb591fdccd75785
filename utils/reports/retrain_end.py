"""The end of a retraining: measures, export, pictures and report, result.json, then the last lines on the console."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from engine.export import export_network
from utils.reports import report
from utils.reports.evaluate import first_batch, output_names
from utils.reports.log import RunLog, write_json
from utils.runs.clock import EVALUATION, Clock
from utils.system.files import write_figure


def write_retraining(
    log: RunLog,
    chosen: nn.Module,
    network: nn.Module,
    task: Any,
    test: Any,
    *,
    best: Any,
    last: float,
    recipe: Any,
    facts: Mapping[str, Any],
    holdout: bool,
    generator: torch.Generator,
    export: str | None,
    export_normalise: bool,
    epochs: int,
    clock: Clock,
    advice: Sequence[str] | None = None,
) -> None:
    """Measure the ``chosen`` network on the loader ``test`` and write what the run gave; pictures may fail alone.

    ``network``: that of the run. ``best``, ``last``: validation of the best and of the last epoch. ``facts``: of data.
    ``clock``: of the run. ``advice``: of --advise.
    """
    names = output_names(facts["classes"], network.num_classes)
    with clock.part(EVALUATION):
        measured = task.measures(chosen, test, names, generator)
    write_json(log.folder / "measures.json", measured)
    aux, chosen_on = network.num_aux_parameters, "holdout" if holdout else "val"
    result = {
        f"last_{task.measure}": last,
        f"best_{task.measure}": best.top1,
        "best_epoch": best.epoch,
        "chosen_on": chosen_on,
        "measured": "best on the holdout" if holdout else "last",
        **{f"val_{key}": measured[key] for key in task.result_measures},
        "parameters": network.num_parameters - aux,
        "aux_parameters": aux,
        "macs": network.macs(facts["image_size"]),
        "genotype": network.genotype.to_lists(),
        "sharing": network.genotype.sharing,
        "recipe": asdict(recipe),
        **({} if advice is None else {"advice": advice}),
    }
    with log.decoration("the picture of predictions"):
        if (picture := task.picture(chosen, first_batch(test), test.preset, names)) is not None:
            log.figure("predictions", picture, epochs)
            write_figure(log.folder / "predictions.png", picture, dpi=100)
    if task.targets != "labels":
        numbers = {key: measured[key] for key in task.result_measures if measured[key] is not None}
        log.line("measured on val: " + ", ".join(f"{key} {value:.2f}" for key, value in numbers.items()))
    if export:
        options = {"facts": facts, "classes": names, "images": first_batch(test).images, "normalise": export_normalise}
        result["export"] = export_network(chosen, log.folder, export, **options)
        log.line(result["export"]["line"])
    with log.decoration("the confusion picture"):
        picture = None if log.writer is None else task.picture_of_measures(measured, names)
        if picture is not None:
            log.figure("measures/confusion", picture, epochs)
    report.write(log, result=result, clock=clock)
    say_result(log, measured, best=best, last=last, chosen_on=chosen_on, task=task)


def say_result(log: RunLog, measured: Mapping[str, Any], *, best: Any, last: float, chosen_on: str, task: Any) -> None:
    """The last lines of a run."""
    what, unit = task.measure_title, task.unit
    log.line(
        f"{chosen_on} {what}: last {last:.2f}{unit}, best {best.top1:.2f}{unit} "
        f"(epoch {best.epoch}, picked on {chosen_on})"
    )
    if chosen_on == "holdout":
        log.line(f"val {what} of the best on the holdout, read once: {measured[task.measure]:.2f}{unit}")
    if log.writer is not None:
        log.line(f"look at it with:  tensorboard --logdir {shlex.quote(str(log.folder))}")
