"""Image folders: ``<root>/train/<class>/*`` and ``<root>/val/<class>/*``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from data import presets
from data.decoding import DataError, Fault, refuse
from data.dense.masks import stored_size
from data.fingerprint import of_files
from data.images import Images, read_sides
from data.listing import Notes, class_folders, image_names
from data.sources import Parts, Source
from utils.system.terminal import reason, show, some

SIDES = ("train", "val")
PROBES = 8
Listed = tuple[tuple[Path, ...], tuple[int, ...]]  # files of a side and, in the same order, class indices


def folder(root: Path, image_size: int | None) -> Source:
    """An image folder, listed but not decoded; small where its images are, or where ``image_size`` asks for it.

    Raises DataError for what :func:`list_folder` refuses.
    """
    classes, sides, notices = list_folder(root)
    size = image_size or probe_size(sides["train"][0])
    preset = presets.small(size) if size is not None and size <= presets.SMALL_LIMIT else presets.large(size or 224)

    def read(*, bad_images: str, cache: str, labels: bool, log: Callable[[str], None], **_options) -> Parts:
        images = {}
        for side, (paths, indices) in sides.items():
            if not labels:  # which load() takes away
                paths = without_classes(paths)
            images[side] = Images(torch.tensor(indices), preset.decoded_size, paths=paths)
        options = {"must_keep": preset.is_small, "bad_images": bad_images, "cache": cache, "log": log}
        (train, val), skipped = read_sides(images, **options)
        return Parts(train, val, skipped, fingerprint=of_files(root, list(sides.values())))

    return Source(root.name or str(root), classes, preset, notices, read)


def list_folder(root: Path, fault: Fault = refuse) -> tuple[tuple[str, ...], dict[str, Listed], tuple[str, ...]]:
    """Class names, both sides by name, and notices of what was left out. Nothing is decoded.

    The classes are the sorted folder names in ``train/``. Raises DataError for a side without class folders; a class
    without images or on one side only, by name, is a ``fault``.
    """
    notes = Notes(root)
    try:
        names = {side: _side(root / side, notes) for side in SIDES}
    except OSError as error:
        raise DataError(f"{root} cannot be read: {error.strerror}: {error.filename}") from None
    classes = tuple(sorted(names["train"]))  # by code point: indices are the same on every system
    for here, there in (SIDES, SIDES[::-1]):
        lonely = sorted(set(names[here]) - set(names[there]))
        if lonely:
            fault(f"{root}: {len(lonely)} classes in {here}/ but not in {there}/: {some(lonely)}")
    listed = {}
    for side, by_class in names.items():
        empty = [name for name in classes if not by_class.get(name)]
        if empty:
            fault(f"{root / side}: {len(empty)} classes without images: {some(empty)}")
        files = [(root / side / name / file, i) for i, name in enumerate(classes) for file in by_class.get(name, ())]
        listed[side] = tuple(path for path, _ in files), tuple(i for _, i in files)
    return classes, listed, tuple(notes.lines())


def _side(folder: Path, notes: Notes) -> dict[str, list[str]]:
    if not folder.is_dir():
        raise DataError(f"{folder.parent} has no folder {folder.name}/: it needs train/<class>/ and val/<class>/")
    names = {name: image_names(folder / name, notes) for name in class_folders(folder, notes)}
    if not names:
        raise DataError(f"{folder} has no class folders: images belong in {folder.name}/<class>/")
    return names


def without_classes(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The same files in the order of their content, which tells nothing of the folders of classes that they lie in.

    Raises DataError.
    """
    try:
        return tuple(sorted(paths, key=lambda path: hashlib.sha256(path.read_bytes()).digest()))
    except OSError as error:
        raise DataError(f"{show(error.filename)} cannot be read: {reason(error)}") from None


def probe_size(paths: Sequence[Path]) -> int | None:
    """The side that all probed images share if they are square and small, else None: they are large images."""
    sizes = set()
    for path in paths[:: max(1, len(paths) // PROBES)]:
        try:
            sizes.add(stored_size(path)[0])
        except DataError:  # decoding will name the file
            continue
    width, height = sizes.pop() if len(sizes) == 1 else (0, 1)
    return width if width == height <= presets.SMALL_LIMIT else None
