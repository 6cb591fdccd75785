"""Look through a folder with masks or boxes and tell, in one line each, what would spoil a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.decoding import DataError
from data.dense.coco import holds
from data.dense.layouts import SIDES, Listed
from data.dense.masks import IGNORED, mask_fault, mask_ids
from data.dense.source import KNOWN, few_classes, list_dense, looked_at, recognise, turned_notice
from data.images import BOXES, MASKS, decode
from utils.system.terminal import say, show

DECODED = 32  # side in pixels that an image is brought to when it is only tried


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
