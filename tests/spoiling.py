"""Changes to the composed scenes of tests, by the folders of both layouts, and reading them."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from data.datasets import find_dataset, load


def read(folder, targets, dataset="auto", **more):
    said = []
    options = {"image_size": 24, "targets": targets}
    options["bad_images"] = more.get("bad_images", "stop")
    return load(find_dataset(str(folder), dataset, **options), log=said.append, **more), said


def save(pixels):
    return lambda path: Image.fromarray(np.array(pixels, np.uint8)).save(path)


def spoil_json(change, side="train"):
    def spoil(folders):
        path = folders["masks"] / side / "annotations.json"
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return spoil


def voc_mask(folders):
    return folders["voc"] / "SegmentationClass" / "train_000001.png"


def voc_list(folders):
    return folders["voc"] / "ImageSets" / "Segmentation" / "train.txt"


def spoil_xml(old, new):
    def spoil(folders):
        path = folders["voc"] / "Annotations" / "train_000001.xml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return spoil


def bbox(*values):
    return spoil_json(lambda d: d["annotations"][0].update(bbox=list(values)))
