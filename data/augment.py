"""Crop, flip, normalise and cutout for whole batches of small images, on whatever device they live.

The draws are a handful of integers an image, taken from a CPU generator, so they are the same on every device.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from data.presets import Preset


class Draws(NamedTuple):
    """For each of n images: crop offsets, whether it is mirrored, and the centre of the blanked square; (n,)."""

    top: Tensor
    left: Tensor
    mirrored: Tensor
    cut_row: Tensor
    cut_column: Tensor

    def part(self, share: slice) -> Draws:
        """The draws of some of the images, as those of one process."""
        return Draws(*(values[share] for values in self))

    def to(self, device: torch.device) -> Draws:
        """The same draws on a device."""
        return Draws(*(values.to(device, non_blocking=True) for values in self))


def padding(preset: Preset) -> int:
    """How far a random crop may shift an image: an eighth of its side, 4 at 32."""
    return preset.image_size // 8


def draw(n: int, preset: Preset, generator: torch.Generator) -> Draws:
    """The random choices for n images: crops uniform over all shifts, mirrored with probability 1/2."""
    shifts, side = 2 * padding(preset) + 1, preset.image_size

    def integers(high: int) -> Tensor:
        return torch.randint(high, (n,), generator=generator)

    mirrored = integers(2).bool() if preset.flip else torch.zeros(n, dtype=torch.bool)
    return Draws(integers(shifts), integers(shifts), mirrored, integers(side), integers(side))


def normalise(pixels: Tensor, preset: Preset) -> Tensor:
    """uint8 (n, 3, S, S) -> float32 with mean 0 and deviation 1 a channel over the data set."""
    # (3, 1, 1) each
    mean, std = (torch.tensor(v, device=pixels.device)[:, None, None] * 255 for v in (preset.mean, preset.std))
    return (pixels.float() - mean) / std


def crop(pixels: Tensor, draws: Draws, preset: Preset) -> Tensor:
    """uint8 (n, 3, S, S) -> uint8 of the same shape: zero-padded random crop, mirrored or not."""
    n, side, pad = len(pixels), preset.image_size, padding(preset)
    padded = F.pad(pixels, (pad,) * 4)  # (n, 3, S + 2 pad, S + 2 pad)
    steps = torch.arange(side, device=pixels.device)  # (S,)
    columns = torch.where(draws.mirrored[:, None], steps.flip(0), steps) + draws.left[:, None]  # (n, S)
    rows = steps + draws.top[:, None]  # (n, S)
    # Flat positions within one padded plane, the same for the three channels: (n, S, S) -> (n, 1, S * S).
    positions = (rows[:, :, None] * padded.shape[-1] + columns[:, None, :]).view(n, 1, -1)
    taken = padded.flatten(2).gather(2, positions.expand(-1, 3, -1))  # (n, 3, S * S)
    return taken.view(n, 3, side, side)


def cut_out(images: Tensor, draws: Draws, preset: Preset) -> Tensor:
    """Blank a square of normalised images (n, 3, S, S) with zeros.

    DeVries and Taylor, arXiv 1708.04552; the square is clipped at the border.
    """
    if not preset.cutout:
        return images
    rows, columns = _outside(draws.cut_row, preset), _outside(draws.cut_column, preset)  # (n, S) each
    kept = rows[:, None, :, None] | columns[:, None, None, :]  # (n, 1, S, S)
    return images * kept


def augment(pixels: Tensor, draws: Draws, preset: Preset) -> Tensor:
    """uint8 (n, 3, S, S) -> normalised float32: crop, mirror, then cutout."""
    return cut_out(normalise(crop(pixels, draws, preset), preset), draws, preset)


def _outside(centre: Tensor, preset: Preset) -> Tensor:
    """(n, S): whether a row or column lies outside the square around ``centre``."""
    first = centre[:, None] - preset.cutout // 2  # (n, 1)
    steps = torch.arange(preset.image_size, device=centre.device)  # (S,)
    return (steps < first) | (steps >= first + preset.cutout)
