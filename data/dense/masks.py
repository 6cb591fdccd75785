"""Masks: class ids of the pixels of an image, in a picture of their own or drawn from annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.decoding import DataError, opened, orientation
from utils.system.terminal import show

IGNORED = 255  # in a mask: the class of this pixel is not asked for
Size = tuple[int, int]  # width and height


class Drawing(Protocol):
    """A mask that annotations outline, class by class; messages name it by its text."""

    objects: tuple[tuple[int, object], ...]

    def ids(self) -> np.ndarray:
        """Class ids, uint8 (H, W). Raises DataError."""


def stored_size(path: Path) -> tuple[Size, int]:
    """Width and height of a picture as it is stored, and its orientation by EXIF, 1 to 8. Raises DataError."""
    with opened(path) as image:
        return image.size, orientation(image)


def upright_size(path: Path) -> Size:
    """Width and height of a picture, turned as its EXIF says. Raises DataError."""
    (width, height), turned = stored_size(path)
    return (height, width) if turned >= 5 else (width, height)


def mask_ids(mask: Path | Drawing) -> np.ndarray:
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


def decode_mask(mask: Path | Drawing, side: int, size: Size, image: Path, num_classes: int) -> Tensor:
    """The ids of a mask, uint8 (side, side), of an image of (width, height) pixels. Raises DataError."""
    ids = mask_ids(mask)
    if fault := mask_fault(ids, mask, size, image, num_classes):
        raise DataError(fault)
    if ids.shape != (side, side):
        ids = np.asarray(Image.fromarray(ids).resize((side, side), Image.Resampling.NEAREST))
    return torch.from_numpy(ids.copy())


def mask_fault(ids: np.ndarray, mask: Path | Drawing, size: Size, image: Path, num_classes: int) -> str | None:
    """What is wrong with the mask of an image, in one line."""
    if ids.shape != size[::-1]:
        return f"{show(mask)} has {times(ids.shape[::-1])} pixels, but its image {show(image)} has {times(size)}"
    wrong = ids[(ids >= num_classes) & (ids != IGNORED)]
    if len(wrong):
        return f"{show(mask)} holds class id {wrong.max()}, but ids go from 0 to {num_classes - 1}, and 255 is ignored"
    return None


def times(size: Size) -> str:
    """Width and height in words."""
    return f"{size[0]}x{size[1]}"
