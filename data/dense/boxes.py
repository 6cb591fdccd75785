"""Boxes in VOC's XML and in COCO's JSON, and VOC's lists of images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from data.decoding import DataError
from data.dense.annotated import MASKS, upright_size
from data.dense.layouts import (
    BACKGROUND,
    SIDES,
    VOC_CLASSES,
    Fault,
    Listed,
    Side,
    as_shares,
    box_fault,
    find_image,
    refuse,
    stated_classes,
)
from utils.system.terminal import reason, show

Found = tuple[list[tuple[str, tuple[float, ...]]], tuple[int, int]]  # names and boxes, and the size of the image


def list_voc(root: Path, targets: str, fault: Fault = refuse) -> Listed:
    """``JPEGImages/``, with ``SegmentationClass/`` or ``Annotations/``, by the lists in ``ImageSets/``."""
    lists = root / "ImageSets" / ("Segmentation" if targets == MASKS else "Main")
    stems = {side: _stems(lists / f"{side}.txt") for side in SIDES}
    both = sorted(set(stems["train"]) & set(stems["val"]))
    if both:
        fault(f"{show(both[0])} is in train.txt and in val.txt of {show(lists)}")
    found = {side: _voc_files(root, side, stems[side], lists, fault) for side in SIDES}
    classes = stated_classes(root, targets)
    if targets == MASKS:
        classes = classes or (BACKGROUND, *VOC_CLASSES)
        sides = {side: Side() for side in SIDES}
        for side, files in found.items():
            for stem, image in files:
                mask = root / "SegmentationClass" / f"{stem}.png"
                if mask.is_file():
                    sides[side].add(image, mask)
                else:
                    fault(f"{show(image)} has no mask {show(mask)}")
        return Listed(sides, classes, [])
    read = {side: [(image, _xml(root, stem, fault)) for stem, image in files] for side, files in found.items()}
    names = {name for _, own in read["train"] if own for name, _ in own[0]}
    return _listed(read, classes or tuple(sorted(names)), fault, [])


def _stems(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{show(path)} cannot be read: {reason(error)}") from None
    return [line.split()[0] for line in lines if line.strip()]


def _voc_files(root: Path, side: str, stems: Sequence[str], lists: Path, fault: Fault) -> list[tuple[str, Path]]:
    found, seen = [], set()
    for stem in stems:
        image = find_image(root / "JPEGImages", stem)
        if image is None:
            fault(f"{show(lists / f'{side}.txt')} lists {show(stem)}, which is not in {show(root / 'JPEGImages')}")
        elif stem in seen:
            fault(f"{show(lists / f'{side}.txt')} lists {show(stem)} twice")
        else:
            seen.add(stem)
            found.append((stem, image))
    return found


def _xml(root: Path, stem: str, fault: Fault) -> Found | None:
    """The objects in an annotation; corners are counted from 1 and belong to the box."""
    path = root / "Annotations" / f"{stem}.xml"
    try:
        tree = ElementTree.parse(path).getroot()
        size = tuple(int(tree.findtext(f"size/{key}") or "") for key in ("width", "height"))
        objects = []
        for entry in tree.iter("object"):
            corners = [float(entry.findtext(f"bndbox/{k}") or "") for k in ("xmin", "ymin", "xmax", "ymax")]
            name = entry.findtext("name") or ""
            objects.append((name.strip(), (corners[0] - 1, corners[1] - 1, corners[2], corners[3])))
    except (OSError, ElementTree.ParseError, ValueError) as error:
        fault(f"{show(path)} cannot be read: {reason(error)}")
        return None
    return objects, size


def list_coco(root: Path, targets: str, fault: Fault = refuse) -> Listed:
    """``<side>/annotations.json`` beside ``<side>/images/``, or COCO's ``annotations/instances_<side>*.json``."""
    read, names, notices = {}, {}, []
    for side in SIDES:
        path, folder = _coco_files(root, side)
        document = _coco_document(path)
        names[side] = {c["id"]: c["name"] for c in document["categories"]}
        read[side] = _coco_images(document, path, folder, names[side], fault)
        crowds = sum(bool(a.get("iscrowd")) for a in document["annotations"])
        if crowds:
            notices.append(f"left out {crowds} crowds in {show(path)}")
    if names["train"] != names["val"]:
        raise DataError(f"{show(root)} has other categories in train than in val")
    ordered = tuple(name for _, name in sorted(names["train"].items()))
    return _listed(read, ordered, fault, notices)


def _coco_files(root: Path, side: str) -> tuple[Path, Path]:
    """The JSON of a side and the folder of its images."""
    own = root / side / "annotations.json"
    if own.is_file():
        return own, root / side / "images"
    found = sorted((root / "annotations").glob(f"instances_{side}*.json"))
    if len(found) != 1:
        raise DataError(f"{show(root / 'annotations')} has {len(found)} files instances_{side}*.json, and needs one")
    return found[0], root / found[0].stem.removeprefix("instances_")


def _coco_document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        for part, keys in (("images", ("id", "file_name")), ("annotations", ("image_id", "category_id", "bbox"))):
            for entry in document[part]:
                [entry[key] for key in keys]
        {c["id"]: c["name"] for c in document["categories"]}
    except OSError as error:
        raise DataError(f"{show(path)} cannot be read: {reason(error)}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{show(path)} is no COCO file: {type(error).__name__}: {reason(error)}") from None
    return document


def _coco_images(
    document: Mapping[str, Any], path: Path, folder: Path, names: Mapping[int, str], fault: Fault
) -> list[tuple[Path, Found | None]]:
    objects: dict[Any, list] = {entry["id"]: [] for entry in document["images"]}
    for number, entry in enumerate(document["annotations"]):
        where = f"{show(path)}: annotation {entry.get('id', number)}"
        if entry["image_id"] not in objects:
            fault(f"{where} is of the image {entry['image_id']}, which is not there")
        elif entry["category_id"] not in names:
            fault(f"{where} is of the category {entry['category_id']}, which is not there")
        elif not entry.get("iscrowd"):
            x, y, width, height = entry["bbox"]
            objects[entry["image_id"]].append((names[entry["category_id"]], (x, y, x + width, y + height)))
    found = []
    for entry in document["images"]:
        image = folder / entry["file_name"]
        if not image.is_file():
            fault(f"{show(path)} names {show(image)}, which is not there")
            continue
        size = (entry["width"], entry["height"]) if {"width", "height"} <= entry.keys() else None
        found.append((image, (objects[entry["id"]], size)))
    return found


def _listed(
    read: Mapping[str, Sequence[tuple[Path, Found | None]]], classes: tuple[str, ...], fault: Fault, notices: list[str]
) -> Listed:
    """Both sides with boxes that lie in their images and are of classes that have a name."""
    sides = {side: Side() for side in SIDES}
    ids = {name: i for i, name in enumerate(classes)}
    for side, found in read.items():
        for image, own in found:
            if own is None:
                continue
            objects, stated = own
            size, boxes, labels = stated or upright_size(image), [], []
            for name, box in objects:
                wrong = box_fault(box, size)
                if name not in ids:
                    wrong = f"class {show(name)} is none of {len(classes)}"
                if wrong:
                    fault(f"{show(image)}: {wrong}")
                    continue
                boxes.append(box)
                labels.append(ids[name])
            sides[side].add(image, boxes=as_shares(boxes, labels, size), stated=stated)
    empty = sum(not len(boxes) for side in sides.values() for boxes in side.boxes)
    if empty:
        notices.append(f"{empty} images have no object: they are background alone")
    return Listed(sides, classes, notices)
