"""Boxes of named objects, as any layout states them, within their images and with the ids of their classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from data.decoding import DataError
from data.dense.annotated import upright_size
from data.dense.layouts import SIDES, Fault, Listed, Side, as_shares, box_fault
from utils.system.terminal import show

Objects = list[tuple[str, tuple[float, ...]]]  # names and boxes, x1, y1, x2, y2 in pixels


def listed_boxes(
    read: Mapping[str, Sequence[tuple[Path, Objects, tuple[int, int] | None]]],
    classes: tuple[str, ...],
    fault: Fault,
    notices: list[str],
) -> Listed:
    """Both sides, of images with their objects and the size that is stated: boxes that lie within, of known classes."""
    sides = {side: Side() for side in SIDES}
    ids = {name: i for i, name in enumerate(classes)}
    for side, found in read.items():
        for image, objects, stated in found:
            try:
                size = stated or upright_size(image)
            except DataError as error:
                fault(str(error))
                continue
            boxes, labels = [], []
            for name, box in objects:
                wrong = box_fault(box, size)
                if name not in ids:
                    wrong = f"class {show(name)} is none of {len(classes)}"
                if wrong:
                    fault(f"{show(image)}: {wrong}")
                    continue
                boxes.append(box)
                labels.append(ids[name])
            sides[side].add(image, boxes=as_shares(boxes, labels, size), stated=stated)
    empty = sum(not len(boxes) for side in sides.values() for boxes in side.boxes)
    if empty:
        notices.append(f"{empty} images have no object: they are background alone")
    return Listed(sides, classes, notices)
