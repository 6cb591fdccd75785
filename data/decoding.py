"""The decoding of one file: any picture as 8-bit RGB, by the rules of docs/datasets.md."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from utils.system.errors import UsageError
from utils.system.terminal import reason, show

Size = tuple[int, int]  # width and height
Turn = Image.Transpose
TURNS = dict(  # by the orientation that EXIF states; 1 is upright
    enumerate(
        (Turn.FLIP_LEFT_RIGHT, Turn.ROTATE_180, Turn.FLIP_TOP_BOTTOM)
        + (Turn.TRANSPOSE, Turn.ROTATE_270, Turn.TRANSVERSE, Turn.ROTATE_90),
        start=2,
    )
)
HEAVY = 5_000_000  # pixels, some 60 MB with all copies; pictures with more are decoded one at a time in a process
_heavy = threading.Lock()


class DataError(UsageError):
    """Data that cannot be used: the message is one line that names what and where."""


Fault = Callable[[str], None]  # takes what is wrong with an entry, in one line; may raise, or have it left out


def refuse(text: str) -> None:
    """The fault of a run that stops at it. Raises DataError."""
    raise DataError(text)


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image file, not decoded yet. Whatever Pillow raises in the body is a DataError that names the file."""
    quieten()
    try:
        with Image.open(path) as image:
            yield image
    except DataError:
        raise
    except Exception as error:  # Pillow raises almost any type, by where the damage is
        raise DataError(f"{show(path)} cannot be decoded: {why(error)}") from None


def decode(path: Path, size: int, *, upright: bool = True) -> Tensor:
    """The image in a file as RGB, resized to (3, size, size), uint8; turned as its EXIF says if ``upright``.

    A JPEG much larger than ``size`` is decoded at a half, a quarter or an eighth (libjpeg's draft mode).
    Raises DataError that names the file.
    """
    with opened(path) as original:
        original.draft("RGB", (size, size))
        with decoding(original):
            image = rgb(original, upright=upright)
            if image.size != (size, size):
                image = image.resize((size, size), Image.Resampling.BILINEAR)
            # Transposed by NumPy: torch would start threads for it, which on busy cores takes longer than decoding.
            return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())  # (size, size, 3) -> (3, size, size)


def stored_size(path: Path) -> tuple[Size, int]:
    """Width and height of a picture as it is stored, and its orientation by EXIF, 1 to 8. Raises DataError."""
    with opened(path) as image:
        return image.size, orientation(image)


def upright_size(path: Path) -> Size:
    """Width and height of a picture, turned as its EXIF says. Raises DataError."""
    size, turned = stored_size(path)
    return size[::-1] if turned >= 5 else size  # from 5 on, width and height change places


def why(error: Exception) -> str:
    """What a decoder raised, in one line; a bare ``index out of range`` would say too little without its type."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    usual = isinstance(error, OSError | ValueError | SyntaxError | Image.DecompressionBombError)
    text, kind = reason(error), type(error).__name__
    return text if usual or text == kind else f"{kind}: {text}"


@functools.cache
def quieten() -> None:
    """Keep the warnings of decoders off the console: the picture is there, and they do not name the file."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def orientation(image: Image.Image) -> int:
    """How EXIF says that a picture is turned, 1 to 8; 1 where a damaged EXIF, common in sound files, says nothing."""
    try:
        stated = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # whatever the parsers of Pillow raise at random bytes
        return 1
    return stated if stated in TURNS else 1


def rgb(image: Image.Image, *, upright: bool = True) -> Image.Image:
    """Any mode as RGB: values of more than 8 bits are scaled, transparency is laid on black.

    Raises what the decoder raises, and ValueError for values whose scale nobody can know.
    """
    image.load()
    turn = TURNS.get(orientation(image)) if upright else None
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if turn is not None:  # ImageOps.exif_transpose would write the EXIF anew, and fail at a damaged one
        image = image.transpose(turn)
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey values of 16 or 32 bits or floats as 8 bits (docs/datasets.md). Raises ValueError for other ranges."""
    values = np.asarray(image)
    low, high = values.min().item(), values.max().item()
    grey = values.astype(np.float32)
    if image.mode == "F":
        if not 0 <= low <= high <= 1:  # false for nan, too
            raise ValueError(f"float values from {low:g} to {high:g}: only those in [0, 1] have a known scale")
        grey *= 255
    elif image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):  # 16 bits, however small the values
        grey /= 257
    elif low < 0 or high > 65535:
        raise ValueError(f"whole values from {low} to {high}: only those in 0 to 255 or 0 to 65535 have a known scale")
    elif high > 255:
        grey /= 257
    return Image.fromarray(grey.clip(0, 255).round().astype(np.uint8))


def decoding(image: Image.Image) -> AbstractContextManager:
    """Within this a picture, opened but not loaded, is decoded: a large one waits until no other large one is."""
    return _heavy if image.width * image.height > HEAVY else nullcontext()
