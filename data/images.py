"""Labelled images, either decoded in memory or as files, and the decoding of one file."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor
from tqdm import tqdm

from utils.system.errors import UsageError


class DataError(UsageError):
    """Data that cannot be used: the message is one line that names what and where."""


class DownloadError(DataError):
    """A download that did not succeed."""


@dataclass(frozen=True)
class Images:
    """n images with their class indices: ``pixels``, uint8 (n, 3, S, S), or else ``paths``, decoded on demand.

    ``size``: the side S in pixels that a file is resized to when it is decoded.
    """

    labels: Tensor
    size: int
    pixels: Tensor | None = None
    paths: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> Images:
        """The images at these positions, in this order."""
        if self.pixels is not None:
            return replace(self, labels=self.labels[indices], pixels=self.pixels[indices])
        return replace(self, labels=self.labels[indices], paths=tuple(self.paths[i] for i in indices.tolist()))

    def decoded(self, index: int) -> Tensor:
        """One image, uint8 (3, S, S). Raises DataError that names the file."""
        return self.pixels[index] if self.pixels is not None else decode(self.paths[index], self.size)


def decode(path: Path, size: int) -> Tensor:
    """The image in a file as RGB, turned as its EXIF says, resized to (3, size, size), uint8.

    A JPEG much larger than ``size`` is decoded at a half, a quarter or an eighth (libjpeg's draft mode).
    Raises DataError that names the file.
    """
    try:
        with Image.open(path) as image:
            image.draft("RGB", (size, size))
            image = _rgb(_upright(image))
            if image.size != (size, size):
                image = image.resize((size, size), Image.Resampling.BILINEAR)
            # Turned by NumPy: torch would start threads for it, which on busy cores takes longer than decoding.
            return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} cannot be decoded: {reason}") from None


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image) -> Image.Image:
    """Turned as the EXIF says; a damaged EXIF, common in photographs whose pixels are sound, counts as none.

    ImageOps.exif_transpose would write the EXIF anew and raise struct.error there.
    """
    image.load()
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # whatever the parsers of Pillow raise at random bytes
        turn = None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB: 16-bit greys are scaled, not clipped; transparency is laid on black."""
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.float32) / 257
        return Image.fromarray(grey.clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("LA", "PA", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("RGBA", "RGBa"):
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    return image.convert("RGB")


def decode_all(
    paths: Sequence[Path], size: int, *, keep: bool, skip_bad: bool, what: str
) -> tuple[Tensor | None, list[int], list[str]]:
    """Decode every file once, in threads: (pixels if ``keep``, positions of good files, messages of bad ones).

    Without ``skip_bad`` the first bad file, in the order of ``paths``, raises DataError.
    """
    pixels = torch.empty(len(paths), 3, size, size, dtype=torch.uint8) if keep else None
    good: list[int] = []
    bad: list[str] = []

    def one(path: Path) -> Tensor | DataError:
        try:
            return decode(path, size)
        except DataError as error:
            return error

    with ThreadPoolExecutor() as pool:
        progress = tqdm(_ordered(pool, one, paths), total=len(paths), desc=what, disable=None, leave=False)
        for position, result in enumerate(progress):
            if isinstance(result, DataError):
                if not skip_bad:
                    raise result
                bad.append(str(result))
                continue
            if pixels is not None:
                pixels[len(good)] = result
            good.append(position)
    return (None if pixels is None else pixels[: len(good)]), good, bad


def _ordered(pool: ThreadPoolExecutor, one, paths: Sequence[Path], ahead: int = 256):
    """Results in the order of ``paths``; at most ``ahead`` of them wait in memory."""
    waiting = []
    for path in paths:
        waiting.append(pool.submit(one, path))
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()
