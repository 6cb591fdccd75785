"""Pictures without labels: every file of a folder and its subfolders, decoded as it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.decoding import DataError, decode, decoding, opened, rgb
from data.folders import is_system
from data.images import in_threads
from data.presets import Preset
from data.transforms import evaluation_transform, normalise
from utils.system.terminal import show

AHEAD = 64  # decoded pictures that wait for their batch


@dataclass
class Pictures:
    """The pictures in ``path``: a file, or all files below a folder, whatever they are called.

    Content decides what is a picture. ``bad`` takes the error of each file that cannot be decoded. ``left_out``: how
    many were left out so far: these, hidden ones, and what is no file, such as pipes, and links that lead nowhere.
    """

    path: Path
    bad: Callable[[DataError], None]
    left_out: int = 0

    def files(self) -> Iterator[tuple[str, Path]]:
        """Names relative to the folder, and paths; folder by folder, each in sorted order."""
        if os.path.isfile(self.path):
            yield self.path.name, self.path
        if not os.path.isdir(self.path):
            return
        entered = set()
        for top, folders, names in os.walk(self.path, onerror=self._unreadable, followlinks=True):
            if (real := os.path.realpath(top)) in entered:  # a link to a folder around it leads round and round
                self.left_out += 1
                folders.clear()
                continue
            entered.add(real)
            self.left_out += sum(map(is_system, [*folders, *names]))
            folders[:] = sorted(name for name in folders if not is_system(name))
            for name in sorted(name for name in names if not is_system(name)):
                path = Path(top, name)
                if os.path.isfile(path):  # unlike Path.is_file, false for a link that nobody may follow
                    yield os.path.relpath(path, self.path), path
                else:
                    self.left_out += 1

    def _unreadable(self, error: OSError) -> None:
        self.refuse(DataError(f"{show(error.filename)} cannot be read: {error.strerror}"))

    def refuse(self, error: DataError) -> None:
        """Count a file that cannot be decoded, and say so."""
        self.left_out += 1
        self.bad(error)

    def batches(self, preset: Preset, batch_size: int, device: torch.device) -> Iterator[tuple[list[str], Tensor]]:
        """Names and images (n, 3, S, S) as evaluation shows them to a network; memory holds one batch at a time."""
        transform = evaluation_transform(preset)  # of large images
        for names, pixels in self._groups(lambda path: decode(path, preset.decoded_size), AHEAD, batch_size):
            if preset.is_small:
                yield names, normalise(torch.stack(pixels).to(device), preset)  # (n, 3, S, S)
            else:
                yield names, torch.stack([transform(image) for image in pixels]).to(device)  # (n, 3, S, S)

    def whole_batches(
        self, preset: Preset, batch_size: int, device: torch.device
    ) -> Iterator[tuple[list[str], Tensor, list[np.ndarray]]]:
        """Names, images (n, 3, S, S), each squeezed into its square, and the pictures as they are, uint8 (H, W, 3)."""
        for names, both in self._groups(partial(_with_original, side=preset.image_size), 1, batch_size):
            pixels, originals = zip(*both, strict=True)
            yield names, normalise(torch.stack(pixels).to(device), preset), list(originals)

    def _groups(self, read: Callable[[Path], Any], ahead: int, size: int) -> Iterator[tuple[list[str], list]]:
        """Names and what ``read`` makes of their files, in groups; files that cannot be read are refused."""
        results = self._results(read, ahead)
        while group := list(islice(results, size)):
            yield [name for name, _ in group], [result for _, result in group]

    def _results(self, read: Callable[[Path], Any], ahead: int) -> Iterator[tuple[str, Any]]:
        for result in in_threads(lambda file: (file[0], read(file[1])), self.files(), ahead):
            if isinstance(result, DataError):
                self.refuse(result)
            else:
                yield result


def _with_original(path: Path, side: int) -> tuple[Tensor, np.ndarray]:
    """A picture in a file as uint8 (3, side, side) and as it is, uint8 (H, W, 3)."""
    with opened(path) as image, decoding(image):
        picture = rgb(image)
        small = picture.resize((side, side), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.asarray(small).transpose(2, 0, 1).copy()), np.asarray(picture).copy()
