"""Data sets with masks or boxes as any other: recognised, refused where they cannot work, then read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from data import presets
from data.dense.annotated import Annotated, read_all
from data.dense.coco import list_coco
from data.dense.layouts import KNOWN, SIDES, Fault, Listed, list_masks, recognise, refuse
from data.dense.outlines import Outlines
from data.dense.voc import list_voc
from data.fingerprint import of_files, of_plain, of_tensors
from data.images import DataError
from data.sources import Parts, Source, require_room
from utils.system.memory import memory_share
from utils.system.terminal import show

LAYOUTS = {"voc": list_voc, "masks": list_masks, "coco": list_coco}


def list_dense(root: Path, dataset: str, targets: str, fault: Fault = refuse) -> Listed:
    """What a folder of a layout, or ``auto``, holds of masks or boxes. Nothing is decoded. Raises DataError."""
    name = recognise(root, targets) if dataset == "auto" else dataset
    if name not in KNOWN[targets]:
        raise DataError(f"--dataset {dataset} has no {targets}: auto, {' or '.join(KNOWN[targets])}")
    try:
        return LAYOUTS[name](root, targets, fault)
    except OSError as error:
        raise DataError(f"{show(root)} cannot be read: {error.strerror}: {show(error.filename)}") from None


def source(root: Path, dataset: str, image_size: int | None, targets: str) -> Source:
    """A folder with masks or boxes, listed but not decoded. Raises DataError."""
    listed = list_dense(root, dataset, targets)
    for side in SIDES:
        if fault := listed.sides[side].fault(side):
            raise DataError(f"{show(root)} has {fault}")
    preset = presets.large(image_size or 224)

    def read(*, bad_images: str, cache: str, log: Callable[[str], None], **_options) -> Parts:
        return _read(root, listed, preset.image_size, bad_images, cache, log)

    counts = tuple(len(listed.sides[side].paths) for side in SIDES)
    return Source(root.name or str(root), listed.classes, counts, preset, tuple(listed.notices), read, targets)


def _read(root: Path, listed: Listed, size: int, bad_images: str, cache: str, log: Callable[[str], None]) -> Parts:
    sides, skipped = [], []
    channels = 4 if listed.sides["train"].masks else 3
    needed = sum(len(side.paths) for side in listed.sides.values()) * channels * size * size
    keep = cache == "ram" or (cache == "auto" and needed < memory_share())
    if keep:
        require_room(needed)
    log(f"decoded images take {needed / 1e9:.2f} GB: {'kept in memory' if keep else 'read from disk as needed'}")
    if not keep and bad_images == "stop":
        log("no image was checked: a bad one stops the run when it is met; python -m data.check finds it before")
    for name in SIDES:
        found = {key: tuple(value) for key, value in vars(listed.sides[name]).items()}
        images = Annotated(size, len(listed.classes), **found)
        if keep or bad_images == "skip":
            images, bad = read_all(images, keep=keep, skip_bad=bad_images == "skip", what=name)
            skipped += bad
        if not len(images):
            raise DataError(f"{show(root)}: no image is left in {name}")
        sides.append(images)
    for message in skipped:
        log(f"skipped: {message}")
    return Parts(*sides, skipped=tuple(skipped), fingerprint=_fingerprint(root, listed))


def _fingerprint(root: Path, listed: Listed) -> str:
    sides = [listed.sides[side] for side in SIDES]
    if isinstance(next(iter(sides[0].masks), None), Outlines):
        files = of_files(root, [(side.paths, [len(mask.objects) for mask in side.masks]) for side in sides])
        return files[:32] + of_plain([mask.objects for side in sides for mask in side.masks])[:32]
    if sides[0].masks:
        files = [(part, [0] * len(part)) for side in sides for part in (side.paths, side.masks)]
        return of_files(root, files)
    files = of_files(root, [(side.paths, [len(boxes) for boxes in side.boxes]) for side in sides])
    return files[:32] + of_tensors(*(torch.from_numpy(boxes) for side in sides for boxes in side.boxes))[:32]
