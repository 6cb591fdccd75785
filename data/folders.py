"""Image folders: ``<root>/train/<class>/*`` and ``<root>/val/<class>/*``."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from data.decoding import DataError, quieten
from data.listing import Notes, class_folders, image_names
from data.presets import SMALL_LIMIT
from utils.system.files import read_json
from utils.system.terminal import reason, show

PROBES = 8
FROM_ABOVE = r"(?<![a-z])(aid|nwpu|resisc)"  # in names of folders of images that were taken from above


@dataclass(frozen=True)
class FolderListing:
    """What an image folder holds: ``train`` and ``val`` are paths and, in the same order, class indices.

    ``notices`` says what was left out and why.
    """

    classes: tuple[str, ...]
    train: tuple[tuple[Path, ...], tuple[int, ...]]
    val: tuple[tuple[Path, ...], tuple[int, ...]]
    notices: tuple[str, ...]


def list_folder(root: Path) -> FolderListing:
    """List both sides without decoding anything. The classes are the sorted folder names in ``train/``.

    Raises DataError for a side without class folders, a class without images or on one side only, by name.
    """
    notes = Notes(root)
    try:
        sides = {side: _side(root / side, notes) for side in ("train", "val")}
    except OSError as error:
        raise DataError(f"{root} cannot be read: {error.strerror}: {error.filename}") from None
    classes = tuple(sorted(sides["train"]))
    for here, there in (("train", "val"), ("val", "train")):
        lonely = sorted(set(sides[here]) - set(sides[there]))
        if lonely:
            raise DataError(f"{root}: {_named(lonely)} in {here}/ but not in {there}/")
    pairs = {}
    for side, found in sides.items():
        empty = [name for name in classes if not found[name]]
        if empty:
            raise DataError(f"{root / side}: {_named(empty)} without images")
        files = [(root / side / name / file, i) for i, name in enumerate(classes) for file in found[name]]
        pairs[side] = tuple(zip(*files, strict=True))
    return FolderListing(classes, pairs["train"], pairs["val"], tuple(notes.lines()))


def _side(folder: Path, notes: Notes) -> dict[str, list[str]]:
    if not folder.is_dir():
        raise DataError(f"{folder.parent} has no folder {folder.name}/: it needs train/<class>/ and val/<class>/")
    found = {name: image_names(folder / name, notes) for name in class_folders(folder, notes)}
    if not found:
        raise DataError(f"{folder} has no class folders: images belong in {folder.name}/<class>/")
    return found


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5]) + (" ..." if len(names) > 5 else "")
    return f"class {shown}" if len(names) == 1 else f"{len(names)} classes ({shown})"


def is_from_above(root: Path) -> bool:
    """Whether the name of a folder, or what prepared it wrote of it, says that its images were taken from above."""
    prepared = str(read_json(root / "split.json").get("dataset"))
    return any(re.search(FROM_ABOVE, name.lower()) for name in (root.name, prepared))


def without_classes(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The same files in an order that tells nothing of the folders of classes that they lie in.

    By name and size; only files that agree in both are read, and ordered by their content. Raises DataError.
    """
    alike = defaultdict(list)
    try:
        for path in paths:
            alike[path.name, path.stat().st_size].append(path)
        for same in alike.values():
            if len(same) > 1:
                same.sort(key=lambda path: hashlib.sha256(path.read_bytes()).digest())
    except OSError as error:
        raise DataError(f"{show(error.filename)} cannot be read: {reason(error)}") from None
    return tuple(path for key in sorted(alike) for path in alike[key])


def probe_size(paths: Sequence[Path]) -> int | None:
    """The side that all probed images share if they are square and small, else None: they are large images."""
    quieten()
    sizes = set()
    for path in paths[:: max(1, len(paths) // PROBES)]:
        try:
            with Image.open(path) as image:
                sizes.add(image.size)
        except Exception:  # Pillow raises almost any type; decoding will name the file
            continue
    if len(sizes) == 1:
        width, height = sizes.pop()
        if width == height <= SMALL_LIMIT:
            return width
    return None
