"""COCO's JSON: the boxes or the outlines of a side, every entry looked at before it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.decoding import DataError
from data.dense.annotated import BOXES, IGNORED, MASKS, upright_size
from data.dense.boxes import Objects, listed_boxes
from data.dense.layouts import BACKGROUND, SIDES, Fault, Listed, Side, coco_json, refuse
from data.dense.outlines import Outlines, is_number, outline_fault, require_drawing
from utils.system.terminal import reason, show

Document = Mapping[str, Any]
# What an annotation holds that is not empty, as JSON writes it.
HELD = {
    MASKS: re.compile(rb'"segmentation"\s*:\s*(?!\s|null|\[\s*\])'),
    BOXES: re.compile(rb'"bbox"\s*:\s*(?!\s|null|\[\s*\])'),
}
Size = tuple[int, int]


def list_coco(root: Path, targets: str, fault: Fault = refuse) -> Listed:
    """``<side>/annotations.json`` beside ``<side>/images/``, or COCO's ``annotations/instances_<side>*.json``."""
    files = {side: coco_json(root, side) for side in SIDES}
    read = {side: _document(files[side][0], targets) for side in SIDES}
    names = {side: {c["id"]: c["name"] for c in read[side]["categories"]} for side in SIDES}
    if names["train"] != names["val"]:
        raise DataError(f"{show(root)} has other categories in train than in val")
    # In the order of their ids, which are numbers or texts.
    ordered = sorted(names["train"].items(), key=lambda item: (isinstance(item[0], str), item[0]))
    classes, numbers = tuple(name for _, name in ordered), {key: i for i, (key, _) in enumerate(ordered)}
    sound = {side: _images(read[side], files[side], root, numbers, fault) for side in SIDES}
    if targets == MASKS:
        return _listed_outlines(sound, files, classes, numbers, fault)
    notices, found = [], {}
    for side, images in sound.items():
        crowds = sum(bool(a.get("iscrowd")) for a in read[side]["annotations"])
        if crowds:
            notices.append(f"left out {crowds} crowds in {show(files[side][0])}")
        found[side] = [(image, _boxes(own, names[side]), size) for image, own, size in images]
    return listed_boxes(found, classes, fault, notices)


def holds(root: Path, targets: str) -> bool:
    """Whether the annotations of train seem to have masks or boxes. Nothing is read of what cannot be."""
    try:
        return HELD[targets].search(coco_json(root, "train")[0].read_bytes()) is not None
    except (OSError, DataError):
        return False


def _document(path: Path, targets: str) -> Document:
    """The JSON of a side whose entries have what is read of them. Raises DataError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{show(path)} cannot be read: {reason(error)}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{show(path)} is no COCO file: {reason(error)}") from None
    required = {"images": _of_image, "annotations": _of_annotation(targets), "categories": _of_category}
    for part, checks in required.items():
        entries = document.get(part) if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise DataError(f"{show(path)} is no COCO file: it has no list of {part}")
        for number, entry in enumerate(entries):
            bad = [key for key, sound in checks.items() if not (isinstance(entry, dict) and sound(entry.get(key)))]
            if bad:
                raise DataError(f"{show(path)} is no COCO file: {bad[0]} of entry {number} in {part} is missing or odd")
    for part, key in (("images", "id"), ("categories", "id"), ("categories", "name")):
        seen = set()
        for entry in document[part]:
            if entry[key] in seen:
                raise DataError(f"{show(path)} has the {key} {show(entry[key])} twice in {part}")
            seen.add(entry[key])
    return document


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_length(value: Any) -> bool:
    return value is None or (is_number(value) and value >= 1 and value == int(value))


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(is_number(v) for v in value)


_of_image = {"id": _is_id, "file_name": _is_name, "width": _is_length, "height": _is_length}
_of_category = {"id": _is_id, "name": _is_name}


def _of_annotation(targets: str) -> dict[str, Callable[[Any], bool]]:
    found = {"image_id": _is_id, "category_id": _is_id}
    return found if targets == MASKS else found | {"bbox": _is_box}


def _images(
    document: Document, place: tuple[Path, Path], root: Path, numbers: Mapping[Any, int], fault: Fault
) -> list[tuple[Path, list[Document], Size | None]]:
    """The images that are there, with their annotations and the size that is stated."""
    path, folder = place
    own: dict[Any, list[Document]] = {entry["id"]: [] for entry in document["images"]}
    for number, entry in enumerate(document["annotations"]):
        where = f"{show(path)}: annotation {show(entry.get('id', number))}"
        if entry["image_id"] not in own:
            fault(f"{where} is of the image {show(entry['image_id'])}, which is not there")
        elif entry["category_id"] not in numbers:
            fault(f"{where} is of the category {show(entry['category_id'])}, which is not there")
        else:
            own[entry["image_id"]].append(entry)
    found, seen = [], set()
    for entry in document["images"]:
        image = folder / entry["file_name"]
        if not image.is_file() or not image.is_relative_to(root):
            fault(f"{show(path)} names {show(image)}, which is not there")
        elif image in seen:
            fault(f"{show(path)} names {show(image)} twice")
        else:
            seen.add(image)
            stated = entry.get("width"), entry.get("height")
            found.append((image, own[entry["id"]], None if None in stated else tuple(map(int, stated))))
    return found


def _boxes(own: Sequence[Document], names: Mapping[Any, str]) -> Objects:
    """Names and corners of the annotations of an image, but for crowds."""
    found = []
    for entry in own:
        if not entry.get("iscrowd"):
            x, y, width, height = entry["bbox"]
            found.append((names[entry["category_id"]], (x, y, x + width, y + height)))
    return found


def _listed_outlines(
    sound: Mapping[str, Sequence[tuple[Path, list[Document], Size | None]]],
    files: Mapping[str, tuple[Path, Path]],
    classes: tuple[str, ...],
    numbers: Mapping[Any, int],
    fault: Fault,
) -> Listed:
    """Both sides with masks to be drawn: crowds are ignored and lie lowest, then objects in their order."""
    require_drawing()
    first = int(BACKGROUND not in classes[:1])  # else the categories have it
    if len(classes) + first > IGNORED:
        raise DataError(f"{show(files['train'][0])} has {len(classes)} categories, and a mask has room for {IGNORED}")
    sides, notices = {side: Side() for side in SIDES}, []
    for side, images in sound.items():
        empty = 0
        for image, own, stated in images:
            try:
                size, objects = stated or upright_size(image), []
            except DataError as error:
                fault(str(error))
                continue
            for entry in sorted(own, key=lambda entry: not entry.get("iscrowd")):  # which keeps their order
                outline, crowd = entry.get("segmentation"), bool(entry.get("iscrowd"))
                wrong = outline_fault(outline, size)
                if wrong:
                    fault(f"{show(files[side][0])}: annotation {show(entry.get('id', '?'))} of {show(image)}: {wrong}")
                    continue
                objects.append((IGNORED if crowd else numbers[entry["category_id"]] + first, outline))
            empty += not objects
            name = f"what {files[side][0]} outlines in {image.name}"
            sides[side].add(image, Outlines(name, size, tuple(objects)), stated=stated)
        if empty:
            notices.append(f"{empty} images of {side} have no object: they are background alone")
    return Listed(sides, (BACKGROUND, *classes) if first else classes, notices)
