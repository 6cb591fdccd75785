"""A data set, recognised and then read, and the simplest one: the digits of scikit-learn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F

from data import presets
from data.images import LABELS, Images
from data.presets import Preset
from data.splits import split_indices

BAD_IMAGES = ("stop", "skip")  # at an image or an annotation that cannot be used
CACHES = ("auto", "ram", "none")  # where the decoded images of a folder are kept


@dataclass(frozen=True)
class Dataset:
    """A data set with class names in index order and the preset that fits it: enough to refuse what cannot work.

    ``read``: gives it with its images; called by :func:`data.datasets.load`. ``targets``: what they have, ``labels``,
    ``masks`` or ``boxes``. ``notices``, ``skipped``: lines about what is odd, and about what was left out.
    ``train``, ``val``: the images to train on and to report on, once they are read. ``fingerprint``: of what it holds,
    wherever it lies, by which a resumed run recognises its data.
    """

    name: str
    classes: tuple[str, ...]
    preset: Preset
    read: Callable[..., Dataset]
    targets: str = LABELS
    notices: tuple[str, ...] = ()
    train: Images | None = None
    val: Images | None = None
    skipped: tuple[str, ...] = ()
    fingerprint: str = ""

    def facts(self) -> dict[str, object]:
        """Plain values for a checkpoint: what a network needs to know of the images it was trained on."""
        return {
            "dataset": self.name,
            "classes": list(self.classes),
            "image_size": self.preset.image_size,
            "statistics": {"mean": list(self.preset.mean), "std": list(self.preset.std)},
            "train_images": len(self.train),
            "val_images": len(self.val),
            "skipped": list(self.skipped),
            "fingerprint": self.fingerprint,
        }


def tensor_fingerprint(*tensors: torch.Tensor) -> str:
    """The fingerprint of pixels and labels as they are stored, before anything is resized."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()


def resized(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """uint8 (n, C, S, S) -> uint8 (n, C, size, size); the same tensor where nothing changes."""
    if pixels.shape[-1] == size:
        return pixels
    result = torch.empty(*pixels.shape[:2], size, size, dtype=torch.uint8)
    for old, new in zip(pixels.split(1000), result.split(1000), strict=True):  # floats of all would not fit
        resized = F.interpolate(old.float(), size=(size, size), mode="bilinear", antialias=True)
        new.copy_(resized.round().clamp(0, 255))
    return result


def digits(image_size: int | None) -> Dataset:
    """1,797 handwritten digits of 8x8 pixels that scikit-learn ships, three equal channels, every fifth in val."""

    def read(recognised: Dataset, **_options) -> Dataset:
        from sklearn.datasets import load_digits

        stored, side = load_digits(), recognised.preset.image_size  # grey values from 0 to 16
        grey = torch.from_numpy(stored.images).mul(255 / 16).round().to(torch.uint8)[:, None]  # (n, 1, 8, 8)
        pixels = resized(grey, side).expand(-1, 3, -1, -1).contiguous()  # (n, 3, S, S)
        everything = Images(torch.from_numpy(stored.target).long(), side, pixels)
        train, val = map(everything.subset, split_indices(everything.labels, 0.2, seed=0))
        return replace(recognised, train=train, val=val, fingerprint=tensor_fingerprint(grey, everything.labels))

    preset = presets.small(image_size or 32, flip=False, cutout=0)
    return Dataset("digits", tuple("0123456789"), preset, read)
