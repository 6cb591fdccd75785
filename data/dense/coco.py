"""Boxes in COCO's JSON: every entry is looked at before it is used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data.decoding import DataError, Fault, Size, refuse
from data.dense.layouts import Objects, background_notices, boxed, object_classes
from data.folders import SIDES, Listed
from data.images import Entry
from utils.system.terminal import reason, show, some

Annotation = Mapping[str, Any]
Image = tuple[Path, Objects, Size | None]  # with the size that is stated
JSON_NAMES = ("annotations.json", "_annotations.coco.json")  # in the folder of a side; the second is Roboflow's


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Whether a value from JSON is a finite number, of a size that images have."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


# What a value from JSON has to be: a test of it, and words.
Field = tuple[Callable[[Any], bool], str]
ID: Field = (_is_id, "a whole number or a text")
NAME: Field = (lambda value: isinstance(value, str) and bool(value), "a text")
LENGTH: Field = (lambda v: v is None or (_is_number(v) and v >= 1 and v == int(v)), "a whole number of pixels")
BOX: Field = (lambda v: isinstance(v, list) and len(v) == 4 and all(map(_is_number, v)), "four numbers")
FLAG: Field = (lambda value: value is None or (isinstance(value, int) and value in (0, 1)), "0 or 1")
IMAGE = {"id": ID, "file_name": NAME, "width": LENGTH, "height": LENGTH}
CATEGORY = {"id": ID, "name": NAME}
ANNOTATION = {"image_id": ID, "category_id": ID, "iscrowd": FLAG, "bbox": BOX}


def list_coco(root: Path, fault: Fault = refuse) -> Listed:
    """``<side>/annotations.json`` beside ``<side>/images/``, or COCO's ``annotations/instances_<side>*.json``."""
    places = {side: coco_json(root, side) for side in SIDES}
    documents = {side: _document(path) for side, (path, _) in places.items()}
    names = {side: {c["id"]: c["name"] for c in documents[side]["categories"]} for side in SIDES}
    _require_same(root, names)
    # In the order of their ids, which are numbers or texts.
    ordered = sorted(names["train"].items(), key=lambda item: (isinstance(item[0], str), item[0]))
    classes = tuple(name for _, name in ordered)
    sides: dict[str, list[Entry]] = {}
    notices: list[str] = []
    for side, (path, folders) in places.items():
        images, crowds = _images(documents[side], path, folders, root, names[side], fault)
        notices += [f"left out {crowds} crowds in {show(path)}"] if crowds else []
        entries = [boxed(image, objects, size, classes, fault) for image, objects, size in images]
        sides[side] = [entry for entry in entries if entry]
    labels = {label for entry in sides["train"] for label in object_classes(entry)}
    if missing := [name for i, name in enumerate(classes) if i not in labels]:
        notices.append(f"no object of train is of {len(missing)} classes: {some(missing)}")
    return Listed(sides, classes, notices + background_notices(sides))


def _require_same(root: Path, names: Mapping[str, Mapping[Any, str]]) -> None:
    """Refuse other categories in train than in val; ids may differ: what counts is the name."""
    sets = {side: set(names[side].values()) for side in SIDES}
    if sets["train"] != sets["val"]:
        lonely = {side: some(sorted(sets[side] - sets[other])) for side, other in (SIDES, SIDES[::-1])}
        only = "; ".join(f"only in {side}: {text}" for side, text in lonely.items() if text)
        raise DataError(f"{show(root)} has other categories in train than in val; {only}")


def coco_json(root: Path, side: str) -> tuple[Path, list[Path]]:
    """The JSON of a side in COCO's layout and the folders where its images may lie. Raises DataError."""
    for folder in (root / side, *([root / "valid"] if side == "val" else [])):
        for name in JSON_NAMES:
            if (folder / name).is_file():
                return folder / name, [folder / "images", folder]
    if not (root / "annotations").is_dir():
        raise DataError(f"{show(root / side)} has no annotations.json")
    files = sorted((root / "annotations").glob(f"instances_{side}*.json"))
    if len(files) != 1:
        names = f": {some(path.name for path in files)}" if files else ""
        needed = f"needs one file instances_{side}*.json, and has {len(files)}{names}"
        raise DataError(f"{show(root / 'annotations')} {needed}")
    # Where unpackers and exports put the pictures; the first folder that has a file counts.
    year = files[0].stem.removeprefix("instances_")
    return files[0], [root / year, root / "images" / year, root / side, root / "images" / side, root / "images", root]


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
        values = Counter(filter(_is_id, (entry.get(key) for entry in document[part] if isinstance(entry, dict))))
        # An id that stands twice would mix the annotations of two images, or two classes.
        if twice := [value for value, count in values.items() if count > 1]:
            raise DataError(f"{show(path)} has the {key} {show(twice[0])} twice in {part}")
    _sound(document["categories"], CATEGORY, "categories", path, refuse)
    return document


def _sound(entries: list, fields: Mapping[str, Field], part: str, path: Path, fault: Fault) -> list[Annotation]:
    """The entries of a list whose fields are what they have to be."""
    sound = []
    for number, entry in enumerate(entries):
        values = entry if isinstance(entry, dict) else {}
        bad = next((key for key, (fits, _) in fields.items() if not fits(values.get(key))), None)
        if bad is None:
            sound.append(entry)
        else:
            what = f"{ascii(values[bad])[:60]}, and not {fields[bad][1]}" if bad in values else "missing"
            fault(f"{show(path)} is no COCO file: {bad} of entry {number} in {part} is {what}")
    return sound


def _images(
    document: Mapping[str, list],
    path: Path,
    folders: list[Path],
    root: Path,
    names: Mapping[Any, str],
    fault: Fault,
) -> tuple[list[Image], int]:
    """The images that are there, with their objects, and how many crowds were left out."""
    entries = _sound(document["images"], IMAGE, "images", path, fault)
    of_image: dict[Any, Objects] = {entry["id"]: [] for entry in entries}
    crowds = 0
    for number, entry in enumerate(_sound(document["annotations"], ANNOTATION, "annotations", path, fault)):
        known = {"image": of_image, "category": names}
        if absent := [key for key in known if entry[f"{key}_id"] not in known[key]]:
            what = f"the {absent[0]} {show(entry[f'{absent[0]}_id'])}, which is not there"
            fault(f"{show(path)}: annotation {show(entry.get('id', number))} is of {what}")
        elif entry.get("iscrowd"):
            crowds += 1
        else:
            x, y, width, height = entry["bbox"]  # upper left corner, and size
            of_image[entry["image_id"]].append((names[entry["category_id"]], (x, y, x + width, y + height)))
    images: dict[Path, Image] = {}
    for entry in entries:
        candidates = (folder / entry["file_name"] for folder in folders)
        image = next((file for file in candidates if file.is_file() and file.is_relative_to(root)), None)
        if image is None:
            fault(f"{show(path)} names {show(entry['file_name'])}, which is not there")
        elif image in images:
            fault(f"{show(path)} names {show(image)} twice")
        else:
            stated = entry.get("width"), entry.get("height")  # either may be left out
            images[image] = (image, of_image[entry["id"]], None if None in stated else tuple(map(int, stated)))
    return list(images.values()), crowds
