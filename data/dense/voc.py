"""VOC's layout: lists of images, masks, and boxes in XML."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from data.decoding import DataError
from data.dense.layouts import (
    BACKGROUND,
    SIDES,
    Entry,
    Fault,
    Listed,
    Objects,
    background_notices,
    boxed,
    refuse,
    stated_classes,
)
from data.dense.masks import Size
from data.images import MASKS
from data.listing import IMAGE_SUFFIXES
from utils.system.terminal import reason, show

Annotation = tuple[Objects, Size, int]  # of an image; the number counts difficult objects
VOC_CLASSES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep "
    "sofa train tvmonitor"
).split()


def list_voc(root: Path, targets: str, fault: Fault = refuse) -> Listed:
    """``JPEGImages/``, with ``SegmentationClass/`` or ``Annotations/``, by the lists in ``ImageSets/``."""
    lists = root / "ImageSets" / ("Segmentation" if targets == MASKS else "Main")
    stems = {side: _stems(lists / f"{side}.txt") for side in SIDES}
    both = sorted(set(stems["train"]) & set(stems["val"]))
    if both:
        fault(f"{show(both[0])} is in train.txt and in val.txt of {show(lists)}")
    images = {side: _images(root, lists / f"{side}.txt", stems[side], fault) for side in SIDES}
    classes = stated_classes(root, targets)
    sides: dict[str, list[Entry]] = {side: [] for side in SIDES}
    if targets == MASKS:
        for side, files in images.items():
            for stem, image in files.items():
                mask = root / "SegmentationClass" / f"{stem}.png"
                if mask.is_file():
                    sides[side].append(Entry(image, mask))
                else:
                    fault(f"{show(image)} has no mask {show(mask)}")
        return Listed(sides, classes or (BACKGROUND, *VOC_CLASSES), [])
    annotated: dict[str, list[tuple[Path, Annotation]]] = {side: [] for side in SIDES}
    for side, files in images.items():
        for stem, image in files.items():
            if annotation := _xml(root, stem, fault):
                annotated[side].append((image, annotation))
    names = {name for _, (objects, _, _) in annotated["train"] for name, _ in objects}
    classes = classes or tuple(sorted(names))
    for side, files in annotated.items():
        entries = [boxed(image, objects, size, classes, fault) for image, (objects, size, _) in files]
        sides[side] = [entry for entry in entries if entry]
    return Listed(sides, classes, [*difficult_notices(annotated), *background_notices(sides)])


def difficult_notices(annotated: dict[str, list[tuple[Path, Annotation]]]) -> list[str]:
    """A line for each side where objects are difficult, which VOC's own AP counts neither as hit nor as miss."""
    counts = {side: sum(difficult for _, (_, _, difficult) in files) for side, files in annotated.items()}
    return [
        f"{count} objects of {side} are difficult: they are trained on and measured as all others, unlike in VOC's AP"
        for side, count in counts.items()
        if count
    ]


def _stems(path: Path) -> list[str]:
    try:
        # Names that are no UTF-8 keep their bytes, as those of files do.
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise DataError(f"{show(path)} cannot be read: {reason(error)}") from None
    return [line.split()[0] for line in lines if line.strip()]


def _images(root: Path, listing: Path, stems: list[str], fault: Fault) -> dict[str, Path]:
    """The picture of each name in a list."""
    images: dict[str, Path] = {}
    for stem in stems:
        candidates = (root / "JPEGImages" / f"{stem}{suffix}" for suffix in IMAGE_SUFFIXES)
        image = next((path for path in candidates if path.is_file()), None)
        if image is None:
            fault(f"{show(listing)} lists {show(stem)}, which is not in {show(root / 'JPEGImages')}")
        elif stem in images:
            fault(f"{show(listing)} lists {show(stem)} twice")
        else:
            images[stem] = image
    return images


def _xml(root: Path, stem: str, fault: Fault) -> Annotation | None:
    """What an XML file holds; corners are counted from 1 and belong to the box."""
    path = root / "Annotations" / f"{stem}.xml"
    try:
        tree = ElementTree.parse(path).getroot()
        size = tuple(int(tree.findtext(f"size/{key}") or "") for key in ("width", "height"))
        if min(size) < 1:
            raise ValueError(f"a size of {size[0]}x{size[1]} pixels")
        objects, difficult = [], 0
        for entry in tree.iter("object"):
            difficult += (entry.findtext("difficult") or "").strip() == "1"
            corners = [float(entry.findtext(f"bndbox/{k}") or "") for k in ("xmin", "ymin", "xmax", "ymax")]
            name = entry.findtext("name") or ""
            objects.append((name.strip(), (corners[0] - 1, corners[1] - 1, corners[2], corners[3])))
    except (OSError, ElementTree.ParseError, ValueError, LookupError, OverflowError) as error:
        return fault(f"{show(path)} cannot be read: {reason(error)}")
    return objects, size, difficult
