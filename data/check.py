"""Decode every image of a prepared folder and tell what would spoil a run.

    python -m data.check ../data/exp_data/AID_50

It looks at what training would read, `<DIR>/train/<class>/` and `<DIR>/val/<class>/`. Damaged files are faults, and so
are classes that one side lacks, and images that are in train and in val byte for byte. A folder with masks or boxes is
looked through for what is missing, of another size, out of range or empty.
"""

from __future__ import annotations

import hashlib
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from data import presets
from data.decoding import DataError, Fault
from data.dense.layouts import mask_classes, object_classes
from data.files import few_classes, list_dense, listed_dataset, look_at_sides, recognise
from data.folders import SIDES, Listed, list_folder
from data.images import BOXES, LABELS, MASKS, Images
from utils.system.command import short_command
from utils.system.errors import UsageError
from utils.system.terminal import OneLineParser, reason, say, show, some

COMMAND = "data.check"
TRIED = presets.large(32)  # images are brought to a small side where they are only tried


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 clean, 1 something is wrong, 2 wrong use."""
    parser = OneLineParser(
        prog=f"python -m {COMMAND}",
        description="Decode every image of a prepared folder and report what would spoil a run.",
        epilog="exit status: 0 clean; 1 something is wrong; 2 wrong use",
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with train/<class>/ and val/<class>/")
    return short_command(COMMAND, lambda: check(parser.parse_args(argv).folder))


def check(folder: Path) -> int:
    """Look through a prepared folder and print what would spoil a run; returns the exit status, 0 or 1."""
    faults: list[str] = []
    try:
        present = targets_in(folder)
        if not present and not any((folder / side).is_dir() for side in SIDES):
            raise UsageError(f"no folder with train/<class>/ and val/<class>/: {show(folder)}")
    except (OSError, ValueError) as error:  # ValueError: a zero byte in a path
        raise UsageError(reason(error)) from error
    for targets in present or [LABELS]:
        try:
            look_through(folder, targets, faults.append)
        except DataError as error:
            faults.append(str(error))
    for line in faults:
        say(line)
    return 1 if faults else 0


def targets_in(folder: Path) -> list[str]:
    """Which of masks and boxes lie in a folder, by its layout; none in a folder of classes."""
    present = []
    for targets in (MASKS, BOXES):
        with suppress(DataError):
            recognise(folder, targets)
            present.append(targets)
    return present


def look_through(folder: Path, targets: str, fault: Fault) -> None:
    """List and decode the images of a folder, with their classes, masks or boxes, and find fault with them."""
    if targets == LABELS:
        listed = list_folder(folder, fault)
    else:
        listed = list_dense(folder, "auto", targets, fault)
        look_at_sides(folder, listed, targets, fault)
    data = listed_dataset(folder, listed, TRIED, targets)
    read = data.read(data, bad_images="skip", cache="none", labels=True, log=lambda _line: None)
    for line in read.notices:
        say(f"notice: {line}")
    for line in read.skipped:
        fault(line)
    sides = {"train": read.train, "val": read.val}
    for side, images in sides.items():
        what, bad = "images" if targets == LABELS else f"images with {targets}", len(listed.sides[side]) - len(images)
        say(f"{side}: {len(listed.classes)} classes, {len(images)} {what} are sound, {bad} are not")
    if targets == LABELS:
        look_at_classes(folder, listed, sides, fault)
    else:
        look_at_objects(listed, sides, targets, fault)


def look_at_classes(folder: Path, listed: Listed, sides: Mapping[str, Images], fault: Fault) -> None:
    """Find fault with classes that have no sound image, and with content that is in train and in val."""
    places: dict[bytes, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # of each content, by side
    for side, images in sides.items():
        for i in sorted({entry.label for entry in listed.sides[side]} - set(images.labels.tolist())):
            fault(f"class without a readable image in {side}/: {show(listed.classes[i])}")
        for entry in images.entries:
            digest = hashlib.sha256(entry.path.read_bytes()).digest()
            places[digest][side].append(entry.path.relative_to(folder).as_posix())
    for by_side in places.values():
        if len(by_side) == 2:  # twice on one side is no leak
            fault(f"same bytes in train and val: {some(by_side['train'])} and {some(by_side['val'])}")


def look_at_objects(listed: Listed, sides: Mapping[str, Images], targets: str, fault: Fault) -> None:
    """Say which images show no object; find fault with masks of train in which a single class occurs."""
    present: dict[str, set[int]] = {side: set() for side in sides}
    for side, images in sides.items():
        for entry in images.entries:
            labels = object_classes(entry) if targets == BOXES else mask_classes([entry.mask], fault)
            present[side] |= labels
            if not (labels if targets == BOXES else labels - {0}):
                say(f"notice: no object: {show(entry.path if targets == BOXES else entry.mask)}")
    if targets == MASKS:
        if wrong := few_classes(present["train"]):
            fault(wrong)
        for i in sorted(set(range(len(listed.classes))) - present["train"]):
            say(f"notice: no pixel of the class {show(listed.classes[i])} in train")


if __name__ == "__main__":
    sys.exit(main())
