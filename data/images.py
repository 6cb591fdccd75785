"""Labelled images, either decoded in memory or as files, and the decoding of many files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import get_worker_info
from tqdm import tqdm

from data.decoding import DataError, decode_array


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

    def unlabelled(self) -> Images:
        """The same images, all of class 0."""
        return replace(self, labels=torch.zeros_like(self.labels))

    def decoded(self, index: int) -> Tensor:
        """One image, uint8 (3, S, S). Raises DataError that names the file."""
        return self.pixels[index] if self.pixels is not None else decode(self.paths[index], self.size)


def decode(path: Path, size: int) -> Tensor:
    """The image in a file as :func:`data.decoding.decode_array` gives it; (3, size, size), uint8.

    Raises DataError that names the file.
    """
    worker = get_worker_info()
    return torch.from_numpy(decode_array(path, size, 1 if worker is None else worker.num_workers))


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
        progress = tqdm(in_order(pool, one, paths), total=len(paths), desc=what, disable=None, leave=False)
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


def in_order(pool: ThreadPoolExecutor, one: Callable, items: Iterable, ahead: int = 256) -> Iterator:
    """The results of calling ``one`` for every item in threads, in the order of the items.

    At most ``ahead`` results wait in memory.
    """
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(one, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
