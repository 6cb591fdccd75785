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
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from data.decoding import DataError
from data.dense.coco import holds
from data.dense.layouts import SIDES, Listed
from data.dense.masks import IGNORED, mask_fault, mask_ids
from data.dense.source import KNOWN, few_classes, list_dense, looked_at, recognise, turned_notice
from data.folders import list_folder
from data.images import BOXES, MASKS, Images, decode, decode_all
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
    try:
        if targets := targets_in(folder):
            return check_dense(folder, targets)
        if not any((folder / side).is_dir() for side in SIDES):
            raise UsageError(f"no folder with train/<class>/ and val/<class>/: {show(folder)}")
    except (OSError, ValueError) as error:  # ValueError: a zero byte in a path
        raise UsageError(reason(error)) from error
    return check_classes(folder)


def check_classes(folder: Path) -> int:
    """Check a folder of classes and print what would spoil a run; returns the exit status, 0 or 1."""
    faults: list[str] = []
    try:
        classes, sides, notices = list_folder(folder, faults.append)
    except DataError as error:
        say(str(error))
        return 1
    for line in notices:
        say(f"notice: {line}")
    places: dict[bytes, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # of each content, by side
    for side, (paths, labels) in sides.items():
        images = Images(torch.tensor(labels), DECODED, paths=paths)
        sound, messages = decode_all(images, keep=False, skip_bad=True, what=side)
        bare = set(labels) - set(sound.labels.tolist())
        faults += messages + [f"class without a readable image in {side}/: {show(classes[i])}" for i in sorted(bare)]
        for path in sound.paths:
            places[hashlib.sha256(path.read_bytes()).digest()][side].append(path.relative_to(folder).as_posix())
        say(f"{side}: {len(classes)} classes, {len(sound)} images are sound, {len(messages)} are not")
    # Twice on one side is no leak.
    twins = [by_side for by_side in places.values() if len(by_side) == 2]
    faults += [f"same bytes in train and val: {some(twin['train'])} and {some(twin['val'])}" for twin in twins]
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


def check_dense(folder: Path, targets: list[str]) -> int:
    """Check the masks or boxes of a folder and print what would spoil a run; returns the exit status, 0 or 1."""
    faults = 0

    def fault(text: str) -> None:
        nonlocal faults
        faults += 1
        say(text)

    for kind in targets:
        try:
            listed = list_dense(folder, "auto", kind, fault)
        except DataError as error:
            fault(str(error))
            continue
        for line in listed.notices:
            say(f"notice: {line}")
        for side in SIDES:
            if wrong := listed.side_fault(side):
                fault(wrong)
            _check_side(side, listed, kind, fault)
    return 1 if faults else 0


def _check_side(side: str, listed: Listed, targets: str, fault: Callable[[str], None]) -> None:
    """Decode images and masks; then say how many pixels, or boxes, each class has."""
    counts = np.zeros(max(len(listed.classes), IGNORED + 1), np.int64)
    looked = list(looked_at(listed.sides[side], fault))
    if notice := turned_notice(looked, targets, side):
        say(notice)
    for entry, size, *_ in tqdm(looked, desc=side, unit="image", disable=None, leave=False):
        try:
            decode(entry.path, DECODED)
            if targets == MASKS:
                labels = mask_ids(entry.mask)
                if wrong := mask_fault(labels, entry.mask, size, entry.path, len(listed.classes)):
                    raise DataError(wrong)
                is_empty, name = not labels[labels != IGNORED].any(), entry.mask
            else:
                labels, is_empty, name = entry.boxes[:, 4].astype(int), not len(entry.boxes), entry.path
        except DataError as error:
            fault(str(error))
            continue
        counts += np.bincount(labels.flatten(), minlength=len(counts))
        if is_empty:
            say(f"notice: no object: {show(name)}")
    numbered = list(enumerate(listed.classes))
    if targets == BOXES:
        numbers = ", ".join(f"{show(label)} {counts[i]}" for i, label in numbered)
        say(f"{side}: {len(looked)} images with {counts.sum()} boxes; {numbers}")
        return
    shares = 100 * counts / max(counts.sum(), 1)
    parts = [f"{show(label)} {shares[i]:.2f} %" for i, label in [*numbered, (IGNORED, "ignored")]]
    say(f"{side}: {len(looked)} images with masks; {', '.join(parts)}")
    if side == "train":
        present = set(np.flatnonzero(counts[:IGNORED]).tolist())
        if wrong := few_classes(present):
            fault(wrong)
        for i, label in numbered:
            if i not in present:
                say(f"notice: no pixel of the class {show(label)} in {side}")


if __name__ == "__main__":
    sys.exit(main())
