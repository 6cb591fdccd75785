"""The pieces of a comparison of methods: timing a search, a whole search, a training of its winner.

The functions are the work of pieces (studies/pieces.py): plain values in, plain values out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.cost import network_cost
from models.macs import Cost
from models.spec import NetworkSpec
from ops.genotype import Genotype, read_candidate
from studies.frozen import run_search
from studies.standalone import train_alone
from utils.system.errors import WorkError
from utils.system.files import read_json

QUIET = ("--no-tensorboard", "--report_freq", "1000000", "--resume", "auto")
WIDEST = 1024  # filters that are tried
AGREE = 0.1  # how far parameters may be from what is asked for


def _records(run: Path) -> list[dict[str, Any]]:
    """The epochs of a run."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def time_search(words: Sequence[str], folder: Path, method: str) -> dict[str, float]:
    """The seconds of a search's first two epochs and, of the second, those of its strategy; the run is thrown away.

    ``words`` have it that the strategy is at work in the second, and in the first where there is no warm-up.
    """
    only = ["--epochs", "2", "--derive_samples", "1", "--top_k", "1", *QUIET, "--seed", "0"]
    run = run_search([*words, *only], folder, method)
    first, second = _records(run)
    found = {"first_s": first["time/epoch_s"], "second_s": second["time/epoch_s"]}
    return {
        **found,
        "first_strategy_s": first.get("time/strategy_s", 0.0),
        "second_strategy_s": second.get("time/strategy_s", 0.0),
    }


def search_method(words: Sequence[str], folder: Path, method: str, seed: int) -> dict[str, Any]:
    """Run the search of a method, or go on with it: its winner, and what that took.

    ``images``: those that passed through the shared weights, each as often as it did, in the epochs;
    ``derive_images``: likewise in the ranking behind them, which is no part of the budget.
    """
    run = run_search([*words, *QUIET, "--seed", str(seed)], folder, f"{method}-seed{seed}")
    records, result, document = _records(run), read_json(run / "result.json"), read_json(run / "genotypes.json")
    if not result or not document:
        raise WorkError(f"{run} has no result")
    winner = read_candidate(f"{run / 'genotypes.json'}#0", None, None, None).genotype
    return {
        "run": run.name,
        "seed": seed,
        "genotype": written(winner),
        "score": result["score"],
        "epochs": len(records),
        "search_s": sum(record["time/epoch_s"] for record in records),
        "derive_s": result["derive_s"],
        "images": sum(record["images/trained"] + record.get("images/scored", 0) for record in records),
        "derive_images": document["ranked"] * document["reward_images"],
        **({"nao": result["nao"]} if "nao" in result else {}),
    }


def written(genotype: Genotype) -> dict[str, Any]:
    """A genotype as plain values."""
    return {
        "cells": genotype.to_lists(),
        "sharing": genotype.sharing,
        "space": genotype.space,
        "concat": [list(states) for states in genotype.concat],
    }


def train_timed(flags: Sequence[str], genotype: Genotype, blocks: Sequence[int], seed: int) -> dict[str, Any]:
    """What :func:`studies.standalone.train_alone` finds, and the seconds that it took."""
    began = time.perf_counter()
    found = train_alone(flags, genotype, blocks, seed)
    return {**found, "seconds": time.perf_counter() - began}


def fitting_filters(genotype: Genotype, spec: NetworkSpec, image_size: int, parameters: float) -> tuple[int, Cost]:
    """The even number of filters whose network is nearest to so many ``parameters``, and what it costs."""

    def cost(filters: int) -> Cost:
        return network_cost(genotype, replace(spec, filters=filters), image_size)

    low, high = 2, WIDEST  # more filters never have fewer parameters
    while high - low > 2:
        middle = (low + high) // 4 * 2
        low, high = (middle, high) if cost(middle).parameters <= parameters else (low, middle)
    found = {filters: cost(filters) for filters in (low, high)}
    nearest = min(found, key=lambda filters: abs(found[filters].parameters - parameters))
    return nearest, found[nearest]


def agrees(cost: Cost, parameters: float) -> bool:
    """Whether a network has the parameters that were asked for, to 10 %."""
    return abs(cost.parameters - parameters) <= AGREE * parameters
