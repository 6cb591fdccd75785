"""Looking into folders: which folders and images are there, and what is to be left out.

Everything comes back sorted by code point, so nothing depends on the order of the file system.
"""

from __future__ import annotations

import os
from collections import defaultdict
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


SYSTEM = "hidden or system entries"
NESTED = "folders inside class folders, with the images in them"
OTHER = "files that are no images by their extension, or no regular files"


@dataclass
class Notes:
    """What was seen and left out while listing below ``root``; `lines` words it for the user.

    ``left_out``: paths by what they are, SYSTEM, NESTED or OTHER; ``more``: lines that are worded already.
    """

    root: Path
    left_out: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    more: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """One line for each kind of thing that was left out."""
        lines = []
        for what, paths in self.left_out.items():
            if paths:
                names = some(os.path.relpath(path, self.root) for path in sorted(paths))
                lines.append(f"left out {len(paths)} {what}: {names}")
        return lines + self.more


def entries(folder: Path, notes: Notes) -> Iterator[os.DirEntry]:
    """The entries of a folder in sorted order, without hidden and system ones."""
    with os.scandir(folder) as listing:
        everything = sorted(listing, key=lambda entry: entry.name)
    for entry in everything:
        if is_system(entry.name):
            notes.left_out[SYSTEM].add(entry.path)
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
            notes.left_out[NESTED].add(entry.path)
        elif is_image_name(entry.name) and (os.path.isfile(entry.path) or not os.path.exists(entry.path)):
            names.append(entry.name)  # a link whose target is gone was meant to be an image, too
        else:
            notes.left_out[OTHER].add(entry.path)
    return names
