"""Data sets with masks or boxes as any other: recognised, refused where they cannot work, then read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch

from data import presets
from data.decoding import DataError, Fault, refuse
from data.dense.coco import JSON_NAMES, list_coco
from data.dense.layouts import SIDES, Entry, Listed, class_ids, list_masks
from data.dense.masks import IGNORED, Size, stored_size, times
from data.dense.voc import list_voc
from data.fingerprint import of_files, of_plain, of_tensors
from data.images import BOXES, MASKS, Images, in_order, or_error, read_sides
from data.sources import Parts, Source
from utils.system.terminal import show

LAYOUTS = {"voc": list_voc, "masks": list_masks, "coco": list_coco}
KNOWN = {MASKS: ("voc", "masks", "coco"), BOXES: ("voc", "coco")}  # the layouts that hold what a task reads


def recognise(root: Path, targets: str) -> str:
    """The name of the layout of a folder. Raises DataError."""
    if not root.is_dir():
        raise DataError(f"{str(root)!r:.200} is no folder")
    if (root / "JPEGImages").is_dir():
        return "voc"
    folders = [root, *(root / side for side in SIDES)]
    if targets == MASKS and any((folder / "images").is_dir() and (folder / "masks").is_dir() for folder in folders):
        return "masks"
    if (root / "annotations").is_dir() or any((root / "train" / name).is_file() for name in JSON_NAMES):
        return "coco"
    if targets == MASKS and any((folder / "images").is_dir() for folder in folders):
        return "masks"  # whose reader says what is missing
    coco = "train/annotations.json, nor annotations/instances_train*.json"
    needed = {
        MASKS: f"JPEGImages/ with SegmentationClass/, nor images/ with masks/, nor {coco}",
        BOXES: f"JPEGImages/ with Annotations/, nor {coco}",
    }
    raise DataError(f"{str(root)!r:.200} holds neither {needed[targets]}")


def list_dense(root: Path, dataset: str, targets: str, fault: Fault = refuse) -> Listed:
    """What a folder of a layout, or ``auto``, holds of masks or boxes. Nothing is decoded. Raises DataError."""
    name = recognise(root, targets) if dataset == "auto" else dataset
    if name not in KNOWN[targets]:
        raise DataError(f"--dataset {dataset} has no {targets}: auto, {' or '.join(KNOWN[targets])}")
    try:
        return LAYOUTS[name](root, targets, fault)
    except OSError as error:
        raise DataError(f"{show(root)} cannot be read: {error.strerror}: {show(error.filename)}") from None


def dense_source(root: Path, dataset: str, image_size: int | None, targets: str, bad_images: str) -> Source:
    """A folder with masks or boxes, listed but not decoded. Raises DataError."""
    left_out: list[str] = []
    listed = list_dense(root, dataset, targets, left_out.append if bad_images == "skip" else refuse)
    for side in SIDES:
        if fault := listed.side_fault(side):
            raise DataError(f"{show(root)} has {fault}")
    preset = presets.large(image_size or 224)

    def read(*, bad_images: str, cache: str, log: Callable[[str], None], **_options) -> Parts:
        skipped = list(left_out)
        images = {}
        for side in SIDES:
            looked = list(looked_at(listed.sides[side], skipped.append if bad_images == "skip" else refuse))
            images[side] = _images(looked, preset.image_size, len(listed.classes))
            if notice := turned_notice(looked, targets, side):
                log(notice)
        for message in skipped:
            log(f"skipped: {message}")
        sides, bad = read_sides(images, must_keep=False, bad_images=bad_images, cache=cache, log=log)
        for side, left in zip(SIDES, sides, strict=True):
            if not len(left):
                raise DataError(f"{show(root)}: no image is left in {side}")
        if targets == MASKS:
            _require_classes(root, sides[0], listed.classes, log)
        return Parts(*sides, skipped=(*skipped, *bad), fingerprint=_fingerprint(root, listed))

    return Source(root.name or str(root), listed.classes, preset, tuple(listed.notices), read, targets)


class Looked(NamedTuple):
    """An entry with the size of its picture as annotations mean it: ``as_stored``, or turned as its EXIF says.

    ``is_turned``: whether EXIF turns it, and nothing tells that the annotations are of the stored picture.
    """

    entry: Entry
    size: Size
    as_stored: bool
    is_turned: bool


def looked_at(entries: list[Entry], fault: Fault) -> Iterator[Looked]:
    """The entries whose pictures can be opened and are as large as their annotations state."""
    with ThreadPoolExecutor() as pool:
        for result in in_order(pool, or_error(_look), entries):
            if isinstance(result, DataError):
                fault(str(result))
            else:
                yield result


def _look(entry: Entry) -> Looked:
    stored, orientation = stored_size(entry.path)
    upright = stored[::-1] if orientation >= 5 else stored  # from 5 on, width and height change places
    stated = entry.stated
    # A mask that is as large as the stored picture was drawn on it, whatever EXIF says of the picture.
    if upright != stored and isinstance(entry.mask, Path):
        stated = stored_size(entry.mask)[0]
    as_stored = stated == stored != upright
    size = stored if as_stored else upright
    if entry.stated not in (None, size):
        raise DataError(f"{show(entry.path)} has {times(size)} pixels, but its annotations say {times(entry.stated)}")
    return Looked(entry, size, as_stored, orientation > 1 and not as_stored)


def turned_notice(looked: list[Looked], targets: str, side: str) -> str | None:
    """A line where EXIF turns pictures and their annotations might be of the pictures as they are stored."""
    turned = sum(one.is_turned for one in looked)
    pictures = f"notice: {turned} pictures of {side} are turned by EXIF"
    return f"{pictures}: {targets} are taken to be of the turned picture" if turned else None


def _images(looked: list[Looked], size: int, num_classes: int) -> Images:
    return Images(
        torch.zeros(len(looked), dtype=torch.long),
        size,
        paths=tuple(one.entry.path for one in looked),
        masks=tuple(one.entry.mask for one in looked if one.entry.mask is not None),
        boxes=tuple(one.entry.boxes for one in looked if one.entry.boxes is not None),
        sizes=tuple(one.size for one in looked),
        as_stored=tuple(one.as_stored for one in looked),
        num_classes=num_classes,
    )


def _require_classes(root: Path, train: Images, classes: tuple[str, ...], log: Callable[[str], None]) -> None:
    """Refuse masks in which a single class occurs, and say how many do where all masks are in memory."""
    if train.maps is None:  # read until a second class occurs, not all of them
        present = class_ids(train.masks, lambda _text: None, enough=2)
    else:
        present = set(train.maps.unique().tolist()) - {IGNORED}
        most = max(present, default=0)
        log(f"masks of train hold ids up to {most}: {len(classes)} classes, of which {len(present)} occur")
    if fault := few_classes(present):
        raise DataError(f"{show(root)}: {fault}")


def few_classes(present: set[int]) -> str | None:
    """Why nothing can be learned from masks in which these ids occur."""
    if len(present) > 1:
        return None
    only = f"the id {min(present)} alone" if present else "no id"
    return f"the masks of train hold {only}, since {IGNORED} is ignored: write 0 and 1, not 0 and {IGNORED}"


def _fingerprint(root: Path, listed: Listed) -> str:
    """Of names and sizes of all files; of boxes and outlines the content."""
    sides = [listed.sides[side] for side in SIDES]
    paths = [tuple(entry.path for entry in entries) for entries in sides]
    if sides[0][0].boxes is not None:
        boxes = [[entry.boxes for entry in entries] for entries in sides]
        files = of_files(root, [(p, list(map(len, b))) for p, b in zip(paths, boxes, strict=True)])
        return files[:32] + of_tensors(*(torch.from_numpy(b) for side in boxes for b in side))[:32]
    masks = [tuple(entry.mask for entry in entries) for entries in sides]
    if isinstance(masks[0][0], Path):
        pairs = zip(paths, masks, strict=True)
        return of_files(root, [(files, [0] * len(files)) for pair in pairs for files in pair])
    # Outlines have no files of their own: their numbers, then their content.
    files = of_files(root, [(p, [len(m.objects) for m in side]) for p, side in zip(paths, masks, strict=True)])
    return files[:32] + of_plain(mask.objects for side in masks for mask in side)[:32]
