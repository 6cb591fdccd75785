"""Look through a folder with masks or boxes and tell, in one line each, what would spoil a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.decoding import DataError
from data.dense.annotated import BOXES, IGNORED, MASKS, mask_fault, mask_ids, size_fault, upright_size
from data.dense.coco import holds
from data.dense.layouts import KNOWN, SIDES, Listed, Side, recognise
from data.dense.source import list_dense
from data.images import decode
from utils.system.terminal import say, show

DECODED = 32  # side in pixels that an image is brought to when it is only tried


def parts_of(folder: Path) -> list[str]:
    """Which of masks and boxes lie in a folder, by its layout; none in a folder of classes."""
    found = []
    for targets in (MASKS, BOXES):
        try:
            name = recognise(folder, targets)
        except DataError:
            continue
        needed = {MASKS: "SegmentationClass", BOXES: "Annotations"}[targets]
        lacks = {
            "voc": not (folder / needed).is_dir(),
            # Of a JSON that has neither, it is boxes that are missed.
            "coco": not holds(folder, targets) and (targets == MASKS or holds(folder, MASKS)),
        }
        if name in KNOWN[targets] and not lacks.get(name):
            found.append(targets)
    return found


def check_dense(folder: Path, parts: list[str]) -> int:
    """Check the ``parts`` of a folder and print what would spoil a run; returns the exit status, 0 or 1."""
    faults = 0

    def fault(text: str) -> None:
        nonlocal faults
        faults += 1
        say(text)

    for targets in parts:
        try:
            listed = list_dense(folder, "auto", targets, fault)
        except DataError as error:
            fault(str(error))
            continue
        for line in listed.notices:
            say(f"notice: {line}")
        for name in SIDES:
            side = listed.sides[name]
            if wrong := side.fault(name):
                fault(wrong)
            (_check_masks if targets == MASKS else _check_boxes)(name, side, listed, fault)
    return 1 if faults else 0


def _check_masks(name: str, side: Side, listed: Listed, fault: Callable[[str], None]) -> None:
    """Decode images and masks; then say how many pixels each class has."""
    pixels = np.zeros(IGNORED + 1, np.int64)
    pairs = list(zip(side.paths, side.masks, side.stated, strict=True))
    for image, mask, stated in tqdm(pairs, desc=name, unit="image", disable=None, leave=False):
        try:
            decode(image, DECODED)
            ids, size = mask_ids(mask), upright_size(image)
            wrong = size_fault(image, size, stated) or mask_fault(ids, mask, size, image, len(listed.classes))
        except DataError as error:
            fault(str(error))
            continue
        if wrong:
            fault(wrong)
            continue
        pixels += np.bincount(ids.flatten(), minlength=IGNORED + 1)
        if not ids[ids != IGNORED].any():
            say(f"notice: no object: {show(mask)}")
    shares = 100 * pixels / max(pixels.sum(), 1)
    parts = [*((show(label), shares[i]) for i, label in enumerate(listed.classes)), ("ignored", shares[IGNORED])]
    say(f"{name}: {len(pairs)} images with masks; " + ", ".join(f"{label} {share:.2f} %" for label, share in parts))
    for i, label in enumerate(listed.classes):
        if name == "train" and not pixels[i]:
            say(f"notice: no pixel of the class {show(label)} in {name}")


def _check_boxes(name: str, side: Side, listed: Listed, fault: Callable[[str], None]) -> None:
    """Decode images; then say how many boxes each class has."""
    counts: Counter[int] = Counter()
    pairs = list(zip(side.paths, side.boxes, side.stated, strict=True))
    for image, boxes, stated in tqdm(pairs, desc=name, unit="image", disable=None, leave=False):
        try:
            decode(image, DECODED)
            size = upright_size(image)
        except DataError as error:
            fault(str(error))
            continue
        if wrong := size_fault(image, size, stated):
            fault(wrong)
        if not len(boxes):
            say(f"notice: no object: {show(image)}")
        counts.update(boxes[:, 4].astype(int).tolist())
    numbers = ", ".join(f"{show(label)} {counts[i]}" for i, label in enumerate(listed.classes))
    say(f"{name}: {len(pairs)} images with {sum(counts.values())} boxes; {numbers}")
