"""Looking into folders: which folders and images are there, and what is to be left out.

Everything comes back sorted by code point, so nothing depends on the order of the file system.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from utils.system.terminal import some

# What torchvision's ImageFolder takes for an image, so that nothing prepared here is skipped in training.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
SYSTEM_NAMES = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin"}


def is_system(name: str) -> bool:
    """Whether an entry belongs to an operating system or a tool: `.git`, `._x.jpg`, `__MACOSX`, `Thumbs.db`."""
    return name.startswith(".") or name.casefold() in SYSTEM_NAMES


def is_image_name(name: str) -> bool:
    """Whether the extension is one that training reads; case does not matter."""
    return name.lower().endswith(IMAGE_SUFFIXES)


@dataclass
class Notes:
    """What was seen and left out while listing below ``root``; `lines` words it for the user.

    ``system``: hidden and system entries. ``nested``: folders inside class folders. ``other``: files that are no
    images. These hold paths; ``more`` holds lines that are worded already.
    """

    root: Path
    system: set[str] = field(default_factory=set)
    nested: set[str] = field(default_factory=set)
    other: set[str] = field(default_factory=set)
    more: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """One line for each kind of thing that was left out."""
        kinds = (
            (self.system, "ignored {} hidden or system entries"),
            (self.nested, "left out {} folders inside class folders, with the images in them"),
            (self.other, "left out {} files that are no images by their extension, or no regular files"),
        )
        lines = []
        for paths, text in kinds:
            if paths:
                names = [os.path.relpath(path, self.root) for path in sorted(paths)]
                lines.append(f"{text.format(len(paths))}: {some(names)}")
        return lines + self.more


def entries(folder: Path, notes: Notes) -> Iterator[os.DirEntry]:
    """The entries of a folder in sorted order, without hidden and system ones."""
    with os.scandir(folder) as listing:
        everything = sorted(listing, key=lambda entry: entry.name)
    for entry in everything:
        if is_system(entry.name):
            notes.system.add(entry.path)
        else:
            yield entry


def subfolders(folder: Path, notes: Notes) -> list[str]:
    """Sorted names of the folders in a folder (links to folders too)."""
    return [entry.name for entry in entries(folder, notes) if os.path.isdir(entry.path)]


def class_folders(side: Path, notes: Notes) -> list[str]:
    """Sorted names of the class folders in ``train/`` or ``val/``; files that lie beside them go to the notes."""
    everything = list(entries(side, notes))
    loose = [entry.name for entry in everything if not entry.is_dir()]
    if loose:
        notes.more.append(
            f"left out {len(loose)} files directly in {side.name}/, outside the class folders: {some(loose)}"
        )
    return [entry.name for entry in everything if entry.is_dir()]


def image_names(folder: Path, notes: Notes) -> list[str]:
    """Sorted names of the image files directly in a class folder; whatever else is there goes to the notes."""
    names = []
    for entry in entries(folder, notes):
        if os.path.isdir(entry.path):
            notes.nested.add(entry.path)
        elif is_image_name(entry.name) and os.path.isfile(entry.path):
            names.append(entry.name)
        else:
            notes.other.add(entry.path)
    return names
