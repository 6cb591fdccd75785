"""Pictures of unknown class: every file of a folder and its subfolders, decoded as it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from data.augment import normalise
from data.images import DataError, decode, in_order
from data.large_images import evaluation_transform
from data.listing import is_system
from data.presets import Preset
from utils.system.terminal import show

AHEAD = 64  # decoded pictures that wait for their batch


@dataclass
class Pictures:
    """The pictures in ``path``: a file, or all files below a folder, whatever they are called.

    Content decides what is a picture. ``bad`` is told of each file that cannot be decoded. The counts tell what was
    left out so far.
    """

    path: Path
    bad: Callable[[DataError], None]
    undecodable: int = 0
    hidden: int = 0
    irregular: int = 0

    def files(self) -> Iterator[tuple[str, Path]]:
        """Names relative to the folder, and paths; in sorted order, folder by folder."""
        if self.path.is_dir():
            yield from self._below(self.path, "", ())
        elif self.path.is_file():
            yield self.path.name, self.path

    def _below(self, folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, Path]]:
        try:
            status = os.stat(folder)
            with os.scandir(folder) as listing:
                found = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            self.refuse(DataError(f"{show(folder)} cannot be read: {error.strerror}"))
            return
        here = (status.st_dev, status.st_ino)
        if here in above:  # a link to a folder around it leads round and round
            self.irregular += 1
            return
        for entry in found:
            path = folder / entry.name
            if entry.name.endswith(".writing"):  # our own predictions, while they are written
                continue
            if is_system(entry.name):
                self.hidden += 1
            elif entry.is_dir():
                yield from self._below(path, f"{prefix}{entry.name}{os.sep}", (*above, here))
            elif entry.is_file():
                yield f"{prefix}{entry.name}", path
            else:
                self.irregular += 1

    def refuse(self, error: DataError) -> None:
        """Count a file that cannot be decoded, and say so."""
        self.undecodable += 1
        self.bad(error)

    def batches(self, preset: Preset, batch_size: int, device: torch.device) -> Iterator[tuple[list[str], Tensor]]:
        """Names and images (n, 3, S, S) as evaluation shows them to a network; memory holds one batch at a time."""

        def one(file: tuple[str, Path]) -> tuple[str, Tensor | DataError]:
            try:
                return file[0], decode(file[1], preset.decoded_size)
            except DataError as error:
                return file[0], error

        names, pixels = [], []
        with ThreadPoolExecutor() as pool:
            for name, found in in_order(pool, one, self.files(), AHEAD):
                if isinstance(found, DataError):
                    self.refuse(found)
                    continue
                names.append(name)
                pixels.append(found)
                if len(names) == batch_size:
                    yield names, _shown(pixels, preset, device)
                    names, pixels = [], []
        if names:
            yield names, _shown(pixels, preset, device)

    def left_out(self) -> str:
        """How many files were left out and why; empty where none was."""
        counts = (
            (self.undecodable, "that cannot be decoded"),
            (self.hidden, "hidden or of the system"),
            (self.irregular, "that are no files (pipes, broken or circular links)"),
        )
        return ", ".join(f"{count} {why}" for count, why in counts if count)


def _shown(pixels: list[Tensor], preset: Preset, device: torch.device) -> Tensor:
    """n times uint8 (3, D, D) -> normalised float32 (n, 3, S, S) on the device, as the loaders give them."""
    if preset.is_small:
        return normalise(torch.stack(pixels).to(device), preset)  # (n, 3, S, S)
    transform = evaluation_transform(preset)
    return torch.stack([transform(image) for image in pixels]).to(device)  # (n, 3, S, S)
