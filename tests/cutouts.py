"""Cut-out pictures for composed scenes: a disc of one colour for every class, on nothing."""

from __future__ import annotations

import json
import shutil
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


def as_voc(folder: Path, root: Path) -> Path:
    """The scenes of a folder in the layout of VOC; its folder."""
    for name in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Main", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    shutil.copy(folder / "classes.json", root)
    for side in ("train", "val"):
        document, stems = annotations(folder, side), []
        names = {category["id"]: category["name"] for category in document["categories"]}
        for image in document["images"]:
            stems.append(f"{side}_{image['id']:06d}")
            shutil.copy(folder / side / "images" / image["file_name"], root / "JPEGImages" / f"{stems[-1]}.png")
            shutil.copy(folder / side / "masks" / image["file_name"], root / "SegmentationClass" / f"{stems[-1]}.png")
            objects = ""
            for entry in document["annotations"]:
                if entry["image_id"] == image["id"]:
                    x, y, width, height = entry["bbox"]
                    corners = (
                        f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + width}</xmax><ymax>{y + height}</ymax>"
                    )
                    objects += f"<object><name>{names[entry['category_id']]}</name><bndbox>{corners}</bndbox></object>"
            size = f"<size><width>{image['width']}</width><height>{image['height']}</height></size>"
            text = f"<annotation>{size}{objects}</annotation>"
            (root / "Annotations" / f"{stems[-1]}.xml").write_text(text)
        for kind in ("Main", "Segmentation"):
            (root / "ImageSets" / kind / f"{side}.txt").write_text("\n".join(stems))
    return root
