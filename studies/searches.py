"""Run the search script, and open its runs: what their winners are, and what their shared weights say of genotypes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import train_search_cifar as script
from ops.genotype import Genotype, read_candidate
from utils.reports.log import read_epochs
from utils.runs import resume
from utils.system.errors import WorkError
from utils.system.files import read_json

QUIET = ("--no-tensorboard", "--resume", "auto")


def run_search(flags: Sequence[str], result: Path, save: str) -> Path:
    """Run the search script without a word on the console, or go on with its run; the folder of the run.

    Raises WorkError with the line that the script ends with.
    """
    errors = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(errors):
            # --resume auto starts a run where there is none of this name, and ends at once where it is complete.
            script.main([*flags, *QUIET, "--save", save, "--result", str(result)])
    except SystemExit as end:
        if end.code > 128:  # 128 + the signal that stopped it, with a checkpoint
            raise
        raise WorkError(" ".join(errors.getvalue().split())) from None
    # A name can have several runs, of which the newest is the one that was just at work.
    return resume.runs_called(save, result / "search")[-1]


def search_method(words: Sequence[str], folder: Path, method: str, seed: int) -> dict[str, Any]:
    """Run the search of a method, or go on with it: its winner, and what that took.

    ``images``: those that passed through shared weights in the epochs, each as often as it did; ``derive_images``:
    through any network in the ranking behind them and in the finals.
    """
    run = run_search([*words, "--report_freq", "1000000", "--seed", str(seed)], folder, f"{method}-seed{seed}")
    records = read_epochs(run)  # of a search without a supernet there are none
    result, document = read_json(run / "result.json"), read_json(run / "genotypes.json")
    if not result or not document:
        raise WorkError(f"{run} has no result")
    winner = read_candidate(f"{run / 'genotypes.json'}#0", None, None, None).genotype
    return {
        "run": run.name,
        "seed": seed,
        "genotype": as_plain(winner),
        "score": result["score"],
        "epochs": len(records),
        "search_s": sum(record["time/epoch_s"] for record in records),
        "derive_s": result["derive_s"],
        "images": sum(record["images/trained"] + record.get("images/scored", 0) for record in records),
        "derive_images": result.get("ranking_images", 0) + result.get("finals", {}).get("images", 0),
        **({"nao": result["nao"]} if "nao" in result else {}),
    }


def as_plain(genotype: Genotype) -> dict[str, Any]:
    """A genotype as plain values."""
    concat = [list(states) for states in genotype.concat]
    return {"cells": genotype.to_lists(), "sharing": genotype.sharing, "space": genotype.space, "concat": concat}
