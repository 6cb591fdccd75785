"""Cut-out pictures for composed scenes: a disc of one colour for every class, on nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from data.prepare.command import main

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def disc(path: Path, colour: tuple[int, int, int], side: int = 40) -> None:
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = 255 * (rows**2 + columns**2 < (side / 2 - 2) ** 2)
    pixels = np.dstack([*(np.full((side, side), c) for c in colour), alpha]).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def cutouts(root: Path, each: int = 3) -> Path:
    for name, colour in COLOURS.items():
        for i in range(each):
            disc(root / name / f"{name}{i}.png", colour, 36 + 4 * i)
    return root


def scenes(root: Path, *more: str, number: int = 12, size: int = 32) -> Path:
    """Composed scenes of discs; the folder."""
    words = ["--source", str(cutouts(root / "cutouts")), "--out", str(root / "scenes"), "--scenes", str(number)]
    assert main(["scenes", *words, "--size", str(size), *more]) == 0
    return root / "scenes"


def annotations(folder: Path, side: str) -> dict:
    return json.loads((folder / side / "annotations.json").read_text())
