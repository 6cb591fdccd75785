"""VOC's layout: lists of images, masks, and boxes in XML."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

from data.decoding import DataError, Fault, Size, refuse
from data.dense.layouts import BACKGROUND, Objects, background_notices, boxed, stated_classes
from data.dense.masks import times
from data.folders import IMAGE_SUFFIXES, SIDES, Listed, is_image_name
from data.images import MASKS, Entry
from utils.system.terminal import reason, show

VOC_CLASSES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep "
    "sofa train tvmonitor"
).split()


def list_voc(root: Path, targets: str, fault: Fault = refuse) -> Listed:
    """``JPEGImages/``, with ``SegmentationClass/`` or ``Annotations/``, by the lists in ``ImageSets/``."""
    lists = root / "ImageSets" / ("Segmentation" if targets == MASKS else "Main")
    pictures = _pictures(root / "JPEGImages")
    images = {side: _images(pictures, lists / f"{side}.txt", fault) for side in SIDES}
    for stem in sorted(set(images["train"]) & set(images["val"])):
        fault(f"{show(stem)} is in train.txt and in val.txt of {show(lists)}")
        images["train"].pop(stem)
    classes = stated_classes(root, targets)
    if targets == MASKS:
        masks = {side: _masks(root / "SegmentationClass", files, fault) for side, files in images.items()}
        return Listed(masks, classes or (BACKGROUND, *VOC_CLASSES), [])
    annotated = {
        side: [(image, *xml) for stem, image in files.items() if (xml := _xml(root, stem, fault))]
        for side, files in images.items()
    }
    classes = classes or tuple(sorted({name for _, objects, *_ in annotated["train"] for name, _ in objects}))
    sides, notices = {}, []
    for side, files in annotated.items():
        entries = [boxed(image, objects, size, classes, fault) for image, objects, size, _ in files]
        sides[side] = [entry for entry in entries if entry]
        if count := sum(difficult for *_, difficult in files):  # VOC's own AP counts them neither as hit nor as miss
            how = "they are trained on and measured as all others, unlike in VOC's AP"
            notices.append(f"{count} objects of {side} are difficult: {how}")
    return Listed(sides, classes, notices + background_notices(sides))


def _pictures(folder: Path) -> dict[str, Path]:
    """By its name without ending, each picture in a folder; endings may be in capitals, .jpg goes before others."""
    names = [name for name in sorted(os.listdir(folder)) if is_image_name(name)]
    names.sort(key=lambda name: IMAGE_SUFFIXES.index(os.path.splitext(name)[1].lower()), reverse=True)
    return {os.path.splitext(name)[0]: folder / name for name in names}  # later names replace earlier ones


def _images(pictures: dict[str, Path], listing: Path, fault: Fault) -> dict[str, Path]:
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


def _masks(folder: Path, images: dict[str, Path], fault: Fault) -> list[Entry]:
    entries = [Entry(image, mask=folder / f"{stem}.png") for stem, image in images.items()]
    for entry in entries:
        if not entry.mask.is_file():
            fault(f"{show(entry.path)} has no mask {show(entry.mask)}")
    return [entry for entry in entries if entry.mask.is_file()]


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
