"""The command that trains what a search found."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.config import RetrainConfig

SCRIPT = Path(__file__).resolve().parents[2] / "retrainer_cifar.py"
CARRIED = ("dataset", "train_images", "num_class", "cutout", "bad_images", "task", "flip", "image_size", "antialias")
CARRIED += ("child_use_aux_heads", "stem")  # flags, unless they have the default of a retraining


def carried_flags(flags: Mapping[str, Any], task: str) -> list[str]:
    """What a retraining for a task must be told to get the data and the networks of a search, by its ``flags``."""
    # What is to be retrained, which limits were counted for, goes before the search; older checkpoints have no stem.
    size, stem = flags["deploy_image_size"] or flags["image_size"], flags.get("deploy_stem")
    flags, defaults = {**flags, "task": task, "image_size": size, "stem": stem}, RetrainConfig().defaults()
    words = ["--data", flags["data"]]
    for name in CARRIED:
        value = flags.get(name, defaults[name])  # a checkpoint from before a flag has none
        if isinstance(value, bool) and value != defaults[name]:
            words.append(f"--{name}" if value else f"--no-{name}")
        elif value != defaults[name]:
            words += [f"--{name}", str(value)]
    return [*words, "--child_out_filters", str(flags["deploy_filters"] or flags["child_out_filters"])]


def retrain_command(flags: Mapping[str, Any], task: str, path: Path, rank: int) -> str:
    """The command for candidate ``rank`` of the genotypes.json at ``path``, which states sharing and blocks itself.

    ``flags``: those of the search; ``task``: what the network is retrained for.
    """
    here = Path.cwd() == SCRIPT.parent  # then the short name is enough
    words = ["python", SCRIPT.name if here else str(SCRIPT), "--save", flags["save"], *carried_flags(flags, task)]
    return " ".join(map(pasted, [*words, "--arch", f"{path}#{rank}"]))


def pasted(word: str) -> str:
    """A word as it can be pasted into a shell, also where it holds bytes of a path that are no text."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return "$'" + "".join(f"\\x{byte:02x}" for byte in os.fsencode(word)) + "'"
    return shlex.quote(word)
