"""One reader per data set: unpacked official folder -> the pictures in it, with their classes.

Facts about the layouts and their mirrors: `docs/datasets.md`. A reader refuses with UsageError, in one line with
names and line numbers, whatever would make a wrong data set, and notes whatever it leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.listing import Notes, image_names, subfolders
from data.prepare import class_names
from data.prepare.flowers_lists import image_ids, read_labels, read_parts
from data.prepare.leaf_map import assign_leaves, find_leaf_map
from data.prepare.mit67_lists import read_lists
from data.prepare.unpacked import descend, find_file
from utils.system.errors import UsageError
from utils.system.terminal import show, some

Trail = Sequence[Path]  # the folders from --source down to the one that holds the class folders, or the images


@dataclass(frozen=True)
class Picture:
    """One image: its file, class, official part ("" where it has none) and leaf (PlantVillage only)."""

    file: Path
    label: str
    part: str = ""
    leaf: str = ""

    @property
    def name(self) -> str:
        """The name of the file, which it keeps in the prepared folder."""
        return self.file.name


@dataclass
class Layout:
    """What a reader found. `notices` are for information, `warnings` speak of results that would mislead."""

    pictures: list[Picture]
    notices: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    leaves_known: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of a data set beforehand.

    ``classes``: names in index order. ``totals``: images in the downloads. ``hints``: folders to enter.
    ``dropped``: folders to leave out. ``flat``: all images lie in one folder, without class folders.
    """

    classes: list[str]
    totals: tuple[int, ...]
    hints: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    flat: bool = False


FACTS = {
    "aid": Facts(class_names.AID, (10000,), ("AID",)),
    "nwpu": Facts(class_names.NWPU, (31500,), ("NWPU-RESISC45",)),
    "sport8": Facts(class_names.SPORT8, (1579,), ("event_dataset", "event_img")),
    "mit67": Facts(class_names.MIT67, (15620,), ("Images", "indoorCVPR_09")),
    "flowers102": Facts(class_names.FLOWERS102, (8189,), ("jpg", "flowers-102", "102flowers"), flat=True),
    "plantvillage": Facts(
        class_names.PLANTVILLAGE,
        (54303, 54304, 54305, 54306),  # by mirror
        ("raw", "color", "Plant_leave_diseases_dataset_without_augmentation", "PlantVillage"),
        ("Background_without_leaves", "x_Removed_from_Healthy_leaves"),
    ),
}


def read_layout(name: str, source: Path, rule: str, skip_bad_lines: bool = False) -> Layout:
    """Read the unpacked download of one of the folder sets (a key of FACTS).

    `rule` is the split rule that will be applied: files that it does not need may be absent. Raises UsageError
    for a layout that is not the data set's, OSError for a folder that cannot be read.
    """
    facts, notes = FACTS[name], Notes(source)
    trail = descend(source, facts.hints, notes, facts.flat)
    reader = READERS.get(name, _read_class_folders)
    layout = reader(name, trail, notes, rule, skip_bad_lines)
    total = len(layout.pictures)
    if total not in facts.totals:
        official = " or ".join(str(number) for number in sorted({*facts.totals}))
        layout.notices.append(f"{total} images found; the official download has {official}")
    return layout


def _read_class_folders(name: str, trail: Trail, notes: Notes, rule: str, skip_bad_lines: bool) -> Layout:
    return Layout(_pictures_by_folder(name, trail[-1], notes), notes.lines())


def _pictures_by_folder(name: str, root: Path, notes: Notes) -> list[Picture]:
    """The pictures of all class folders; refused unless their number is right and each holds an image."""
    folders = _class_folders(name, root, notes)
    pictures, empty = [], []
    for label in sorted(folders):
        names = image_names(root / folders[label], notes)
        pictures += [Picture(root / folders[label] / file, label) for file in names]
        if not names:
            empty.append(folders[label])
    if empty:
        raise UsageError(f"class folders without an image in {show(root)}: {some(empty)}")
    return pictures


def _class_folders(name: str, root: Path, notes: Notes) -> dict[str, str]:
    """Class name -> folder name. Mirrors' spellings are turned into the official ones."""
    facts = FACTS[name]
    dropped_keys = {class_names.spelling_key(folder) for folder in facts.dropped}
    found: dict[str, str] = {}
    for folder in subfolders(root, notes):
        if class_names.spelling_key(folder) in dropped_keys:
            notes.more.append(f"left out the folder {show(folder)}, which is no class of the official data set")
            continue
        label = class_names.canonical(folder, facts.classes)
        if label in found:
            raise UsageError(f"two folders are the class {show(label)}: {some([found[label], folder])}")
        found[label] = folder
    missing = [label for label in facts.classes if label not in found]
    unknown = [found[label] for label in sorted(found) if label not in facts.classes]
    if len(found) != len(facts.classes):
        raise UsageError(
            f"{len(found)} class folders in {show(root)}, but {name} has {len(facts.classes)} classes; "
            f"missing: {some(missing) or 'none'}; unexpected: {some(unknown) or 'none'}"
        )
    if unknown:
        notes.more.append(f"class names other than the official ones, kept as they are: {some(unknown)}")
    return found


def _read_mit67(name: str, trail: Trail, notes: Notes, rule: str, skip_bad_lines: bool) -> Layout:
    pictures = _pictures_by_folder(name, trail[-1], notes)
    if rule == "80-20":
        return Layout(pictures, notes.lines())
    needed = {"test": "TestImages.txt"}
    if rule == "official":
        needed["train"] = "TrainImages.txt"
    lists = {part: _required_file(_beside(trail), wanted, rule) for part, wanted in needed.items()}
    spelling = {picture.file.parent.name: picture.label for picture in pictures}
    spelling |= {label: label for label in spelling.values()}
    known = {(picture.label, picture.name) for picture in pictures}
    parts, bad = read_lists(lists, known, spelling, trail[-1])
    if bad and not skip_bad_lines:
        raise UsageError(
            f"{len(bad)} bad list lines: {'; '.join(bad[:20])}"
            + (f"; and {len(bad) - 20} more" if len(bad) > 20 else "")
            + " (--bad_lines skip leaves them out)"
        )
    notes.more += [f"skipped {line}" for line in bad]
    listed = [Picture(p.file, p.label, parts.get((p.label, p.name), "")) for p in pictures]
    return Layout(listed, notes.lines())


def _read_flowers102(name: str, trail: Trail, notes: Notes, rule: str, skip_bad_lines: bool) -> Layout:
    labels = read_labels(_required_file(_beside(trail), "imagelabels.mat", rule))
    files = image_ids(image_names(trail[-1], notes), len(labels))
    parts: dict[int, str] = {}
    if rule != "80-20":
        parts = read_parts(_required_file(_beside(trail), "setid.mat", rule), len(labels))
        outside = len(labels) - len(parts)
        if outside:
            notes.more.append(f"{outside} images belong to no part of setid.mat and are left out")
    pictures = [
        Picture(trail[-1] / files[number], class_names.FLOWERS102[label - 1], parts.get(number, ""))
        for number, label in enumerate(labels, start=1)
    ]
    return Layout(pictures, notes.lines())


def _read_plantvillage(name: str, trail: Trail, notes: Notes, rule: str, skip_bad_lines: bool) -> Layout:
    if "with_augmentation" in trail[-1].name.casefold():
        raise UsageError(
            f"{show(trail[-1])} holds augmented copies, which a split would spread over both parts: "
            "use the download without augmentation"
        )
    pictures = _pictures_by_folder(name, trail[-1], notes)
    leaf_map = find_leaf_map(_beside(trail))
    layout = Layout(pictures, notes.lines())
    if rule == "leaf-80-20" and leaf_map:
        leaves, matched = assign_leaves(leaf_map, [(picture.label, picture.name) for picture in pictures])
        layout.pictures = [
            Picture(picture.file, picture.label, leaf=leaf) for picture, leaf in zip(pictures, leaves, strict=True)
        ]
        layout.leaves_known = True
        layout.notices.append(f"leaf-map.json knows the leaf of {matched} of {len(pictures)} images")
    else:
        without = "the split does not look at leaf-map.json" if leaf_map else "there is no leaf-map.json"
        layout.warnings.append(
            f"{without}: images of ONE LEAF WILL LAND IN BOTH train AND val, and the accuracy on val will be "
            "too good; put leaf-map.json of github.com/spMohanty/PlantVillage-Dataset beside the images and "
            "use the rule leaf-80-20"
        )
    return layout


READERS: dict[str, Callable[[str, Trail, Notes, str, bool], Layout]] = {
    "mit67": _read_mit67,
    "flowers102": _read_flowers102,
    "plantvillage": _read_plantvillage,
}


def _beside(trail: Trail) -> list[Path]:
    """Where lists lie: beside the class folders or above them, up to the parent of a source given too deep."""
    above = [trail[0].parent] if len(trail) == 1 else []
    if trail[-1].parent.name == "raw":  # PlantVillage given as `raw/color`: the map lies beside `raw`
        above = [*trail[-1].parents][:2]
    return [*reversed(trail), *above]


def _required_file(folders: Sequence[Path], name: str, rule: str) -> Path:
    found = find_file(folders, name)
    if found is None:
        raise UsageError(f"the rule {rule} needs {name}, which is not in {some(folders)}")
    return found
