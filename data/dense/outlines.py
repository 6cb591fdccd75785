"""Objects that COCO's annotations outline by polygons or runs of pixels, drawn by pycocotools as a map of class ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.decoding import DataError
from data.dense.masks import Size, times


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a finite number, of a size that images have."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


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
        width, height = self.size
        drawn = np.zeros((height, width), np.uint8)
        for label, outline in self.objects:
            drawn[filled(outline, self.size, self.name)] = label
        return drawn


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
        return (
            None
            if outline.get("size") == [height, width]
            else f"its runs do not fill the image of {times(size)} pixels"
        )
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
