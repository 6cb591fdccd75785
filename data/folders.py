"""Looking into folders: which images are there, and ``<root>/train/<class>/*`` with ``<root>/val/<class>/*``.

Everything comes back sorted by code point, so nothing depends on the order of the file system.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from data.decoding import DataError, Fault, refuse
from data.images import Entry
from utils.system.terminal import some

SIDES = ("train", "val")
# What torchvision's ImageFolder takes for an image, so that nothing prepared here is skipped in training.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
SYSTEM_NAMES = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin"}


class Listed(NamedTuple):
    """What a folder holds: the files of each side, class names by index, and lines about what is odd."""

    sides: dict[str, list[Entry]]
    classes: tuple[str, ...]
    notices: list[str]


@dataclass
class Notes:
    """What was left out while listing below ``root``; ``more``: other lines."""

    root: Path
    left_out: set[str] = field(default_factory=set)
    more: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """A line about what was left out, if anything was, and the others."""
        names = some((os.path.relpath(path, self.root) for path in sorted(self.left_out)), 10)
        what = f"left out {len(self.left_out)} that are no images in a class folder, or hidden: {names}"
        return [*([what] if self.left_out else []), *self.more]


def is_system(name: str) -> bool:
    """Whether an entry belongs to an operating system or a tool: `.git`, `._x.jpg`, `__MACOSX`, `Thumbs.db`."""
    return name.startswith(".") or name.casefold() in SYSTEM_NAMES


def is_image_name(name: str) -> bool:
    """Whether the extension is one that training reads; case does not matter."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def _entries(folder: Path, notes: Notes) -> Iterator[str]:
    for name in sorted(os.listdir(folder)):
        if is_system(name):
            notes.left_out.add(os.path.join(folder, name))
        else:
            yield name


def subfolders(folder: Path, notes: Notes) -> list[str]:
    """Sorted names of the folders in a folder (links to folders too); files that lie beside them go to the notes."""
    folders = []
    for name in _entries(folder, notes):
        if os.path.isdir(folder / name):
            folders.append(name)
        else:
            notes.left_out.add(os.path.join(folder, name))
    return folders


def image_names(folder: Path, notes: Notes) -> list[str]:
    """Sorted names of the image files directly in a class folder; whatever else is there goes to the notes."""
    names = []
    for name in _entries(folder, notes):
        path = os.path.join(folder, name)
        if is_image_name(name) and (os.path.isfile(path) or not os.path.exists(path)):
            names.append(name)  # a link whose target is gone was meant to be an image, too
        else:
            notes.left_out.add(path)
    return names


def list_folder(root: Path, fault: Fault = refuse) -> Listed:
    """The images of ``train/<class>/`` and ``val/<class>/``; the classes are the sorted folder names in ``train/``.

    Nothing is decoded. Raises DataError for a side without class folders; a class without images or on one side only,
    by name, is a ``fault``.
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
    sides = {}
    for side, by_class in names.items():
        empty = [name for name in classes if not by_class.get(name)]
        if empty:
            fault(f"{root / side}: {len(empty)} classes without images: {some(empty)}")
        sides[side] = [
            Entry(root / side / name / file, label)
            for label, name in enumerate(classes)
            for file in by_class.get(name, ())
        ]
    return Listed(sides, classes, notes.lines())


def _side(folder: Path, notes: Notes) -> dict[str, list[str]]:
    if not folder.is_dir():
        raise DataError(f"{folder.parent} has no folder {folder.name}/: it needs train/<class>/ and val/<class>/")
    names = {name: image_names(folder / name, notes) for name in subfolders(folder, notes)}
    if not names:
        raise DataError(f"{folder} has no class folders: images belong in {folder.name}/<class>/")
    return names
