"""Data sets of files, with classes, masks or boxes: recognised, refused where they cannot work, then read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from data import presets
from data.decoding import DataError, Fault, refuse, stored_size
from data.dense.coco import JSON_NAMES, list_coco
from data.dense.layouts import list_masks, mask_classes, voc_boxes, voc_masks
from data.dense.masks import IGNORED, times
from data.folders import SIDES, Listed, list_folder
from data.images import BOXES, LABELS, MASKS, Entry, Images, in_threads, read_sides
from data.presets import Preset
from data.sources import Dataset, tensor_fingerprint
from utils.system.terminal import reason, show

PROBES = 8
# By what a task reads, the layouts that hold it, each with what lists it.
LAYOUTS = {MASKS: {"voc": voc_masks, "masks": list_masks}, BOXES: {"voc": voc_boxes, "coco": list_coco}}


def class_folders(root: Path, image_size: int | None) -> Dataset:
    """An image folder, listed but not decoded; small where its images are, or where ``image_size`` asks for it.

    Raises DataError for what :func:`list_folder` refuses.
    """
    listed = list_folder(root)
    size = image_size or probe_size(listed.sides["train"])
    is_small = size is not None and size <= presets.SMALL_LIMIT
    return listed_dataset(root, listed, presets.small(size) if is_small else presets.large(size or 224))


def probe_size(entries: Sequence[Entry]) -> int | None:
    """The side that all probed images share if they are square and small, else None: they are large images."""
    sizes = set()
    for entry in entries[:: max(1, len(entries) // PROBES)]:
        try:
            sizes.add(stored_size(entry.path)[0])
        except DataError:  # decoding will name the file
            continue
    width, height = sizes.pop() if len(sizes) == 1 else (0, 1)
    return width if width == height <= presets.SMALL_LIMIT else None


def recognise(root: Path, targets: str) -> str:
    """The name of the layout of a folder with masks or boxes. Raises DataError."""
    if not root.is_dir():
        raise DataError(f"{str(root)!r:.200} is no folder")
    voc = {MASKS: "SegmentationClass", BOXES: "Annotations"}[targets]
    folders = [root, *(root / side for side in SIDES)]
    present = {
        "voc": (root / "JPEGImages").is_dir() and (root / voc).is_dir(),
        "masks": any((folder / "images").is_dir() and (folder / "masks").is_dir() for folder in folders),
        "coco": (root / "annotations").is_dir() or any((root / "train" / name).is_file() for name in JSON_NAMES),
    }
    if name := next((name for name in LAYOUTS[targets] if present[name]), None):
        return name
    others = {MASKS: "images/ with masks/", BOXES: "train/annotations.json, nor annotations/instances_train*.json"}
    raise DataError(f"{str(root)!r:.200} holds neither JPEGImages/ with {voc}/, nor {others[targets]}")


def list_dense(root: Path, dataset: str, targets: str, fault: Fault = refuse) -> Listed:
    """What a folder of a layout, or ``auto``, holds of masks or boxes. Nothing is decoded. Raises DataError."""
    name = recognise(root, targets) if dataset == "auto" else dataset
    if name not in LAYOUTS[targets]:
        raise DataError(f"--dataset {dataset} has no {targets}: auto, {' or '.join(LAYOUTS[targets])}")
    try:
        return LAYOUTS[targets][name](root, fault)
    except OSError as error:
        raise DataError(f"{show(root)} cannot be read: {error.strerror}: {show(error.filename)}") from None


def look_at_sides(root: Path, listed: Listed, targets: str, fault: Fault) -> None:
    """Find fault with a side of masks or boxes with which nothing can be learned or measured."""
    for side, entries in listed.sides.items():
        if not entries:
            fault(f"{show(root)} has no image in {side}")
        elif targets == BOXES and not any(len(entry.boxes) for entry in entries):
            fault(f"{show(root)} has no object in {side}: a side without a box teaches and measures nothing")


def dense_folder(root: Path, dataset: str, image_size: int | None, targets: str, bad_images: str) -> Dataset:
    """A folder with masks or boxes, listed but not decoded. Raises DataError."""
    left_out: list[str] = []
    listed = list_dense(root, dataset, targets, left_out.append if bad_images == "skip" else refuse)
    look_at_sides(root, listed, targets, refuse)
    return listed_dataset(root, listed, presets.large(image_size or 224), targets, left_out)


def listed_dataset(
    root: Path, listed: Listed, preset: Preset, targets: str = LABELS, left_out: Sequence[str] = ()
) -> Dataset:
    """A data set of the files that were listed; ``left_out``: what was skipped while listing them."""

    def read(recognised: Dataset, *, bad_images: str, cache: str, labels: bool, log: Callable, **_options) -> Dataset:
        notices, skipped, images = list(recognised.notices), list(left_out), {}
        for side, entries in listed.sides.items():
            if targets != LABELS:
                entries, turned = look_at(entries, skipped.append if bad_images == "skip" else refuse)
                if turned:
                    line = f"{turned} pictures of {side} are turned by EXIF"
                    notices.append(f"{line}: {targets} are taken to be of the turned picture")
            elif not labels:  # which load() takes away
                entries = without_classes(entries)
            size = preset.decoded_size if targets == LABELS else preset.image_size
            images[side] = Images.of(entries, size, len(listed.classes))
        must_keep = preset.is_small and targets == LABELS
        (train, val), bad = read_sides(images, must_keep=must_keep, bad_images=bad_images, cache=cache, log=log)
        return replace(
            recognised,
            notices=tuple(notices),
            train=train,
            val=val,
            skipped=(*skipped, *bad),
            fingerprint=fingerprint(root, list(listed.sides.values())),
        )

    return Dataset(root.name or str(root), listed.classes, preset, read, targets, tuple(listed.notices))


def without_classes(entries: Sequence[Entry]) -> list[Entry]:
    """The same files in the order of their content, which tells nothing of the folders of classes that they lie in.

    Raises DataError.
    """
    try:
        return sorted(entries, key=lambda entry: hashlib.sha256(entry.path.read_bytes()).digest())
    except OSError as error:
        raise DataError(f"{show(error.filename)} cannot be read: {reason(error)}") from None


def look_at(entries: Sequence[Entry], fault: Fault) -> tuple[list[Entry], int]:
    """The entries whose pictures can be opened and are as large as their annotations state; how many EXIF turns."""
    results = list(in_threads(_look, entries))
    for error in results:
        if isinstance(error, DataError):
            fault(str(error))
    sound = [result for result in results if not isinstance(result, DataError)]
    return [entry for entry, _ in sound], sum(is_turned for _, is_turned in sound)


def _look(entry: Entry) -> tuple[Entry, bool]:
    """An entry with the size that annotations mean; and whether they might mean the stored picture, not the turned."""
    stored, orientation = stored_size(entry.path)
    upright = stored[::-1] if orientation >= 5 else stored
    stated = entry.size
    # A mask that is as large as the stored picture was drawn on it, whatever EXIF says of the picture.
    if upright != stored and entry.mask is not None:
        stated = stored_size(entry.mask)[0]
    as_stored = stated == stored != upright
    size = stored if as_stored else upright
    if entry.size not in (None, size):
        raise DataError(f"{show(entry.path)} has {times(size)} pixels, but its annotations say {times(entry.size)}")
    return entry._replace(size=size, as_stored=as_stored), orientation > 1 and not as_stored


def require_classes(data: Dataset, log: Callable[[str], None]) -> None:
    """Refuse masks in which a single class occurs, and say how many do where all masks are in memory."""
    if data.train.maps is None:  # read until a second class occurs, not all of them
        present = mask_classes((entry.mask for entry in data.train.entries), lambda _text: None, enough=2)
    else:
        present = set(data.train.maps.unique().tolist()) - {IGNORED}
        most = max(present, default=0)
        log(f"masks of train hold ids up to {most}: {len(data.classes)} classes, of which {len(present)} occur")
    if fault := few_classes(present):
        raise DataError(f"{data.name}: {fault}")


def few_classes(present: set[int]) -> str | None:
    """Why nothing can be learned from masks in which these ids occur."""
    if len(present) > 1:
        return None
    only = f"the id {min(present)} alone" if present else "no id"
    return f"the masks of train hold {only}, since {IGNORED} is ignored: write 0 and 1, not 0 and {IGNORED}"


def fingerprint(root: Path, sides: Sequence[Sequence[Entry]]) -> str:
    """Of names and sizes of all files; of boxes the content, too. No file is read. Raises DataError."""
    entries = [entry for side in sides for entry in side]
    first = entries[0] if entries else Entry(root)  # a folder that is checked may be empty
    if first.boxes is not None:
        files = _of_files(root, [[(entry.path, len(entry.boxes)) for entry in side] for side in sides])
        return files[:32] + tensor_fingerprint(*(torch.from_numpy(entry.boxes) for entry in entries))[:32]
    if first.mask is None:
        return _of_files(root, [[(entry.path, entry.label) for entry in side] for side in sides])
    pairs = [([(entry.path, 0) for entry in side], [(entry.mask, 0) for entry in side]) for side in sides]
    return _of_files(root, [files for pair in pairs for files in pair])


def _of_files(root: Path, groups: Sequence[Sequence[tuple[Path, int]]]) -> str:
    """Of the names below ``root``, the sizes in bytes and a number each, such as a class index, in their order."""
    digest = hashlib.sha256()
    for group in groups:
        for path, number in group:
            try:
                size = os.stat(path, follow_symlinks=os.path.exists(path)).st_size  # some links lead nowhere
            except OSError as error:
                raise DataError(f"{show(path)} cannot be read: {reason(error)}") from None
            digest.update(b"%s\0%d\0%d\0" % (os.fsencode(path.relative_to(root).as_posix()), size, number))
        digest.update(b"\0")
    return digest.hexdigest()
