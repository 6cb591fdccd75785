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
from collections.abc import Sequence
from pathlib import Path

from data.decoding import DataError, Fault
from data.dense.coco import holds
from data.dense.layouts import mask_classes, object_classes
from data.files import KNOWN, few_classes, list_dense, look_at, look_at_sides, recognise
from data.folders import SIDES, Listed, list_folder
from data.images import BOXES, LABELS, MASKS, Entry, Images, decode_all
from utils.system.command import short_command
from utils.system.errors import UsageError
from utils.system.terminal import OneLineParser, reason, say, show, some

COMMAND = "data.check"
DECODED = 32  # side in pixels that an image is brought to when it is only tried


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
            listed = (
                list_dense(folder, "auto", targets, faults.append) if present else list_folder(folder, faults.append)
            )
        except DataError as error:
            faults.append(str(error))
            continue
        for line in listed.notices:
            say(f"notice: {line}")
        if present:
            look_at_sides(folder, listed, targets, faults.append)
        sound = {side: check_side(side, listed, targets, faults.append) for side in SIDES}
        if not present:
            faults += twins(folder, sound)
    for line in faults:
        say(line)
    return 1 if faults else 0


def targets_in(folder: Path) -> list[str]:
    """Which of masks and boxes lie in a folder, by its layout; none in a folder of classes."""
    present = []
    for targets in (MASKS, BOXES):
        try:
            name = recognise(folder, targets)
        except DataError:
            continue
        lacks = {
            "voc": not (folder / {MASKS: "SegmentationClass", BOXES: "Annotations"}[targets]).is_dir(),
            # Of a JSON that has neither, it is boxes that are missed.
            "coco": not holds(folder, targets) and (targets == MASKS or holds(folder, MASKS)),
        }
        if name in KNOWN[targets] and not lacks.get(name):
            present.append(targets)
    return present


def check_side(side: str, listed: Listed, targets: str, fault: Fault) -> tuple[Entry, ...]:
    """Decode the images and masks of a side, and find fault with those that cannot be; the sound ones."""
    entries, classes = listed.sides[side], listed.classes
    if targets != LABELS:
        entries, notice = look_at(entries, targets, side, fault)
        if notice:
            say(notice)
    images, bad = decode_all(Images.of(entries, DECODED, len(classes)), keep=False, skip_bad=True, what=side)
    for message in bad:
        fault(message)
    what = "images" if targets == LABELS else f"images with {targets}"
    say(f"{side}: {len(classes)} classes, {len(images)} {what} are sound, {len(bad)} are not")
    if targets == LABELS:
        for i in sorted({entry.label for entry in entries} - set(images.labels.tolist())):
            fault(f"class without a readable image in {side}/: {show(classes[i])}")
        return images.entries
    present: set[int] = set()
    for entry in images.entries:
        labels = object_classes(entry) if targets == BOXES else mask_classes([entry.mask], fault)
        present |= labels
        if not labels - ({0} if targets == MASKS else set()):
            say(f"notice: no object: {show(entry.path if targets == BOXES else entry.mask)}")
    if side == "train" and targets == MASKS:
        if wrong := few_classes(present):
            fault(wrong)
        for i in sorted(set(range(len(classes))) - present):
            say(f"notice: no pixel of the class {show(classes[i])} in {side}")
    return images.entries


def twins(folder: Path, sides: dict[str, tuple[Entry, ...]]) -> list[str]:
    """A line for each content that is in train and in val; twice on one side is no leak."""
    places: dict[bytes, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # of each content, by side
    for side, entries in sides.items():
        for entry in entries:
            digest = hashlib.sha256(entry.path.read_bytes()).digest()
            places[digest][side].append(entry.path.relative_to(folder).as_posix())
    both = [by_side for by_side in places.values() if len(by_side) == 2]
    return [f"same bytes in train and val: {some(by_side['train'])} and {some(by_side['val'])}" for by_side in both]


if __name__ == "__main__":
    sys.exit(main())
