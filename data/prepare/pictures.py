"""The pictures of an unpacked download, however deep an archive or a mirror nests them, and their division in two.

Random rules order the pictures of each class by a hash of seed, class and file name and cut the list: the
result depends on nothing else, neither on the order of the file system nor on a library version, and one
picture more or less moves hardly any other. Shares are rounded down, as in the lists that published NAS work on
Sport8 used (1,261 / 318), but each side gets at least one picture of each class.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, chain
from pathlib import Path
from typing import NamedTuple

from data.folders import SIDES, Notes, image_names, is_image_name, is_system, subfolders
from utils.system.errors import UsageError
from utils.system.terminal import show, some

EIGHTY = Fraction(4, 5)
MAX_DEPTH = 5  # folders between --source and the class folders; the deepest mirror known has three


class Picture(NamedTuple):
    """One image: its file, class, official part ("" where it has none) and leaf (PlantVillage only)."""

    file: Path
    label: str
    part: str = ""
    leaf: str = ""

    @property
    def name(self) -> str:
        """The name of the file, which it keeps in the prepared folder."""
        return self.file.name


class Rule(NamedTuple):
    """What a rule does, in words, and which official parts are train and val; without them a share is drawn."""

    text: str
    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set beforehand.

    ``classes``: names in index order. ``totals``: images in the downloads, by mirror. ``rules``: how it is divided, the
    default first. ``ratio``: the default of the rule ``ratio``. ``dropped``: folders to leave out. ``flat``: all images
    lie in one folder, without class folders. ``read``: gives the pictures where more is to be read than class
    folders; takes this, the folder of the class folders, the source, notes and the name of the rule.
    """

    classes: list[str]
    totals: tuple[int, ...]
    rules: dict[str, Rule]
    ratio: float | None = None
    dropped: tuple[str, ...] = ()
    flat: bool = False
    read: Callable[[DataSet, Path, Path, Notes, str], list[Picture]] | None = None


def spelling_key(name: str) -> str:
    """What stays of a class name when case, spaces and punctuation are left out."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def canonical(name: str, official: list[str]) -> str:
    """The official spelling of a class name, or the name itself where the list holds nothing like it."""
    key = spelling_key(name)
    return next((known for known in official if spelling_key(known) == key), name)


def read_pictures(data: DataSet, source: Path, rule: str) -> tuple[list[Picture], list[str]]:
    """The pictures of an unpacked download, with notices of what was left out.

    Files that the rule does not need may be absent. Raises UsageError for a layout that is not the data set's, OSError
    for a folder that cannot be read.
    """
    notes = Notes(source)
    root = find_root(source, data)
    pictures = data.read(data, root, source, notes, rule) if data.read else pictures_by_folder(data, root, notes)
    if len(pictures) not in data.totals:
        official = " or ".join(map(str, data.totals))
        notes.more.append(f"{len(pictures)} images found; the official download has {official}")
    return pictures, notes.lines()


def find_root(source: Path, data: DataSet) -> Path:
    """The folder, at or below ``source``, that holds most of the class folders, or of the images of a flat data set.

    So however an archive or a mirror nests them; the first of several. Raises UsageError where there is none.
    """
    known, root, most = set(map(spelling_key, data.classes)), source, 0
    for top, names, files in os.walk(source, followlinks=True):
        count = sum(map(is_image_name, files)) if data.flat else sum(spelling_key(name) in known for name in names)
        if count > most:
            root, most = Path(top), count
        is_deep = len(Path(top).relative_to(source).parts) >= MAX_DEPTH  # a link may lead round and round
        names[:] = [] if is_deep else sorted(name for name in names if not is_system(name))
    if not most:
        wanted = "images" if data.flat else f"class folders such as {data.classes[0]}"
        raise UsageError(f"no {wanted} found in {show(source)}, which holds {some(sorted(os.listdir(source)))}")
    return root


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
        label = canonical(folder, data.classes)
        if spelling_key(folder) in dropped:
            notes.more.append(f"left out the folder {show(folder)}, which is no class of the official data set")
        elif label in folders:
            raise UsageError(f"two folders are the class {show(label)}: {some([folders[label], folder])}")
        else:
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


def required_file(root: Path, source: Path, name: str, rule: str, subfolder: str = "") -> Path:
    """The list of that name, in whatever case, that a rule needs. Raises UsageError where there is none.

    It lies beside the class folders or above them, up to two folders above a source that is given too deep, or in a
    ``subfolder`` of these.
    """
    folders = [root, *root.parents][: len(root.relative_to(source).parts) + 3]
    for folder in folders:
        for path in (*folder.glob("*"), *(folder / subfolder).glob("*")):
            if path.name.casefold() == name.casefold() and path.is_file():
                return path
    raise UsageError(f"the rule {rule} needs {name}, which is not in {some(folders)}")


def divide(rule: Rule, pictures: Sequence[Picture], seed: int, ratio: float | None) -> dict[str, list[Picture]]:
    """Apply a rule: train and val, each sorted by class and file name.

    ``ratio``: the share of train where it is drawn, four fifths unless given. Raises UsageError where a class would be
    missing on one side, naming it.
    """
    if rule.train:
        chosen = [[p for p in pictures if p.part in parts] for parts in (rule.train, rule.val)]
    else:
        share = EIGHTY if ratio is None else Fraction(repr(ratio))  # exact: 0.29 of 100 is 29, not 28
        chosen = draw(pictures, seed, share)
    sides = dict(zip(SIDES, chosen, strict=True))
    for side, members in sides.items():
        missing = sorted({p.label for p in pictures} - {p.label for p in members})
        if missing:
            raise UsageError(f"{len(missing)} classes would have no image in {side}: {some(missing)}")
        members.sort(key=lambda picture: (picture.label, picture.name))
    return sides


def draw(pictures: Sequence[Picture], seed: int, share: Fraction) -> tuple[list[Picture], list[Picture]]:
    """A share of each class, drawn by the seed, becomes train; the rest is val. No leaf is on both sides."""
    classes: dict[str, dict[str, list[Picture]]] = defaultdict(lambda: defaultdict(list))
    for picture in pictures:
        classes[picture.label][picture.leaf or picture.name].append(picture)
    train, val = [], []
    for label, leaves in classes.items():
        if len(leaves) < 2:
            raise UsageError(f"the class {label} has a single image or leaf, which cannot be on both sides")
        ordered = [leaves[leaf] for leaf in sorted(leaves, key=lambda leaf: _rank(seed, label, leaf))]
        sums = list(accumulate(map(len, ordered)))
        count = sum(pictures_so_far <= share * sums[-1] for pictures_so_far in sums)  # rounded down
        count = min(max(1, count), len(ordered) - 1)
        train += chain(*ordered[:count])
        val += chain(*ordered[count:])
    return train, val


def _rank(seed: int, label: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{label}/{name}".encode("utf-8", "surrogateescape")).digest()
