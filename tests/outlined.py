"""Composed scenes whose masks are outlined in COCO's JSON, and changes of that."""

from __future__ import annotations

import json
import shutil

import numpy as np
from PIL import Image

from data.datasets import find_dataset, load
from tests.cutouts import scenes

SIZE = 24


def compressed(mask):
    """The runs of a mask, (H, W), as COCO writes them."""
    from pycocotools import mask as coco_mask

    found = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": found["size"], "counts": found["counts"].decode()}


def square(x1, y1, x2, y2):
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def both_layouts(root):
    """Composed scenes with files of masks, and the same with outlines of each class of an image in their place."""
    both = {"masks": scenes(root, number=6, size=SIZE)}
    both["coco"] = shutil.copytree(both["masks"], root / "coco")
    for side in ("train", "val"):
        path = both["coco"] / side / "annotations.json"
        document = json.loads(path.read_text())
        document["annotations"] = []
        for image in document["images"]:
            ids = np.asarray(Image.open(both["coco"] / side / "masks" / image["file_name"]))
            for label in np.unique(ids[ids > 0]).tolist():
                found = {"id": len(document["annotations"]), "image_id": image["id"], "category_id": label}
                document["annotations"].append(found | {"segmentation": compressed(ids == label), "iscrowd": 0})
        path.write_text(json.dumps(document))
        shutil.rmtree(both["coco"] / side / "masks")
    return both


def read(folder, targets="masks", **options):
    said = []
    return load(find_dataset(str(folder), image_size=SIZE, targets=targets), log=said.append, **options), said


def change(folder, what, side="train"):
    path = folder / side / "annotations.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps(what(document) or document))


def objects(*entries):
    """The annotations of the first image, and no others."""
    own = [
        {"id": i, "image_id": 0, "category_id": 1, "segmentation": square(2, 2, 6, 6), **e}
        for i, e in enumerate(entries)
    ]
    return lambda document: document.update(annotations=own)
