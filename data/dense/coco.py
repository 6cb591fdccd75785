"""COCO's JSON: the boxes or the outlines of a side, every entry looked at before it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from data.decoding import DataError
from data.dense.layouts import BACKGROUND, SIDES, Entry, Fault, Listed, background_notices, boxed, refuse
from data.dense.masks import IGNORED, Size, upright_size
from data.dense.outlines import Outlines, is_number, outline_fault
from data.images import BOXES, MASKS
from utils.system.terminal import reason, show

Annotation = Mapping[str, Any]
# What an annotation holds that is not empty, as JSON writes it.
KEYS = {MASKS: "segmentation", BOXES: "bbox"}
HELD = {targets: rb'"%s"\s*:\s*(?!\s|null|\[\s*\])' % key.encode() for targets, key in KEYS.items()}


def is_id(value: Any) -> bool:
    """Whether a value from JSON can be an id."""
    return isinstance(value, int | str)


def is_length(value: Any) -> bool:
    """Whether a value from JSON can be a width or a height, which may be left out."""
    return value is None or (is_number(value) and value >= 1 and value == int(value))


def is_box(value: Any) -> bool:
    """Whether a value from JSON is a list of four numbers."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def is_name(value: Any) -> bool:
    """Whether a value from JSON is a text that is not empty."""
    return isinstance(value, str) and bool(value)


Fields = dict[str, Callable[[Any], bool]]
IMAGE: Fields = {"id": is_id, "file_name": is_name, "width": is_length, "height": is_length}
CATEGORY: Fields = {"id": is_id, "name": is_name}
ANNOTATION: Fields = {"image_id": is_id, "category_id": is_id}


def list_coco(root: Path, targets: str, fault: Fault = refuse) -> Listed:
    """``<side>/annotations.json`` beside ``<side>/images/``, or COCO's ``annotations/instances_<side>*.json``."""
    if targets == MASKS and find_spec("pycocotools") is None:
        raise DataError("masks from COCO's JSON need pycocotools: pip install pycocotools")
    places = {side: coco_json(root, side) for side in SIDES}
    documents = {side: _document(path) for side, (path, _) in places.items()}
    names = {side: {c["id"]: c["name"] for c in documents[side]["categories"]} for side in SIDES}
    if names["train"] != names["val"]:
        raise DataError(f"{show(root)} has other categories in train than in val")
    # In the order of their ids, which are numbers or texts.
    ordered = sorted(names["train"].items(), key=lambda item: (isinstance(item[0], str), item[0]))
    classes = tuple(name for _, name in ordered)
    if targets == MASKS and BACKGROUND not in classes[:1]:
        classes = (BACKGROUND, *classes)
    if targets == MASKS and len(classes) > IGNORED:
        raise DataError(f"{show(places['train'][0])} has {len(classes)} classes, and a mask has room for {IGNORED}")
    sides: dict[str, list[Entry]] = {}
    notices: list[str] = []
    for side, (path, folder) in places.items():
        images = _images(documents[side], path, folder, root, names[side], targets, fault)
        if targets == MASKS:
            drawn = [_outlined(image, own, size, path, names[side], classes, fault) for image, own, size in images]
            sides[side] = [entry for entry in drawn if entry]
            empty = sum(not entry.mask.objects for entry in sides[side])
            notices += [f"{empty} images of {side} have no object: they are background alone"] if empty else []
            continue
        crowds = sum(bool(a.get("iscrowd")) for _, own, _ in images for a in own)
        notices += [f"left out {crowds} crowds in {show(path)}"] if crowds else []
        entries = [boxed(image, _boxes(own, names[side]), size, classes, fault) for image, own, size in images]
        sides[side] = [entry for entry in entries if entry]
    return Listed(sides, classes, notices if targets == MASKS else notices + background_notices(sides))


def coco_json(root: Path, side: str) -> tuple[Path, Path]:
    """The JSON of a side in COCO's layout and the folder of its images. Raises DataError."""
    beside = root / side / "annotations.json"
    if beside.is_file():
        return beside, root / side / "images"
    if not (root / "annotations").is_dir():
        raise DataError(f"{show(root / side)} has no annotations.json")
    files = sorted((root / "annotations").glob(f"instances_{side}*.json"))
    if len(files) != 1:
        raise DataError(f"{show(root / 'annotations')} has {len(files)} files instances_{side}*.json, and needs one")
    return files[0], root / files[0].stem.removeprefix("instances_")


def holds(root: Path, targets: str) -> bool:
    """Whether the annotations of train seem to have masks or boxes. Nothing is read of what cannot be."""
    try:
        return re.search(HELD[targets], coco_json(root, "train")[0].read_bytes()) is not None
    except (OSError, DataError):
        return False


def _document(path: Path) -> Mapping[str, list]:
    """The JSON of a side, whose images and categories can be told apart. Raises DataError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{show(path)} cannot be read: {reason(error)}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{show(path)} is no COCO file: {reason(error)}") from None
    for part in ("images", "annotations", "categories"):
        if not isinstance(document, dict) or not isinstance(document.get(part), list):
            raise DataError(f"{show(path)} is no COCO file: it has no list of {part}")
    for part, key in (("images", "id"), ("categories", "id"), ("categories", "name")):
        seen = set()
        for entry in _sound(document[part], IMAGE if part == "images" else CATEGORY, part, path, refuse):
            if entry[key] in seen:
                raise DataError(f"{show(path)} has the {key} {show(entry[key])} twice in {part}")
            seen.add(entry[key])
    return document


def _sound(entries: list, fields: Fields, part: str, path: Path, fault: Fault) -> list[Annotation]:
    """The entries of a list whose fields are of their kind."""
    sound = []
    for number, entry in enumerate(entries):
        bad = [key for key, check in fields.items() if not (isinstance(entry, dict) and check(entry.get(key)))]
        if bad:
            fault(f"{show(path)} is no COCO file: {bad[0]} of entry {number} in {part} is missing or odd")
        else:
            sound.append(entry)
    return sound


def _images(
    document: Mapping[str, list],
    path: Path,
    folder: Path,
    root: Path,
    names: Mapping[Any, str],
    targets: str,
    fault: Fault,
) -> list[tuple[Path, list[Annotation], Size | None]]:
    """The images that are there, with their annotations and the size that is stated."""
    of_image: dict[Any, list[Annotation]] = {entry["id"]: [] for entry in document["images"]}
    fields = ANNOTATION | ({"bbox": is_box} if targets == BOXES else {})
    for number, entry in enumerate(_sound(document["annotations"], fields, "annotations", path, fault)):
        where = f"{show(path)}: annotation {show(entry.get('id', number))}"
        if entry["image_id"] not in of_image:
            fault(f"{where} is of the image {show(entry['image_id'])}, which is not there")
        elif entry["category_id"] not in names:
            fault(f"{where} is of the category {show(entry['category_id'])}, which is not there")
        else:
            of_image[entry["image_id"]].append(entry)
    images, seen = [], set()
    for entry in document["images"]:
        image = folder / entry["file_name"]
        if not image.is_file() or not image.is_relative_to(root):
            fault(f"{show(path)} names {show(image)}, which is not there")
        elif image in seen:
            fault(f"{show(path)} names {show(image)} twice")
        else:
            seen.add(image)
            stated = entry.get("width"), entry.get("height")
            images.append((image, of_image[entry["id"]], None if None in stated else tuple(map(int, stated))))
    return images


def _boxes(annotations: list[Annotation], names: Mapping[Any, str]) -> list:
    """Names and corners of the annotations of an image, but for crowds."""
    objects = []
    for entry in annotations:
        if not entry.get("iscrowd"):
            x, y, width, height = entry["bbox"]
            objects.append((names[entry["category_id"]], (x, y, x + width, y + height)))
    return objects


def _outlined(
    image: Path,
    annotations: list[Annotation],
    stated: Size | None,
    path: Path,
    names: Mapping[Any, str],
    classes: tuple[str, ...],
    fault: Fault,
) -> Entry | None:
    """An image with a mask to be drawn: crowds are ignored and lie lowest, then objects in their order."""
    try:
        size, objects = stated or upright_size(image), []
    except DataError as error:
        return fault(str(error))
    for entry in sorted(annotations, key=lambda entry: not entry.get("iscrowd")):  # which keeps their order
        if wrong := outline_fault(entry.get("segmentation"), size):
            fault(f"{show(path)}: annotation {show(entry.get('id', '?'))} of {show(image)}: {wrong}")
            continue
        label = IGNORED if entry.get("iscrowd") else classes.index(names[entry["category_id"]])
        objects.append((label, entry["segmentation"]))
    return Entry(image, Outlines(f"what {path} outlines in {image.name}", size, tuple(objects)), stated=stated)
