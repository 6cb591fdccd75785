"""What readers of downloads share: finding class folders and lists, however deep an archive or a mirror nests them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.listing import Notes, image_names, is_image_name, is_system, subfolders
from data.prepare.class_names import canonical, spelling_key
from data.prepare.rules import Picture, Rule
from utils.system.errors import UsageError
from utils.system.terminal import show, some

MAX_DEPTH = 5  # folders between --source and the class folders; the deepest mirror known has three
Trail = Sequence[Path]  # the folders from --source down to the one that holds the class folders, or the images


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set beforehand.

    ``classes``: names in index order. ``totals``: images in the downloads, by mirror. ``hints``: folders to enter.
    ``rules``: how it is divided, the default first. ``ratio``: the default of the rule ``ratio``. ``dropped``: folders
    to leave out. ``flat``: all images lie in one folder, without class folders. ``read``: gives the pictures; takes
    this, the trail, notes and the name of the rule.
    """

    classes: list[str]
    totals: tuple[int, ...]
    hints: tuple[str, ...]
    rules: dict[str, Rule]
    ratio: float | None = None
    dropped: tuple[str, ...] = ()
    flat: bool = False
    read: Callable[[DataSet, Trail, Notes, str], list[Picture]] | None = None


def read_pictures(data: DataSet, source: Path, rule: str) -> tuple[list[Picture], list[str]]:
    """The pictures of an unpacked download, with notices of what was left out.

    Files that the rule does not need may be absent. Raises UsageError for a layout that is not the data set's, OSError
    for a folder that cannot be read.
    """
    notes = Notes(source)
    trail = descend(source, data, notes)
    pictures = data.read(data, trail, notes, rule) if data.read else pictures_by_folder(data, trail[-1], notes)
    if len(pictures) not in data.totals:
        official = " or ".join(map(str, data.totals))
        notes.more.append(f"{len(pictures)} images found; the official download has {official}")
    return pictures, notes.lines()


def descend(source: Path, data: DataSet, notes: Notes) -> list[Path]:
    """The folders from ``source`` down to the one that holds the class folders, or the images of a flat data set.

    A folder whose name is among the hints is entered first, in the order of the hints and whatever its case;
    a folder that is alone is entered too, which takes care of doubled folders like `AID/AID/`.
    """
    trail = [source]
    while len(trail) <= MAX_DEPTH:  # a link may lead round and round
        names = subfolders(trail[-1], notes)
        hinted = [name for hint in data.hints for name in names if name.casefold() == hint.casefold()]
        candidates = [trail[-1]] if data.flat else [trail[-1] / name for name in names]
        if not hinted and any(map(holds_images, candidates)):
            return trail
        if not hinted and len(names) != 1:
            break
        trail.append(trail[-1] / (hinted or names)[0])
    if holds_images(trail[-1]) and not data.flat:
        raise UsageError(f"the images lie directly in {show(trail[-1])}, without class folders")
    wanted, there = "folder of images" if data.flat else "class folders with images", some(names) or "no folder"
    raise UsageError(f"no {wanted} found in {show(source)}: looked in {show(trail[-1])}, which holds {there}")


def holds_images(folder: Path) -> bool:
    """Whether at least one image file lies directly in the folder."""
    with os.scandir(folder) as listing:
        return any(is_image_name(entry.name) and not is_system(entry.name) for entry in listing)


def pictures_by_folder(data: DataSet, root: Path, notes: Notes) -> list[Picture]:
    """The pictures of all class folders; refused unless their number is right and each holds an image."""
    folders = _class_folders(data, root, notes)
    names = {label: image_names(root / folders[label], notes) for label in sorted(folders)}
    empty = [folders[label] for label in names if not names[label]]
    if empty:
        raise UsageError(f"class folders without an image in {show(root)}: {some(empty)}")
    return [Picture(root / folders[label] / file, label) for label in names for file in names[label]]


def _class_folders(data: DataSet, root: Path, notes: Notes) -> dict[str, str]:
    """Class name -> folder name. Mirrors' spellings are turned into the official ones."""
    dropped = set(map(spelling_key, data.dropped))
    folders: dict[str, str] = {}
    for folder in subfolders(root, notes):
        if spelling_key(folder) in dropped:
            notes.more.append(f"left out the folder {show(folder)}, which is no class of the official data set")
            continue
        label = canonical(folder, data.classes)
        if label in folders:
            raise UsageError(f"two folders are the class {show(label)}: {some([folders[label], folder])}")
        folders[label] = folder
    # As many folders as classes, under other names, may be a translation: these are kept.
    missing = [label for label in data.classes if label not in folders]
    unknown = [folders[label] for label in sorted(folders) if label not in data.classes]
    if len(folders) != len(data.classes):
        raise UsageError(
            f"{len(folders)} class folders in {show(root)}, but there are {len(data.classes)} classes; "
            f"missing: {some(missing) or 'none'}; unexpected: {some(unknown) or 'none'}"
        )
    if unknown:
        notes.more.append(f"class names other than the official ones, kept as they are: {some(unknown)}")
    return folders


def required_file(trail: Trail, name: str, rule: str, subfolder: str = "") -> Path:
    """The list of that name, in whatever case, that a rule needs. Raises UsageError where there is none.

    It lies beside the class folders or above them, up to the parent of a source given too deep, or in a ``subfolder``.
    """
    folders = [*reversed(trail), *([trail[0].parent] if len(trail) == 1 else [])]
    if trail[-1].parent.name == "raw":  # PlantVillage given as `raw/color`: the map lies beside `raw`
        folders += [*trail[-1].parents][:2]
    for folder in folders:
        for path in (*folder.iterdir(), *(folder / subfolder).glob("*")):
            if path.name.casefold() == name.casefold() and path.is_file():
                return path
    raise UsageError(f"the rule {rule} needs {name}, which is not in {some(folders)}")
