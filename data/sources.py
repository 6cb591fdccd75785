"""What a recognised data set is, before it is read, and the simplest one: the digits of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn import functional as F

from data import presets
from data.fingerprint import of_tensors
from data.images import LABELS, Images
from data.presets import Preset
from data.splits import split_indices

BAD_IMAGES = ("stop", "skip")  # at an image or an annotation that cannot be used
CACHES = ("auto", "ram", "none")  # where the decoded images of a folder are kept


class Parts(NamedTuple):
    """What reading a data set gave. ``skipped``: a message for each image or annotation that was left out.

    ``classes``: their names, where reading had to tell them. ``fingerprint``: of the content.
    """

    train: Images
    val: Images
    skipped: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True)
class Source:
    """A data set that was recognised but not read: enough to refuse what cannot work.

    ``read``: called by :func:`data.datasets.load`.
    ``targets``: what its images have, ``labels``, ``masks`` or ``boxes``.
    """

    name: str
    classes: tuple[str, ...]
    preset: Preset
    notices: tuple[str, ...]
    read: Callable[..., Parts]
    targets: str = LABELS


def resized(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """uint8 (n, C, S, S) -> uint8 (n, C, size, size); the same tensor where nothing changes."""
    if pixels.shape[-1] == size:
        return pixels
    result = torch.empty(*pixels.shape[:2], size, size, dtype=torch.uint8)
    for old, new in zip(pixels.split(1000), result.split(1000), strict=True):  # floats of all would not fit
        resized = F.interpolate(old.float(), size=(size, size), mode="bilinear", antialias=True)
        new.copy_(resized.round().clamp(0, 255))
    return result


def digits(image_size: int | None) -> Source:
    """1,797 handwritten digits of 8x8 pixels that scikit-learn ships, three equal channels, every fifth in val."""

    def read(**_options) -> Parts:
        from sklearn.datasets import load_digits

        stored = load_digits()  # grey values from 0 to 16
        grey = torch.from_numpy(stored.images).mul(255 / 16).round().to(torch.uint8)[:, None]  # (n, 1, 8, 8)
        pixels = resized(grey, preset.image_size).expand(-1, 3, -1, -1).contiguous()  # (n, 3, S, S)
        everything = Images(torch.from_numpy(stored.target).long(), preset.image_size, pixels)
        rest, held_out = split_indices(everything.labels, 0.2, seed=0)
        fingerprint = of_tensors(grey, everything.labels)
        return Parts(everything.subset(rest), everything.subset(held_out), fingerprint=fingerprint)

    preset = presets.small(image_size or 32, flip=False, cutout=0)
    return Source("digits", tuple("0123456789"), preset, (), read)
