"""A fingerprint of what a data set holds, wherever it lies: to tell whether a run goes on with the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from data.images import DataError
from utils.system.terminal import reason, show


def of_files(root: Path, sides: Sequence[tuple[Sequence[Path], Sequence[int]]]) -> str:
    """Of the names below ``root``, the sizes in bytes and the classes of files, in their order. Reads no content."""
    digest = hashlib.sha256()
    for paths, labels in sides:
        for path, label in zip(paths, labels, strict=True):
            try:
                size = os.stat(path).st_size
            except OSError as error:
                raise DataError(f"{show(path)} cannot be read: {reason(error)}") from None
            digest.update(b"%s\0%d\0%d\0" % (os.fsencode(path.relative_to(root).as_posix()), size, label))
        digest.update(b"\0")
    return digest.hexdigest()


def of_tensors(*tensors: torch.Tensor) -> str:
    """Of pixels and labels as they are stored, before anything is resized."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()
