"""Finding the images and the lists in an unpacked download, however deep its archive or a mirror nests them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from data.listing import Notes, is_image_name, is_system, subfolders
from utils.system.errors import UsageError
from utils.system.terminal import show, some

MAX_DEPTH = 5  # folders between --source and the class folders; the deepest mirror known has three


def holds_images(folder: Path) -> bool:
    """Whether at least one image file lies directly in the folder."""
    with os.scandir(folder) as listing:
        return any(is_image_name(entry.name) and not is_system(entry.name) for entry in listing)


def descend(source: Path, hints: Sequence[str], notes: Notes, flat: bool = False) -> list[Path]:
    """The folders from `source` down to the one that holds the class folders (`flat`: the images themselves).

    A folder whose name is among the hints is entered first, in the order of the hints and whatever its case;
    a folder that is alone is entered too, which takes care of doubled folders like `AID/AID/`.
    """
    trail = [source]
    while len(trail) <= MAX_DEPTH:
        names = subfolders(trail[-1], notes)
        hinted = [name for hint in hints for name in names if name.casefold() == hint.casefold()]
        if not hinted and (holds_images(trail[-1]) if flat else _any_holds_images(trail[-1], names)):
            return trail
        if not hinted and len(names) != 1:
            break
        trail.append(trail[-1] / (hinted or names)[0])
    if holds_images(trail[-1]) and not flat:
        raise UsageError(f"the images lie directly in {show(trail[-1])}, without class folders")
    wanted = "folder of images" if flat else "class folders with images"
    there = some(names) or "no folder"
    raise UsageError(f"no {wanted} found in {show(source)}: looked in {show(trail[-1])}, which holds {there}")


def _any_holds_images(folder: Path, names: list[str]) -> bool:
    return any(holds_images(folder / name) for name in names)


def find_file(folders: Iterable[Path], name: str) -> Path | None:
    """The first file of that name, in whatever case, directly in one of the folders; None where there is none."""
    for folder in folders:
        if folder.is_dir():
            for found in sorted(os.listdir(folder)):
                if found.casefold() == name.casefold() and (folder / found).is_file():
                    return folder / found
    return None
