"""Data sets with masks or boxes as any other: recognised, refused where they cannot work, then read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from data import presets
from data.decoding import DataError
from data.dense.coco import list_coco
from data.dense.layouts import SIDES, Entry, Fault, Listed, list_masks, refuse
from data.dense.masks import Size, stored_size, times
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
    if (root / "annotations").is_dir() or (root / "train" / "annotations.json").is_file():
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


def dense_source(root: Path, dataset: str, image_size: int | None, targets: str) -> Source:
    """A folder with masks or boxes, listed but not decoded. Raises DataError."""
    listed = list_dense(root, dataset, targets)
    for side in SIDES:
        if fault := listed.side_fault(side):
            raise DataError(f"{show(root)} has {fault}")
    preset = presets.large(image_size or 224)

    def read(*, bad_images: str, cache: str, log: Callable[[str], None], **_options) -> Parts:
        skipped: list[str] = []
        fault = skipped.append if bad_images == "skip" else refuse
        images = {side: _images(listed, side, preset.image_size, fault) for side in SIDES}
        for message in skipped:
            log(f"skipped: {message}")
        sides, bad = read_sides(images, must_keep=False, bad_images=bad_images, cache=cache, log=log)
        for side, left in zip(SIDES, sides, strict=True):
            if not len(left):
                raise DataError(f"{show(root)}: no image is left in {side}")
        return Parts(*sides, skipped=(*skipped, *bad), fingerprint=_fingerprint(root, listed))

    counts = tuple(len(listed.sides[side]) for side in SIDES)
    return Source(root.name or str(root), listed.classes, counts, preset, tuple(listed.notices), read, targets)


def measured(entries: list[Entry], fault: Fault) -> Iterator[tuple[Entry, Size]]:
    """The entries whose pictures can be opened and are as large as their annotations state, and how large that is."""
    with ThreadPoolExecutor() as pool:
        sizes = in_order(pool, or_error(lambda entry: stored_size(entry.path)), entries)
        for entry, result in zip(entries, sizes, strict=True):
            if isinstance(result, DataError):
                fault(str(result))
                continue
            stored, turned = result
            size = stored[::-1] if turned >= 5 else stored
            if entry.stated in (None, size):
                yield entry, size
            else:
                fault(f"{show(entry.path)} has {times(size)} pixels, but its annotations say {times(entry.stated)}")


def _images(listed: Listed, side: str, size: int, fault: Fault) -> Images:
    pairs = list(measured(listed.sides[side], fault))
    return Images(
        torch.zeros(len(pairs), dtype=torch.long),
        size,
        paths=tuple(entry.path for entry, _ in pairs),
        masks=tuple(entry.mask for entry, _ in pairs if entry.mask is not None),
        boxes=tuple(entry.boxes for entry, _ in pairs if entry.boxes is not None),
        sizes=tuple(size for _, size in pairs),
        num_classes=len(listed.classes),
    )


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
    files = of_files(root, [(p, [len(m.objects) for m in side]) for p, side in zip(paths, masks, strict=True)])
    return files[:32] + of_plain(mask.objects for side in masks for mask in side)[:32]
