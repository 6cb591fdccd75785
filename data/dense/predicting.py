"""Pictures whose masks or boxes are asked for: as the network sees them, and as they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.augment import normalise
from data.decoding import DataError, quieten, rgb, room_for, why
from data.predicting import Pictures
from data.presets import Preset
from utils.system.terminal import show


def picture_batches(
    pictures: Pictures, preset: Preset, batch_size: int, device: torch.device
) -> Iterator[tuple[list[str], Tensor, list[np.ndarray]]]:
    """Names, images (n, 3, S, S) as loaders show them in evaluation, and the pictures, uint8 (H, W, 3) each."""
    names, pixels, originals = [], [], []
    for name, path in pictures.files():
        try:
            original, shown = _both(path, preset.image_size)
        except DataError as error:
            pictures.refuse(error)
            continue
        names.append(name)
        pixels.append(shown)
        originals.append(original)
        if len(names) == batch_size:
            yield names, normalise(torch.stack(pixels).to(device), preset), originals
            names, pixels, originals = [], [], []
    if names:
        yield names, normalise(torch.stack(pixels).to(device), preset), originals


def _both(path, side: int) -> tuple[np.ndarray, Tensor]:
    quieten()
    try:
        with Image.open(path) as opened, room_for(opened):
            picture = rgb(opened)
            small = picture.resize((side, side), Image.Resampling.BILINEAR)
            shown = torch.from_numpy(np.asarray(small).transpose(2, 0, 1).copy())  # (3, S, S)
            return np.asarray(picture).copy(), shown
    except Exception as error:  # Pillow raises almost any type, by where the damage is
        raise DataError(f"{show(path)} cannot be decoded: {why(error)}") from None
