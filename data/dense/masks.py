"""Masks: class ids of the pixels of an image, in a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.decoding import DataError, Size, opened
from utils.system.terminal import show

IGNORED = 255  # in a mask: the class of this pixel is not asked for


def mask_ids(mask: Path) -> np.ndarray:
    """The class ids in a mask, uint8 (H, W): the indices of a palette or grey values. Raises DataError."""
    with opened(mask) as image:
        if image.format in ("JPEG", "MPO"):
            raise DataError(f"{show(mask)} is a JPEG, which changes class ids: write masks as PNG")
        image.load()
        mode, values = image.mode, np.asarray(image)
    if values.ndim == 2 and values.min() >= 0 and values.max() <= 255 and np.array_equal(values, values.astype(int)):
        return values.astype(np.uint8)
    raise DataError(f"{show(mask)} is of mode {mode}: a mask holds class ids, as grey values or indices of a palette")


def decode_mask(mask: Path, side: int, size: Size, image: Path, num_classes: int) -> Tensor:
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
