"""Train genotypes from scratch as the retrainer does: the results that searches and rankings are judged by."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from controller.sampling import POPULATIONS
from data.datasets import output_names
from engine.configuration import parse_retrain
from engine.pieces import Maker, Name, Piece, key_of, make_rows
from engine.retrain_phases import train_epoch, validate
from engine.retrain_setup import assemble
from engine.setup import make_run
from engine.tasks import TASKS
from models.cost import network_cost
from models.deployment import Deployment
from models.parts import Cost
from models.spec import NetworkSpec
from ops.genotype import Candidate, Genotype, num_cells
from studies.study import require_free, stated
from utils.config import RetrainConfig
from utils.runs.context import run_context
from utils.runs.handover import carried_flags
from utils.system.errors import WorkError
from utils.system.seeds import derived_seed
from utils.system.signals import stop_requests

QUIET = ["--report_freq", "1000000"]
# Flags that a study sets itself, or that train nothing or not from scratch.
RESERVED = ("arch", "blocks", "sharing", "seed", "seeds", "save", "result", "resume", "inherit")
RESERVED += ("evaluate", "predict", "export")
WIDEST = 1024  # filters that are tried
AGREE = 0.1  # how far parameters may be from those that a study wants


@dataclass(frozen=True)
class Training:
    """A training from scratch, whose results are the piece ``<genotype>-seed<seed>.json`` of a folder.

    ``timed``: its seconds are a part of the results, which are then not the same in every run.
    """

    folder: Path
    flags: tuple[str, ...]
    genotype: Genotype
    blocks: tuple[int, ...]
    seed: int
    timed: bool = False

    def piece(self) -> Piece:
        """The piece, which a process can make."""
        path = self.folder / f"{key_of(self.genotype)}-seed{self.seed}.json"
        work = partial(train_alone, self.flags, self.genotype, self.blocks, self.seed, timed=self.timed)
        return Piece(path, work)


def retrain_flags(
    searched: Mapping[str, Any], device: str, changes: Mapping[str, Any], rest: Sequence[str]
) -> tuple[str, ...]:
    """The flags of the retrainer: data and network of a search, ``changes`` by name unless None, and ``rest``.

    ``searched``: the flags of the search. Raises UsageError for flags that a study leaves no choice in.
    """
    words = [*carried_flags(searched, TASKS[searched.get("task", "classify")].retrained_as), "--device", device, *QUIET]
    for name, value in changes.items():
        words += [] if value is None else [f"--{name}", str(value)]  # of None the retrainer's default stands
    require_free(parse_retrain(rest).given, RESERVED)
    return (*words, *rest)  # behind the others, so that it wins


def settings_of(flags: Sequence[str], genotype: Genotype, blocks: Sequence[int]) -> tuple[dict[str, Any], Deployment]:
    """What results depend on besides genotype and seed, as plain values, and the network that is trained.

    The data are read, and what does not fit together is refused.
    """
    config = parse_retrain(flags)
    with run_context(config, "retrain") as context:
        *_, data, learner = assemble(context, Candidate(genotype, tuple(blocks)))
    facts, network = data.dataset.facts(), learner.model
    settings = {
        "--epochs": config.epochs,
        **stated(config),
        "data": {key: facts[key] for key in ("classes", "train_images", "val_images", "image_size", "fingerprint")},
        "network": network.spec.as_plain(),
        "sharing": genotype.sharing,
    }
    deployment = Deployment(network.spec, genotype.sharing, facts["image_size"])
    return json.loads(json.dumps(settings)), deployment  # as settings.json gives them back


def draw_genotypes(
    n: int, population: str, seed: int, blocks: Sequence[int], sharing: str, space: str
) -> list[Genotype]:
    """``n`` genotypes of a population in their canonical form; more of them begin with the same ones."""
    draw, generator = POPULATIONS[population], torch.Generator().manual_seed(derived_seed(seed, "ranking"))
    return [draw(1, num_cells(sharing, blocks), sharing, generator, space)[0].canonical() for _ in range(n)]


def train_all(rows: Mapping[Name, Sequence[Training]], make_pieces: Maker) -> dict[Name, list[dict[str, Any]]]:
    """The results of rows of trainings by name; what is there twice is trained once.

    Raises WorkError for a file that holds the results of another training, or none that can be compared.
    """
    results = make_rows({name: [training.piece() for training in row] for name, row in rows.items()}, make_pieces)
    for name, row in rows.items():
        for training, result in zip(row, results[name], strict=True):
            path, genotype, seed = training.piece().path, training.genotype, training.seed
            if (result.get("cells"), result.get("seed")) != (genotype.to_lists(), seed):
                raise WorkError(f"{path} does not hold the training of {genotype} with seed {seed}: remove it")
            # write_json has null for what is not finite
            lacking = [key for key, value in result.items() if key.startswith("valid/") and value is None]
            if lacking:
                raise WorkError(f"{path}: {lacking[0]} is not finite after training: give a smaller learning rate")
    return results


def train_alone(
    flags: Sequence[str], genotype: Genotype, blocks: Sequence[int], seed: int, *, timed: bool = False
) -> dict[str, Any]:
    """The validation metrics of a genotype after its last epoch, trained under the retrainer's ``flags``.

    Nothing is written, and the validation images are read once, at the end.
    """
    began = time.perf_counter()
    config: RetrainConfig = parse_retrain([*flags, "--seed", str(seed)])
    with run_context(config, "retrain") as context:
        recipe, task, data, learner = assemble(context, Candidate(genotype, tuple(blocks)))
        # A run that is never begun: it has a position and a log, but no folder.
        run = make_run(context, learner, data.dataset, {})
        with stop_requests(context.world) as run.stop:
            # The retrainer's loop without its validation, log and checkpoints: only the last weights count.
            for _ in run.epochs():
                # The position alone: neither the times of phases nor metrics of epochs are kept here.
                run.position.begin("train")
                metrics = train_epoch(run, learner, data.train, task, recipe, highest_drop_path=data.drop_path)
                run.position.next_epoch()
            metrics |= validate(run, learner, data.valid, task)  # inside: a stop request ends it too
        final = task.final_measure
        if final != task.measure:  # one that takes longer, such as average precision
            names = output_names(data.dataset.classes, learner.model.num_classes)
            measures = task.measures(learner.evaluated, data.valid, names, torch.Generator().manual_seed(seed))
            metrics[f"valid/{final}"] = measures[final]
    return {
        "cells": genotype.to_lists(),
        "seed": seed,
        "parameters": learner.model.num_parameters - learner.model.num_aux_parameters,
        **{name: value for name, value in metrics.items() if name.startswith(("train/", "valid/"))},
        **({"seconds": time.perf_counter() - began} if timed else {}),
    }


@cache
def fitting_filters(genotype: Genotype, spec: NetworkSpec, image_size: int, parameters: float) -> tuple[int, Cost]:
    """The even number of filters whose network is nearest to so many ``parameters``, and what it costs."""

    def cost(filters: int) -> Cost:
        return network_cost(genotype, replace(spec, filters=filters), image_size)

    # Bisected in steps of two, as cells halve their channels.
    low, high = 2, WIDEST  # more filters never have fewer parameters
    while high - low > 2:
        middle = (low + high) // 4 * 2  # the even number in the middle, or just below
        low, high = (middle, high) if cost(middle).parameters <= parameters else (low, middle)
    costs = {filters: cost(filters) for filters in (low, high)}  # the even numbers on both sides of it
    nearest = min(costs, key=lambda filters: abs(costs[filters].parameters - parameters))
    return nearest, costs[nearest]


def agrees(cost: Cost, parameters: float) -> bool:
    """Whether a network has so many parameters, to 10 %."""
    return abs(cost.parameters - parameters) <= AGREE * parameters
