"""Writing the prepared folder that a plan describes, whole or not at all."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from data.prepare.layouts import Picture
from data.prepare.output_folder import CLASSES, RECORD, fresh_folder, leftovers
from data.prepare.plan import Plan
from utils.system.errors import WorkError
from utils.system.terminal import say, show


def write(plan: Plan) -> None:
    """Write the folder and tell what is in it; OSError or WorkError leaves nothing behind."""
    for line in plan.layout.notices:
        say(f"notice: {line}")
    for line in plan.layout.warnings:
        say(f"WARNING: {line}", sys.stderr)
    for folder in leftovers(plan.out):
        say(f"notice: left by a run that was killed, or still in work: {show(folder)}")
    total = sum(len(chosen) for chosen in plan.sides.values())
    with (
        fresh_folder(plan.out) as work,
        tqdm(total=total, disable=None, unit="image", leave=False) as progress,
    ):
        for side, chosen in plan.sides.items():
            for label in plan.classes:
                (work / side / label).mkdir(parents=True)
            for picture in chosen:
                _place(plan.place, picture, work / side / picture.label / picture.name)
                progress.update()
        (work / CLASSES).write_text(json.dumps(plan.classes, indent=1) + "\n")
        (work / RECORD).write_text(json.dumps(plan.record(), indent=1) + "\n")
    ratio = f" {plan.request.train_ratio}" if plan.request.train_ratio is not None else ""
    say(
        f"{plan.request.name}: {len(plan.classes)} classes, {len(plan.sides['train'])} train and "
        f"{len(plan.sides['val'])} val images, {plan.left_out} left out; rule {plan.rule}{ratio}, "
        f"seed {plan.request.seed}; written to {show(plan.out)}"
    )


def _place(place: Callable[[Picture, str], None], picture: Picture, target: Path) -> None:
    if os.path.lexists(target):  # a file system that does not tell A.jpg from a.jpg
        raise WorkError(f"two images would be the same file here: {show(target.name)} of {show(picture.label)}")
    place(picture, str(target))
