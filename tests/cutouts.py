"""Composed scenes with masks and boxes: discs on noise, a colour for every class."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def compose(size: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list[tuple[int, list[int]]]]:
    """One to four discs on noise, none above another: pixels, class ids, and the label and box of each."""
    pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
    ids, boxes = np.zeros((size, size), np.uint8), []
    for _ in range(random.integers(1, 5)):
        side = round(size * random.uniform(0.25, 0.6))
        x, y = random.integers(size - side + 1, size=2).tolist()
        rows, columns = np.mgrid[:size, :size] - (side - 1) / 2
        inside = (rows - y) ** 2 + (columns - x) ** 2 < (side / 2) ** 2
        if not ids[inside].any():
            label = int(random.integers(len(COLOURS)))
            pixels[inside], ids[inside] = list(COLOURS.values())[label], label + 1
            boxes.append((label + 1, [x, y, side, side]))
    return pixels, ids, boxes


def scenes(root: Path, number: int = 12, size: int = 32) -> Path:
    """Composed scenes, a fifth of them in val, with masks in files and boxes in COCO's JSON; the folder."""
    folder, random = root / "scenes", np.random.default_rng(0)
    for side, count in (("train", number - number // 5), ("val", number // 5)):
        categories = [{"id": i, "name": name} for i, name in enumerate(COLOURS, 1)]
        document = {"images": [], "annotations": [], "categories": categories}
        for part in ("images", "masks"):
            (folder / side / part).mkdir(parents=True)
        for i in range(count):
            pixels, ids, boxes = compose(size, random)
            name = f"{i:06d}.png"
            Image.fromarray(pixels).save(folder / side / "images" / name)
            mask = Image.fromarray(ids)
            mask.putpalette([0, 0, 0, *np.ravel(list(COLOURS.values())).tolist()])
            mask.save(folder / side / "masks" / name)
            document["images"].append({"id": i, "file_name": name, "width": size, "height": size})
            for label, box in boxes:
                entry = {"id": len(document["annotations"]), "image_id": i, "category_id": label, "bbox": box}
                document["annotations"].append(entry)
        (folder / side / "annotations.json").write_text(json.dumps(document))
    (folder / "classes.json").write_text(json.dumps(["background", *COLOURS]))
    return folder


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
