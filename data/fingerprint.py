"""A fingerprint of what a data set holds, wherever it lies, by which a resumed run recognises its data."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from data.decoding import DataError
from utils.system.terminal import reason, show


def of_files(root: Path, sides: Sequence[tuple[Sequence[Path], Sequence[int]]]) -> str:
    """The fingerprint of files: their names below ``root``, sizes in bytes and a number each, in their order.

    ``sides``: paths and numbers, such as class indices. No content is read. Raises DataError for a missing file.
    """
    digest = hashlib.sha256()
    for paths, labels in sides:
        for path, label in zip(paths, labels, strict=True):
            try:
                size = os.stat(path, follow_symlinks=os.path.exists(path)).st_size  # some links lead nowhere
            except OSError as error:
                raise DataError(f"{show(path)} cannot be read: {reason(error)}") from None
            digest.update(b"%s\0%d\0%d\0" % (os.fsencode(path.relative_to(root).as_posix()), size, label))
        digest.update(b"\0")
    return digest.hexdigest()


def of_tensors(*tensors: torch.Tensor) -> str:
    """The fingerprint of pixels and labels as they are stored, before anything is resized."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()


def of_plain(values: Iterable[Any]) -> str:
    """The fingerprint of plain values, as JSON has them."""
    return hashlib.sha256(b"".join(json.dumps(value, sort_keys=True).encode() + b"\0" for value in values)).hexdigest()
