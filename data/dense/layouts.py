"""What all layouts of masks and boxes share: class names, boxes, and ``images/`` with ``masks/``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from data.decoding import DataError, Fault, Size, refuse, upright_size
from data.dense.masks import IGNORED, Outlines, mask_ids, times
from data.folders import SIDES, Listed, Notes, image_names
from data.images import BOXES, Entry
from utils.system.terminal import reason, show

VAL_SHARE = 0.2  # of images without sides of their own
CLASSES = "classes.json"
BACKGROUND = "background"
Objects = list[tuple[str, tuple[float, ...]]]  # names and boxes, x1, y1, x2, y2 in pixels


def stated_classes(root: Path, targets: str) -> tuple[str, ...]:
    """The names in classes.json, none where there is no such file. Boxes have no class for the background."""
    path = root / CLASSES
    if not path.is_file():
        return ()
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{show(path)} cannot be read: {reason(error)}") from None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{show(path)} is no list of class names")
    require_few(path, names)
    return tuple(names[1:] if targets == BOXES and names[0] == BACKGROUND else names)


def require_few(path: Path, classes: Sequence[str]) -> None:
    """Refuse more classes than a mask can hold ids of."""
    if len(classes) > IGNORED:
        raise DataError(f"{show(path)} has {len(classes)} classes, and there is room for {IGNORED}")


def boxed(path: Path, objects: Objects, stated: Size | None, classes: Sequence[str], fault: Fault) -> Entry | None:
    """An image with those of its objects whose boxes lie within it and whose classes are known."""
    try:
        size = stated or upright_size(path)
    except DataError as error:
        return fault(str(error))
    sound = []  # boxes and class indices
    for name, box in objects:
        wrong = box_fault(box, size) if name in classes else f"class {show(name)} is none of {len(classes)}"
        if wrong:
            fault(f"{show(path)}: {wrong}")
        else:
            sound.append((*box, classes.index(name)))
    # Shares of width and height: what a box is does not depend on the size that images are decoded at.
    boxes = torch.tensor(sound, dtype=torch.float32).reshape(-1, 5)  # (m, 5)
    boxes[:, :4] = (boxes[:, :4] / torch.tensor([*size, *size])).clamp(0, 1)
    return Entry(path, boxes=boxes.numpy(), size=stated)


def box_fault(box: Sequence[float], size: Size) -> str | None:
    """What is wrong with a box x1, y1, x2, y2 in an image of (width, height) pixels; one pixel over is rounding."""
    x1, y1, x2, y2 = box
    name = f"box [{', '.join(f'{v:g}' for v in box)}]"
    if not (x1 < x2 and y1 < y2):  # false for nan, too
        return f"{name} is empty"
    if min(x1, y1) < -1 or x2 > size[0] + 1 or y2 > size[1] + 1:
        return f"{name} lies outside of the image of {times(size)} pixels"
    return None


def object_classes(entry: Entry) -> set[int]:
    """The classes of the boxes of an image, or of the objects that are outlined in it."""
    return set(entry.boxes[:, 4].astype(int).tolist() if entry.mask is None else [k for k, _ in entry.mask.objects])


def background_notices(sides: dict[str, list[Entry]]) -> list[str]:
    """A line where images have no object."""
    empty = sum(not object_classes(entry) for entries in sides.values() for entry in entries)
    return [f"{empty} images have no object: they are background alone"] if empty else []


def list_masks(root: Path, targets: str, fault: Fault = refuse) -> Listed:
    """``<side>/images/`` and ``<side>/masks/`` with the same stems, or one pair of folders, a fifth of it for val."""
    notes = Notes(root)
    if (root / "images").is_dir():
        whole = _pairs(root, notes, fault)
        # The seed of a run does not matter: all runs are measured on the same images.
        order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0)).tolist()
        held_out = set(order[: max(1, round(VAL_SHARE * len(order)))])
        sides = {side: [e for i, e in enumerate(whole) if (i in held_out) == (side == "val")] for side in SIDES}
        notes.more.append(f"{root.name} has no train/ and val/: every fifth image, drawn once and for all, is val")
    else:
        sides = {side: _pairs(root / side, notes, fault) for side in SIDES}
    classes = stated_classes(root, targets)
    if not classes:
        most = max(mask_classes((entry.mask for entry in sides["train"]), fault), default=0)
        classes = tuple(f"class {i}" for i in range(most + 1))
    return Listed(sides, classes, notes.lines())


def _pairs(folder: Path, notes: Notes, fault: Fault) -> list[Entry]:
    for name in ("images", "masks"):
        if not (folder / name).is_dir():
            raise DataError(f"{show(folder)} has no folder {name}/")
    masks: dict[str, list[str]] = {}
    for name in image_names(folder / "masks", notes):
        masks.setdefault(Path(name).stem, []).append(name)
    pairs = []
    for name in image_names(folder / "images", notes):
        # Image and mask have the same name but for its ending.
        names, image = masks.pop(Path(name).stem, []), folder / "images" / name
        if len(names) == 1:
            pairs.append(Entry(image, mask=folder / "masks" / names[0]))
        elif names:
            fault(f"{show(image)} has several masks: {', '.join(map(show, names))}")
        else:
            fault(f"{show(image)} has no mask {show(folder / 'masks' / Path(name).stem)}.png")
    if masks:
        notes.more.append(f"left out {len(masks)} masks without an image in {show(folder / 'masks')}")
    return pairs


def mask_classes(masks: Iterable[Path | Outlines], fault: Fault, enough: int = IGNORED) -> set[int]:
    """The class ids that occur in masks, which are read until ``enough`` are known."""
    present: set[int] = set()
    for mask in masks:
        if len(present) >= enough:
            break
        try:
            present |= set(np.unique(mask_ids(mask)).tolist()) - {IGNORED}
        except DataError as error:
            fault(str(error))
    return present
