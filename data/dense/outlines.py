"""Objects that an annotation outlines, by polygons or by runs of pixels as COCO stores them, as a map of class ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from data.decoding import DataError

LEAST_CORNERS = 3
GROUP = 5  # bits of a number that one letter of compressed runs holds


@dataclass(frozen=True)
class Outlines:
    """What is outlined in an image of ``size`` (width, height): class ids with polygons or runs, the last on top.

    ``name``: what messages call it.
    """

    name: str
    size: tuple[int, int]
    objects: tuple[tuple[int, Any], ...]

    def __str__(self) -> str:
        return self.name

    def ids(self) -> np.ndarray:
        """The class of every pixel, uint8 (H, W), 0 where nothing is outlined."""
        width, height = self.size
        found = np.zeros((height, width), np.uint8)
        for label, outline in self.objects:
            found[filled(outline, self.size)] = label
        return found


def require_drawing() -> None:
    """Raise DataError where the package that fills polygons is missing."""
    if find_spec("pycocotools") is None:
        raise DataError("masks from COCO's JSON need pycocotools: pip install pycocotools")


def filled(outline: Any, size: tuple[int, int]) -> np.ndarray:
    """The pixels within a sound outline, bool (H, W)."""
    width, height = size
    if isinstance(outline, Mapping):
        runs = runs_of(outline)
        inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)  # column by column, the first run is outside
        return inside.reshape(width, height).T
    from pycocotools import mask

    parts = mask.frPyObjects([list(polygon) for polygon in outline], height, width)
    return mask.decode(mask.merge(parts)).astype(bool)


def runs_of(outline: Mapping[str, Any]) -> np.ndarray:
    """The lengths of runs, (r,), by turns outside and inside. Raises ValueError or KeyError where they cannot be."""
    counts = outline["counts"]
    runs = _uncompressed(counts) if isinstance(counts, str) else np.array(counts)
    if runs.ndim != 1 or runs.dtype.kind not in "iu" or runs.min(initial=0) < 0:
        raise ValueError("its counts are no lengths of runs")
    return runs


def _uncompressed(text: str) -> np.ndarray:
    """Runs from letters: numbers in groups of bits, lowest first, from the fourth on less the run two before."""
    letters = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - 48  # (letters,)
    ends = np.flatnonzero(letters & 32 == 0)
    if not len(letters) or letters.min() < 0 or letters.max() > 63 or letters[-1] & 32:
        raise ValueError("its counts are no compressed runs")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1  # letters of each number
    if lengths.max() > 7:
        raise ValueError("its counts are no compressed runs")
    place = np.arange(len(letters)) - np.repeat(starts, lengths)
    values = np.add.reduceat((letters & 31) << GROUP * place, starts)
    values -= (letters[ends] & 16 != 0).astype(np.int64) << GROUP * lengths  # the sign
    for first in (1, 2):
        values[first::2] = values[first::2].cumsum()
    return values


def outline_fault(outline: Any, size: tuple[int, int]) -> str | None:
    """What is wrong with the outline of an object in an image of (width, height); one pixel over is rounding."""
    width, height = size
    if isinstance(outline, Mapping):
        try:
            runs = runs_of(outline)
        except (KeyError, ValueError, OverflowError) as error:
            return "its segmentation has no counts" if isinstance(error, KeyError) else str(error)
        if outline.get("size") != [height, width] or runs.sum() != width * height:
            return f"its runs do not fill the image of {width}x{height} pixels"
        return None
    if not outline:
        return "it has no outline (segmentation)"
    if not isinstance(outline, list) or not all(isinstance(polygon, list) for polygon in outline):
        return "its segmentation is neither polygons nor runs"
    for polygon in outline:
        if len(polygon) % 2 or len(polygon) < 2 * LEAST_CORNERS:
            return f"a polygon has {len(polygon)} numbers: it takes two for each of {LEAST_CORNERS} corners or more"
        if not all(is_number(value) for value in polygon):
            return "a polygon holds what is no number"
        for values, most in ((polygon[::2], width), (polygon[1::2], height)):
            if min(values) < -1 or max(values) > most + 1:
                return f"a polygon reaches out of the image of {width}x{height} pixels"
    return None


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a finite number, of a size that images have."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
