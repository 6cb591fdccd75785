"""Composed scenes as files: ``images/`` with ``masks/`` and COCO's JSON, or the layout of VOC."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from data.prepare.scenes import Scene
from utils.system.palette import palette

COMPOSED = "composed scenes: cut-out pictures on a made-up background"


def mask_picture(mask: np.ndarray) -> Image.Image:
    """Class ids, uint8 (H, W), as a picture with a palette."""
    picture = Image.fromarray(mask)
    picture.putpalette(palette())  # which makes it one
    return picture


class MaskLayout:
    """``<side>/images/``, ``<side>/masks/`` with the same names, and ``<side>/annotations.json``."""

    def __init__(self, root: Path, classes: Sequence[str]) -> None:
        self.root, self.classes = root, classes
        self.documents: dict[str, dict] = {}

    def add(self, side: str, number: int, scene: Scene) -> list[str]:
        """Write a scene; the files, relative to the root."""
        document = self.documents.setdefault(side, self._document())
        size, name = len(scene.mask), f"{number:06d}.png"
        files = [f"{side}/images/{name}", f"{side}/masks/{name}"]
        for file, picture in zip(files, (Image.fromarray(scene.pixels), mask_picture(scene.mask)), strict=True):
            (self.root / file).parent.mkdir(parents=True, exist_ok=True)
            picture.save(self.root / file)
        document["images"].append({"id": number, "file_name": name, "width": size, "height": size})
        for thing in scene.things:
            x1, y1, x2, y2 = thing.box
            found = {"id": len(document["annotations"]) + 1, "image_id": number, "category_id": thing.label}
            found |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": thing.area, "iscrowd": 0}
            document["annotations"].append(found)
        return files

    def _document(self) -> dict:
        categories = [{"id": i, "name": name} for i, name in enumerate(self.classes) if i]
        return {"info": {"description": COMPOSED}, "images": [], "annotations": [], "categories": categories}

    def close(self) -> list[str]:
        """Write what is about all scenes of a side; the files."""
        for side, document in self.documents.items():
            (self.root / side / "annotations.json").write_text(json.dumps(document, indent=1) + "\n")
        return [f"{side}/annotations.json" for side in self.documents]


class VocLayout:
    """``JPEGImages/``, ``SegmentationClass/``, ``Annotations/`` and the lists in ``ImageSets/``."""

    def __init__(self, root: Path, classes: Sequence[str]) -> None:
        self.root, self.classes = root, classes
        self.stems: dict[str, list[str]] = {}

    def add(self, side: str, number: int, scene: Scene) -> list[str]:
        """Write a scene; the files, relative to the root."""
        stem = f"{side}_{number:06d}"
        self.stems.setdefault(side, []).append(stem)
        files = [f"JPEGImages/{stem}.jpg", f"SegmentationClass/{stem}.png", f"Annotations/{stem}.xml"]
        for file in files:
            (self.root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.pixels).save(self.root / files[0], quality=95)
        mask_picture(scene.mask).save(self.root / files[1])
        tree = ElementTree.ElementTree(self._annotation(f"{stem}.jpg", scene))
        ElementTree.indent(tree)
        tree.write(self.root / files[2], encoding="utf-8")
        return files

    def _annotation(self, name: str, scene: Scene) -> ElementTree.Element:
        size = len(scene.mask)
        root = _element("annotation", {"filename": name, "segmented": 1})
        root.append(_element("source", {"database": COMPOSED}))
        root.append(_element("size", {"width": size, "height": size, "depth": 3}))
        for thing in scene.things:
            x1, y1, x2, y2 = thing.box
            found = _element("object", {"name": self.classes[thing.label], "difficult": 0})
            # Counted from 1, the last pixel included.
            found.append(_element("bndbox", {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}))
            root.append(found)
        return root

    def close(self) -> list[str]:
        """Write the lists of both sides; the files."""
        files = []
        for kind in ("Segmentation", "Main"):
            for side, stems in self.stems.items():
                files.append(f"ImageSets/{kind}/{side}.txt")
                (self.root / files[-1]).parent.mkdir(parents=True, exist_ok=True)
                (self.root / files[-1]).write_text("".join(f"{stem}\n" for stem in stems))
        return files


def _element(tag: str, values: Mapping[str, object]) -> ElementTree.Element:
    element = ElementTree.Element(tag)
    for name, value in values.items():
        ElementTree.SubElement(element, name).text = str(value)
    return element


LAYOUTS = {"masks": MaskLayout, "voc": VocLayout}
