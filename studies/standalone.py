"""Train genotypes from scratch as the retrainer does: the results that a ranking is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import retrainer_cifar as retrainer
from ops.genotype import Candidate, Genotype
from utils.config import parse_retrain
from utils.runs.session import session
from utils.system.signals import stop_requests


def train_alone(flags: Sequence[str], genotype: Genotype, blocks: Sequence[int], seed: int) -> dict[str, Any]:
    """The validation metrics of a genotype after its last epoch, trained under the retrainer's ``flags``.

    Nothing is written, and the validation images are read once, at the end.
    """
    config = parse_retrain([*flags, "--seed", str(seed)])
    with session(config, "retrain") as run:
        r = retrainer.assemble(run, Candidate(genotype, tuple(blocks)))
        training = r.training
        with stop_requests(run.world) as training.stop:
            for epoch in training.epochs():
                training.at.begin("train")
                metrics = retrainer.train(r, epoch)
                training.at.next_epoch()
        metrics |= retrainer.validate(r)
    return {
        "cells": genotype.to_lists(),
        "seed": seed,
        "parameters": r.network.num_parameters - r.network.num_aux_parameters,
        **{name: value for name, value in metrics.items() if name.startswith(("train/", "valid/"))},
    }
