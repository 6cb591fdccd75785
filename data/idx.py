"""The four idx files of MNIST and its kin, packed or not, under the names that unpackers give them."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from data.decoding import DataError
from utils.system.terminal import reason, show

IDX_FILES = tuple(f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))


def find_idx(folder: Path) -> list[Path]:
    """Those of the four files that lie in a folder, in the order of IDX_FILES; unpacked ones before packed ones."""
    spellings = [[name, name.replace("-idx", ".idx")] for name in IDX_FILES]
    candidates = [[folder / f"{name}{end}" for end in ("", ".gz") for name in names] for names in spellings]
    files = [next((path for path in paths if path.is_file()), None) for paths in candidates]
    return [path for path in files if path]


def read_idx(files: list[Path]) -> list[np.ndarray]:
    """Images and labels for training, then those for testing, uint8. Raises DataError for damaged files."""
    return [_read(path, axes) for path, axes in zip(files, (3, 1, 3, 1), strict=True)]


def _read(path: Path, axes: int) -> np.ndarray:
    """The array in a file: 0, 0, 8 for bytes, the number of axes, four bytes for the length of each, then values."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{show(path)} is damaged: {reason(error)}; remove it to have it downloaded again") from None
    head = 4 + 4 * axes
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, head, 4)]
    if content[:4] != bytes((0, 0, 8, axes)) or len(content) != head + math.prod(shape):
        what = f"no whole idx file of bytes with {axes} axes"
        raise DataError(f"{show(path)} is damaged, {what}; remove it to have it downloaded again")
    return np.frombuffer(bytearray(content), np.uint8, offset=head).reshape(shape)
