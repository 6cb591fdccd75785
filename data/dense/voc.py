"""VOC's layout: lists of images, masks, and boxes in XML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from data.decoding import DataError
from data.dense.annotated import MASKS
from data.dense.boxes import Objects, listed_boxes
from data.dense.layouts import BACKGROUND, SIDES, VOC_CLASSES, Fault, Listed, Side, find_image, refuse, stated_classes
from utils.system.terminal import reason, show


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
    read = {}
    for side, files in found.items():
        annotated = [(image, _xml(root, stem, fault)) for stem, image in files]
        read[side] = [(image, *own) for image, own in annotated if own is not None]
    names = {name for _, objects, _ in read["train"] for name, _ in objects}
    return listed_boxes(read, classes or tuple(sorted(names)), fault, [])


def _stems(path: Path) -> list[str]:
    try:
        # Names that are no UTF-8 keep their bytes, as those of files do.
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
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


def _xml(root: Path, stem: str, fault: Fault) -> tuple[Objects, tuple[int, int]] | None:
    """The objects in an annotation and the size of its image; corners are counted from 1 and belong to the box."""
    path = root / "Annotations" / f"{stem}.xml"
    try:
        tree = ElementTree.parse(path).getroot()
        size = tuple(int(tree.findtext(f"size/{key}") or "") for key in ("width", "height"))
        if min(size) < 1:
            raise ValueError(f"a size of {size[0]}x{size[1]} pixels")
        objects = []
        for entry in tree.iter("object"):
            corners = [float(entry.findtext(f"bndbox/{k}") or "") for k in ("xmin", "ymin", "xmax", "ymax")]
            name = entry.findtext("name") or ""
            objects.append((name.strip(), (corners[0] - 1, corners[1] - 1, corners[2], corners[3])))
    except (OSError, ElementTree.ParseError, ValueError, LookupError, OverflowError) as error:
        fault(f"{show(path)} cannot be read: {reason(error)}")
        return None
    return objects, size
