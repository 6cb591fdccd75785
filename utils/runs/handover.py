"""The command that trains what a search found."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[2] / "retrainer_cifar.py"
CARRIED = {  # unless it has this value
    "dataset": "auto",
    "train_images": None,
    "num_class": None,
    "cutout": None,
    "bad_images": "stop",
    "task": "classify",
}


def carried_flags(flags: Mapping[str, Any], task: str) -> list[str]:
    """What a retraining for a task must be told to get the data and the networks of a search, by its ``flags``."""
    flags = {**flags, "task": task}
    words = ["--data", flags["data"]]
    for name, default in CARRIED.items():
        if flags.get(name, default) != default:  # a checkpoint from before a flag has none
            words += [f"--{name}", str(flags[name])]
    if flags["flip"] is not None:
        words.append("--flip" if flags["flip"] else "--no-flip")
    # The size of what is to be retrained, which limits were counted for, before that of the search.
    image_size = flags["deploy_image_size"] or flags["image_size"]
    if image_size is not None:
        words += ["--image_size", str(image_size)]
    if flags["antialias"] != "conv":
        words += ["--antialias", flags["antialias"]]
    if not flags["child_use_aux_heads"]:
        words.append("--no-child_use_aux_heads")
    if flags.get("deploy_stem"):  # a checkpoint from before it has none
        words += ["--stem", flags["deploy_stem"]]
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
