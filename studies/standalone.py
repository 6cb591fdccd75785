"""Train genotypes from scratch as the retrainer does: the results that a ranking is compared with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

import retrainer_cifar as retrainer
from controller.sampling import POPULATIONS
from models.deployment import Deployment
from ops.genotype import Candidate, Genotype, num_cells
from studies.pieces import Piece, key_of
from utils.config import RetrainConfig, parse_retrain
from utils.reports.evaluate import output_names
from utils.runs.handover import carried_flags
from utils.runs.resume import flags_of
from utils.runs.seeds import OWN
from utils.runs.session import session
from utils.system.errors import UsageError, WorkError
from utils.system.seeds import derived_seed
from utils.system.signals import stop_requests

QUIET = ["--report_freq", "1000000"]
# What the study says itself, or what trains nothing or not from scratch.
OF_THE_STUDY = ("arch", "blocks", "sharing", "seed", "seeds", "save", "result", "resume", "inherit")
OF_THE_STUDY += ("evaluate", "predict", "export")


def alone_flags(
    searched: Mapping[str, Any], device: str, changes: Mapping[str, Any], rest: Sequence[str]
) -> tuple[str, ...]:
    """The flags of the retrainer: data and network of a search, ``changes`` by name unless None, and ``rest``.

    ``searched``: the flags of the search. Raises UsageError for what a study leaves no choice in.
    """
    words = [*carried_flags(searched), "--device", device, *QUIET]
    for name, value in changes.items():
        words += [] if value is None else [f"--{name}", str(value)]
    refused = parse_retrain(rest).given.intersection(OF_THE_STUDY)
    if refused:
        raise UsageError(f"--{min(refused)} cannot stand behind --: the study says it, or it has no part in one")
    return (*words, *rest)


def settings_of(flags: Sequence[str], genotype: Genotype, blocks: Sequence[int]) -> tuple[dict[str, Any], Deployment]:
    """What results depend on besides genotype and seed, as plain values, and the network that is trained.

    The data are read, and what does not fit together is refused.
    """
    config = parse_retrain(flags)
    with session(config, "retrain") as run:
        r = retrainer.assemble(run, Candidate(genotype, tuple(blocks)))
    facts, network = r.dataset.facts(), r.network
    defaults = config.defaults()  # only what differs is stated: a flag that is added later changes no old study
    settings = {
        "--epochs": config.epochs,
        **{f"--{k}": v for k, v in flags_of(config).items() if k not in OWN and v != defaults[k]},
        "data": {key: facts[key] for key in ("classes", "train_images", "val_images", "image_size", "fingerprint")},
        "network": network.spec.as_plain(),
        "sharing": genotype.sharing,
    }
    deployment = Deployment(network.spec, genotype.sharing, facts["image_size"])
    return json.loads(json.dumps(settings)), deployment


def draw_genotypes(
    n: int, population: str, seed: int, blocks: Sequence[int], sharing: str, space: str
) -> list[Genotype]:
    """``n`` genotypes of a population in their canonical form; more of them begin with the same ones."""
    one, generator = POPULATIONS[population], torch.Generator().manual_seed(derived_seed(seed, "ranking"))
    return [one(1, num_cells(sharing, blocks), sharing, generator, space)[0].canonical() for _ in range(n)]


def alone_pieces(
    folder: Path,
    flags: Sequence[str],
    genotypes: Iterable[Genotype],
    blocks: Sequence[int],
    seeds: Sequence[int],
    name: str = "standalone",
) -> list[Piece]:
    """The stand-alone trainings: of every genotype in order, one for each seed. ``name``: of their folder."""
    return [
        Piece(
            folder / name / f"{key_of(genotype)}-seed{seed}.json",
            partial(train_alone, tuple(flags), genotype, tuple(blocks), seed),
        )
        for genotype in genotypes
        for seed in seeds
    ]


def require_own(piece: Piece, found: Mapping[str, Any], genotype: Genotype, seed: int) -> None:
    """Refuse a file that holds the results of another training, or none that can be compared. Raises WorkError."""
    if (found.get("cells"), found.get("seed")) != (genotype.to_lists(), seed):
        raise WorkError(f"{piece.path} does not hold the training of {genotype} with seed {seed}: remove it")
    lacking = [name for name, value in found.items() if name.startswith("valid/") and value is None]
    if lacking:  # null stands for what is not finite
        raise WorkError(f"{piece.path}: {lacking[0]} is not finite after training: give a smaller learning rate")


def train_alone(flags: Sequence[str], genotype: Genotype, blocks: Sequence[int], seed: int) -> dict[str, Any]:
    """The validation metrics of a genotype after its last epoch, trained under the retrainer's ``flags``.

    Nothing is written, and the validation images are read once, at the end.
    """
    config: RetrainConfig = parse_retrain([*flags, "--seed", str(seed)])
    with session(config, "retrain") as run:
        r = retrainer.assemble(run, Candidate(genotype, tuple(blocks)))
        training = r.training
        with stop_requests(run.world) as training.stop:
            for epoch in training.epochs():
                training.at.begin("train")
                metrics = retrainer.train(r, epoch)
                training.at.next_epoch()
        metrics |= retrainer.validate(r)
        final = r.task.final_measure
        if final != r.task.measure:
            names = output_names(r.dataset.classes, r.network.num_classes)
            measured = r.task.measures(r.evaluated, r.valid, names, torch.Generator().manual_seed(seed))
            metrics[f"valid/{final}"] = measured[final]
    return {
        "cells": genotype.to_lists(),
        "seed": seed,
        "parameters": r.network.num_parameters - r.network.num_aux_parameters,
        **{name: value for name, value in metrics.items() if name.startswith(("train/", "valid/"))},
    }
