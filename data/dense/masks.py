"""Masks: class ids of the pixels of an image, in a picture, or drawn by pycocotools from COCO's outlines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.decoding import DataError, Size, opened
from utils.system.terminal import show

IGNORED = 255  # in a mask: the class of this pixel is not asked for


@dataclass(frozen=True)
class Outlines:
    """What is outlined in an image of ``size`` (width, height): class ids with polygons or runs, the last on top.

    ``name``: what messages call it.
    """

    name: str
    size: Size
    objects: tuple[tuple[int, Any], ...]

    def __str__(self) -> str:
        return self.name

    def ids(self) -> np.ndarray:
        """The class of every pixel, uint8 (H, W), 0 where nothing is outlined. Raises DataError."""
        drawn = np.zeros(self.size[::-1], np.uint8)
        for label, outline in self.objects:
            drawn[filled(outline, self.size, self.name)] = label
        return drawn


def mask_ids(mask: Path | Outlines) -> np.ndarray:
    """The class ids in a mask, uint8 (H, W): the indices of a palette, grey values, or what is drawn.

    Raises DataError.
    """
    if not isinstance(mask, Path):
        return mask.ids()
    with opened(mask) as image:
        if image.format in ("JPEG", "MPO"):
            raise DataError(f"{show(mask)} is a JPEG, which changes class ids: write masks as PNG")
        image.load()
        mode, values = image.mode, np.asarray(image)
    if values.ndim == 2 and values.min() >= 0 and values.max() <= 255 and np.array_equal(values, values.astype(int)):
        return values.astype(np.uint8)
    raise DataError(f"{show(mask)} is of mode {mode}: a mask holds class ids, as grey values or indices of a palette")


def decode_mask(mask: Path | Outlines, side: int, size: Size, image: Path, num_classes: int) -> Tensor:
    """The ids of a mask, uint8 (side, side), of an image of (width, height) pixels. Raises DataError."""
    ids = mask_ids(mask)
    if ids.shape != size[::-1]:
        pixels = f"{times(ids.shape[::-1])} pixels, but its image {show(image)} has {times(size)}"
        raise DataError(f"{show(mask)} has {pixels}")
    wrong = ids[(ids >= num_classes) & (ids != IGNORED)]
    if len(wrong):
        known = f"ids go from 0 to {num_classes - 1}, and {IGNORED} is ignored"
        raise DataError(f"{show(mask)} holds class id {wrong.max()}, but {known}")
    if ids.shape != (side, side):
        ids = np.asarray(Image.fromarray(ids).resize((side, side), Image.Resampling.NEAREST))
    return torch.from_numpy(ids.copy())


def times(size: Size) -> str:
    """Width and height in words."""
    return f"{size[0]}x{size[1]}"


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a finite number, of a size that images have."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def filled(outline: Any, size: Size, name: str) -> np.ndarray:
    """The pixels within an outline that is no fault, bool (H, W). Raises DataError for runs of another length."""
    from pycocotools import mask

    width, height = size
    try:
        runs = outline
        if not isinstance(outline, Mapping):
            runs = mask.merge(mask.frPyObjects([list(polygon) for polygon in outline], height, width))
        elif not isinstance(outline["counts"], str):  # lengths of runs, column by column, the first outside
            # pycocotools reads what lies behind runs that end too early.
            if not all(isinstance(run, int) for run in outline["counts"]) or sum(outline["counts"]) != width * height:
                raise ValueError
            runs = mask.frPyObjects(outline, height, width)
        inside = mask.decode(runs)
        # Of letters for runs it does not notice this: written again, they would differ.
        if runs is outline and mask.encode(inside)["counts"] != runs["counts"].encode():
            raise ValueError
        return inside.astype(bool)
    except (ValueError, OverflowError, TypeError):
        raise DataError(f"{name}: its runs do not fill the image of {times(size)} pixels") from None


def outline_fault(outline: Any, size: Size) -> str | None:
    """What is wrong with the outline of an object in an image of (width, height); one pixel over is rounding."""
    width, height = size
    if isinstance(outline, Mapping):
        if not isinstance(outline.get("counts"), list | str):
            return "its segmentation has no counts"
        is_whole = outline.get("size") == [height, width]
        return None if is_whole else f"its runs do not fill the image of {times(size)} pixels"
    if not outline:
        return "it has no outline (segmentation)"
    if not isinstance(outline, list) or not all(isinstance(polygon, list) for polygon in outline):
        return "its segmentation is neither polygons nor runs"
    for polygon in outline:
        if len(polygon) % 2 or len(polygon) < 6:
            return f"a polygon has {len(polygon)} numbers: it takes two for each of 3 corners or more"
        if not all(map(is_number, polygon)):
            return "a polygon holds what is no number"
        for values, most in ((polygon[::2], width), (polygon[1::2], height)):  # x and y take turns
            if min(values) < -1 or max(values) > most + 1:
                return f"a polygon reaches out of the image of {times(size)} pixels"
    return None
