"""What all layouts of masks and boxes share, and two of them: ``images/`` with ``masks/``, and VOC's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch

from data.decoding import DataError, Fault, Size, refuse, upright_size
from data.dense.masks import IGNORED, mask_ids, times
from data.folders import IMAGE_SUFFIXES, SIDES, Listed, Notes, image_names, is_image_name
from data.images import Entry
from utils.system.terminal import reason, show

VAL_SHARE = 0.2  # of images without sides of their own
CLASSES = "classes.json"
BACKGROUND = "background"
VOC_CLASSES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep "
    "sofa train tvmonitor"
).split()
Objects = list[tuple[str, tuple[float, ...]]]  # names and boxes, x1, y1, x2, y2 in pixels


def stated_classes(root: Path) -> tuple[str, ...]:
    """The names in classes.json, none where there is no such file."""
    path = root / CLASSES
    if not path.is_file():
        return ()
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{show(path)} cannot be read: {reason(error)}") from None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{show(path)} is no list of class names")
    if len(names) > IGNORED:
        raise DataError(f"{show(path)} has {len(names)} classes, and there is room for {IGNORED}")
    return tuple(names)


def boxed(path: Path, objects: Objects, stated: Size | None, classes: Sequence[str], fault: Fault) -> Entry | None:
    """An image with those of its objects whose boxes lie within it and whose classes are known."""
    try:
        size = stated or upright_size(path)
    except DataError as error:
        return fault(str(error))
    sound = []  # boxes and class indices
    for name, box in objects:
        wrong = box_fault(box, size) if name in classes else f"class {show(name)} is none of {len(classes)}"
        if wrong:
            fault(f"{show(path)}: {wrong}")
        else:
            sound.append((*box, classes.index(name)))
    # Shares of width and height: what a box is does not depend on the size that images are decoded at.
    boxes = torch.tensor(sound, dtype=torch.float32).reshape(-1, 5)  # (m, 5)
    boxes[:, :4] = (boxes[:, :4] / torch.tensor([*size, *size])).clamp(0, 1)
    return Entry(path, boxes=boxes.numpy(), size=stated)


def box_fault(box: Sequence[float], size: Size) -> str | None:
    """What is wrong with a box x1, y1, x2, y2 in an image of (width, height) pixels; one pixel over is rounding."""
    x1, y1, x2, y2 = box
    name = f"box [{', '.join(f'{v:g}' for v in box)}]"
    if not (x1 < x2 and y1 < y2):  # false for nan, too
        return f"{name} is empty"
    if min(x1, y1) < -1 or x2 > size[0] + 1 or y2 > size[1] + 1:
        return f"{name} lies outside of the image of {times(size)} pixels"
    return None


def object_classes(entry: Entry) -> set[int]:
    """The classes of the boxes of an image."""
    return set(entry.boxes[:, 4].astype(int).tolist())


def background_notices(sides: dict[str, list[Entry]]) -> list[str]:
    """A line where images have no object."""
    empty = sum(not object_classes(entry) for entries in sides.values() for entry in entries)
    return [f"{empty} images have no object: they are background alone"] if empty else []


def list_masks(root: Path, fault: Fault = refuse) -> Listed:
    """``<side>/images/`` and ``<side>/masks/`` with the same stems, or one pair of folders, a fifth of it for val."""
    notes = Notes(root)
    if (root / "images").is_dir():
        whole = _pairs(root, notes, fault)
        # The seed of a run does not matter: all runs are measured on the same images.
        order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0)).tolist()
        held_out = set(order[: max(1, round(VAL_SHARE * len(order)))])
        sides = {side: [e for i, e in enumerate(whole) if (i in held_out) == (side == "val")] for side in SIDES}
        notes.more.append(f"{root.name} has no train/ and val/: every fifth image, drawn once and for all, is val")
    else:
        sides = {side: _pairs(root / side, notes, fault) for side in SIDES}
    classes = stated_classes(root)
    if not classes:
        most = max(mask_classes((entry.mask for entry in sides["train"]), fault), default=0)
        classes = tuple(f"class {i}" for i in range(most + 1))
    return Listed(sides, classes, notes.lines())


def _pairs(folder: Path, notes: Notes, fault: Fault) -> list[Entry]:
    for name in ("images", "masks"):
        if not (folder / name).is_dir():
            raise DataError(f"{show(folder)} has no folder {name}/")
    masks: dict[str, list[str]] = {}
    for name in image_names(folder / "masks", notes):
        masks.setdefault(Path(name).stem, []).append(name)
    pairs = []
    for name in image_names(folder / "images", notes):
        # Image and mask have the same name but for its ending.
        names, image = masks.pop(Path(name).stem, []), folder / "images" / name
        if len(names) == 1:
            pairs.append(Entry(image, mask=folder / "masks" / names[0]))
        elif names:
            fault(f"{show(image)} has several masks: {', '.join(map(show, names))}")
        else:
            fault(f"{show(image)} has no mask {show(folder / 'masks' / Path(name).stem)}.png")
    if masks:
        notes.more.append(f"left out {len(masks)} masks without an image in {show(folder / 'masks')}")
    return pairs


def mask_classes(masks: Iterable[Path], fault: Fault, enough: int = IGNORED) -> set[int]:
    """The class ids that occur in masks, which are read until ``enough`` are known."""
    present: set[int] = set()
    for mask in masks:
        if len(present) >= enough:
            break
        try:
            present |= set(np.unique(mask_ids(mask)).tolist()) - {IGNORED}
        except DataError as error:
            fault(str(error))
    return present


def voc_masks(root: Path, fault: Fault = refuse) -> Listed:
    """``JPEGImages/`` with ``SegmentationClass/``, by the lists in ``ImageSets/Segmentation/``."""
    sides: dict[str, list[Entry]] = {}
    for side, images in _listed_images(root, "Segmentation", fault).items():
        sides[side] = []
        for stem, image in images.items():
            mask = root / "SegmentationClass" / f"{stem}.png"
            if mask.is_file():
                sides[side].append(Entry(image, mask=mask))
            else:
                fault(f"{show(image)} has no mask {show(mask)}")
    return Listed(sides, stated_classes(root) or (BACKGROUND, *VOC_CLASSES), [])


def voc_boxes(root: Path, fault: Fault = refuse) -> Listed:
    """``JPEGImages/`` with ``Annotations/``, by the lists in ``ImageSets/Main/``."""
    annotated = {
        side: [(image, *xml) for stem, image in files.items() if (xml := _xml(root, stem, fault))]
        for side, files in _listed_images(root, "Main", fault).items()
    }
    classes = stated_classes(root)
    classes = classes[1:] if classes[:1] == (BACKGROUND,) else classes  # which no box is of
    classes = classes or tuple(sorted({name for _, objects, *_ in annotated["train"] for name, _ in objects}))
    sides, notices = {}, []
    for side, files in annotated.items():
        entries = [boxed(image, objects, size, classes, fault) for image, objects, size, _ in files]
        sides[side] = [entry for entry in entries if entry]
        if count := sum(difficult for *_, difficult in files):  # VOC's own AP counts them neither as hit nor as miss
            how = "they are trained on and measured as all others, unlike in VOC's AP"
            notices.append(f"{count} objects of {side} are difficult: {how}")
    return Listed(sides, classes, notices + background_notices(sides))


def _listed_images(root: Path, kind: str, fault: Fault) -> dict[str, dict[str, Path]]:
    """By side, the pictures that the lists of a kind name; none is on both sides."""
    pictures, lists = _pictures(root / "JPEGImages"), root / "ImageSets" / kind
    images = {side: _images_of(pictures, lists / f"{side}.txt", fault) for side in SIDES}
    for stem in sorted(set(images["train"]) & set(images["val"])):
        fault(f"{show(stem)} is in train.txt and in val.txt of {show(lists)}")
        images["train"].pop(stem)
    return images


def _pictures(folder: Path) -> dict[str, Path]:
    """By its name without ending, each picture in a folder; endings may be in capitals, .jpg goes before others."""
    names = [name for name in sorted(os.listdir(folder)) if is_image_name(name)]
    names.sort(key=lambda name: IMAGE_SUFFIXES.index(os.path.splitext(name)[1].lower()), reverse=True)
    return {os.path.splitext(name)[0]: folder / name for name in names}  # later names replace earlier ones


def _images_of(pictures: dict[str, Path], listing: Path, fault: Fault) -> dict[str, Path]:
    """The picture of each line of a list, by its name without ending.

    A line is a name, which may hold blanks, with or without ending, and with or without a mark behind it: 1, 0 or -1.
    """
    try:
        # Names that are no UTF-8 keep their bytes, as those of files do.
        lines = listing.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise DataError(f"{show(listing)} cannot be read: {reason(error)}") from None
    images: dict[str, Path] = {}
    for line in filter(None, map(str.strip, lines)):
        # Lists of one class mark each image: 1 has it, -1 has not, 0 has it only as a difficult object.
        name, _, mark = line.rpartition(" ")
        names = [line, *([name.strip()] if mark in ("1", "0", "-1") else [])]
        names += [os.path.splitext(name)[0] for name in names if is_image_name(name)]
        stem = next((name for name in names if name in pictures), None)
        if stem is None:
            fault(f"{show(listing)} lists {show(line)}, which is not in JPEGImages/")
        elif stem in images:
            fault(f"{show(listing)} lists {show(stem)} twice")
        else:
            images[stem] = pictures[stem]
    return images


def _xml(root: Path, stem: str, fault: Fault) -> tuple[Objects, Size | None, int] | None:
    """What an XML file holds: objects, the size of the image, and how many of the objects are difficult.

    Corners are counted from 1 and belong to the box.
    """
    path = root / "Annotations" / f"{stem}.xml"
    try:
        tree = ElementTree.parse(path).getroot()
        size = tree.find("size")
        stated = None if size is None else (int(_number(size, "width")), int(_number(size, "height")))
        if stated and min(stated) < 1:
            raise ValueError(f"a size of {times(stated)} pixels")
        objects, difficult = [], 0
        for entry in tree.iter("object"):
            difficult += (entry.findtext("difficult") or "").strip() == "1"
            x1, y1, x2, y2 = (_number(entry, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax"))
            objects.append(((entry.findtext("name") or "").strip(), (x1 - 1, y1 - 1, x2, y2)))
    except (OSError, ElementTree.ParseError, ValueError, LookupError, OverflowError) as error:
        return fault(f"{show(path)} cannot be read: {reason(error)}")
    return objects, stated, difficult


def _number(element: ElementTree.Element, key: str) -> float:
    text = element.findtext(key)
    try:
        return float(text)
    except (TypeError, ValueError):
        what = "missing" if text is None else f"{text!r}, no number"
        raise ValueError(f"{key} of {element.tag} is {what}") from None
