"""The decoding of one file: any picture as 8-bit RGB, by stated rules, in the memory that there is.

Whatever a decoder raises is a fault of the file, and the DataError that it becomes names the file.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from utils.system.errors import UsageError
from utils.system.memory import give_back, memory_share
from utils.system.terminal import reason, show


class DataError(UsageError):
    """Data that cannot be used: the message is one line that names what and where."""


def decode_array(path: Path, size: int, sharers: int = 1) -> np.ndarray:
    """The image in a file as RGB, turned as its EXIF says, resized to (3, size, size), uint8.

    A JPEG much larger than ``size`` is decoded at a half, a quarter or an eighth (libjpeg's draft mode).
    ``sharers``: processes that decode at the same time. Raises DataError that names the file.
    """
    quieten()
    try:
        with Image.open(path) as original:
            original.draft("RGB", (size, size))
            with room_for(original, sharers), closing(original):  # which frees its pixels
                image = rgb(original)
                if image.size != (size, size):
                    image = image.resize((size, size), Image.Resampling.BILINEAR)
                # Turned by NumPy: torch would start threads for it, which on busy cores takes longer than decoding.
                return np.asarray(image).transpose(2, 0, 1).copy()  # (size, size, 3) -> (3, size, size)
    except Exception as error:  # Pillow raises almost any type, by where the damage is
        raise DataError(f"{show(path)} cannot be decoded: {why(error)}") from None


def why(error: Exception) -> str:
    """What a decoder raised, in one line; a bare ``index out of range`` would say too little without its type."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    usual = isinstance(error, OSError | ValueError | SyntaxError | Image.DecompressionBombError)
    text, kind = reason(error), type(error).__name__
    return text if usual or text == kind else f"{kind}: {text}"


@functools.cache
def quieten() -> None:
    """Let Pillow's decoders not write to the console, where nobody learns which file is meant.

    What they warn of is no fault: the picture is there. Of sizes, :func:`room_for` takes care.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def rgb(image: Image.Image) -> Image.Image:
    """Any mode as upright RGB: values of more than 8 bits are scaled, transparency is laid on black.

    Raises what the decoder raises, and ValueError for values whose scale nobody can know.
    """
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        return _upright(image, _eight_bits(image)).convert("RGB")
    image = _upright(image, image)
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _upright(original: Image.Image, image: Image.Image) -> Image.Image:
    """Turned as the EXIF of the original says; a damaged one, common in files that are sound, counts as none.

    ImageOps.exif_transpose would write the EXIF anew and raise struct.error there.
    """
    try:
        turn = TURNS.get(original.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # whatever the parsers of Pillow raise at random bytes
        turn = None
    return image if turn is None else image.transpose(turn)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey values of 16 or 32 bits or floats as 8 bits (docs/datasets.md). Raises ValueError for other ranges."""
    values = np.asarray(image)
    low, high = values.min().item(), values.max().item()
    grey = values.astype(np.float32)
    if image.mode == "F":
        if not 0 <= low <= high <= 1:  # a nan is nowhere
            raise ValueError(f"float values from {low:g} to {high:g}: only those in [0, 1] have a known scale")
        grey *= 255
    elif image.mode.startswith("I;16") or image.format in ("PNG", "PPM"):  # 16 bits, however small the values
        grey /= 257
    elif low < 0 or high > 65535:
        raise ValueError(f"whole values from {low} to {high}: only those in 0 to 255 or 0 to 65535 have a known scale")
    elif high > 255:
        grey /= 257
    return Image.fromarray(grey.clip(0, 255).round().astype(np.uint8))


HEAVY = 2**26  # bytes that a picture may take without asking
GIVEN_BACK = 2**28  # from so many on, what a picture took does not wait for the next one of the same thread
BYTES_PER_PIXEL, BYTES_PER_ODD_PIXEL = 12, 24  # at the peak, with all copies; odd: transparent, or not of 8 bits


class _Room:
    """Memory for large pictures: as many at once as fit into the share of this process.

    The share is asked for while none is being decoded, since what they take is missing from it later.
    """

    def __init__(self) -> None:
        self.changed, self.held, self.share = threading.Condition(), 0, 0

    def enter(self, needed: int, sharers: int) -> None:
        """Wait until ``needed`` bytes are free; ValueError where they never will be."""
        with self.changed:
            while self.held and self.held + needed > self.share:
                self.changed.wait()
            if not self.held:
                self.share = memory_share(sharers)
                if needed > self.share:
                    have = f"{self.share / 1e9:.2f} GB may be taken here"
                    raise ValueError(f"decoding it takes about {needed / 1e9:.2f} GB, and {have}")
            self.held += needed

    def leave(self, needed: int) -> None:
        """Give ``needed`` bytes back to those that wait."""
        with self.changed:
            self.held -= needed
            self.changed.notify_all()


_room = _Room()


@contextmanager
def room_for(image: Image.Image, sharers: int = 1) -> Iterator[None]:
    """Wait until a picture that was opened, but not loaded, fits into memory beside those that are being decoded.

    Raises ValueError where it never will: where it needs more than half of what is available, divided among all
    processes that decode. ``sharers``: their number, for each process that torchrun started.
    """
    plain = image.mode in ("1", "L", "P", "RGB", "CMYK", "YCbCr") and "transparency" not in image.info
    needed = image.width * image.height * (BYTES_PER_PIXEL if plain else BYTES_PER_ODD_PIXEL)
    if needed <= HEAVY:
        yield
        return
    _room.enter(needed, sharers)
    try:
        yield
    finally:
        if needed > GIVEN_BACK:
            give_back()
        _room.leave(needed)
