"""The images of one side of a data set with what is known of each, as files or decoded in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from tqdm import tqdm

from data.decoding import DataError, Size, decode
from data.dense.masks import decode_mask
from utils.system.memory import memory_share

LABELS, MASKS, BOXES = "labels", "masks", "boxes"  # what a task reads of an image besides its pixels
Target = int | dict[str, Tensor]  # a class, {"mask": (S, S)} or {"boxes": (m, 4), "labels": (m,)}


class Entry(NamedTuple):
    """A picture in a file with its class, its mask, or its boxes.

    ``boxes``: (m, 5): x1, y1, x2, y2 as shares of width and height, and class; an array, since workers could be given a
    few hundred tensors at most, each by a file of its own. ``size``: width and height as annotations state them.
    ``as_stored``: whether annotations are of the picture as it is stored, whatever EXIF says.
    """

    path: Path
    label: int = 0
    mask: Path | None = None
    boxes: np.ndarray | None = None
    size: Size | None = None
    as_stored: bool = False


@dataclass(frozen=True)
class Images:
    """n images, each with its class in ``labels`` (n,), or with a mask or boxes; then all labels are 0.

    ``size``: the side S in pixels to which files are resized. ``entries``: the files and what belongs to them.
    ``pixels``, uint8 (n, 3, S, S), and ``maps``, uint8 (n, S, S): images and masks where they are kept in memory.
    ``num_classes``: masks hold ids below it.
    """

    labels: Tensor
    size: int
    pixels: Tensor | None = None
    entries: tuple[Entry, ...] = ()
    maps: Tensor | None = None
    num_classes: int = 0

    @classmethod
    def of(cls, entries: Sequence[Entry], size: int, num_classes: int = 0) -> Images:
        """The images of files, not decoded yet."""
        labels = torch.tensor([entry.label for entry in entries], dtype=torch.long)
        return cls(labels, size, entries=tuple(entries), num_classes=num_classes)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def targets(self) -> str:
        """What each image has: LABELS, MASKS or BOXES."""
        if self.entries and self.entries[0].mask is not None:
            return MASKS
        return BOXES if self.entries and self.entries[0].boxes is not None else LABELS

    def subset(self, indices: Tensor) -> Images:
        """The images at these positions, in this order."""
        tensors = {name: getattr(self, name) for name in ("labels", "pixels", "maps")}
        chosen = {name: values[indices] for name, values in tensors.items() if values is not None}
        entries = tuple(self.entries[i] for i in indices.tolist()) if self.entries else ()
        return replace(self, entries=entries, **chosen)

    def sample(self, index: int) -> tuple[Tensor, Target]:
        """One image, uint8 (3, S, S), and its target. Raises DataError that names the file."""
        # What is kept in memory is not read again; masks go with their images.
        pixels, ids = self.decoded(index) if self.pixels is None else (self.pixels[index], None)
        if self.targets == LABELS:
            return pixels, int(self.labels[index])
        if self.targets == MASKS:
            ids = self.maps[index] if ids is None else ids
            return tv_tensors.Image(pixels), {"mask": tv_tensors.Mask(ids)}
        shares, side = torch.from_numpy(self.entries[index].boxes), self.size  # (m, 5)
        # As tv_tensors, corners and masks go through torchvision's transforms with the image.
        corners = tv_tensors.BoundingBoxes(shares[:, :4] * side, format="XYXY", canvas_size=(side, side))
        return tv_tensors.Image(pixels), {"boxes": corners, "labels": shares[:, 4].long()}

    def decoded(self, index: int) -> tuple[Tensor, Tensor | None]:
        """Decode one image, (3, S, S), and its mask, (S, S) or None; both uint8. Raises DataError."""
        entry, ids = self.entries[index], None
        if entry.mask is not None:
            ids = decode_mask(entry.mask, self.size, entry.size, entry.path, self.num_classes)
        return decode(entry.path, self.size, upright=not entry.as_stored), ids


def decode_all(images: Images, *, keep: bool, skip_bad: bool, what: str) -> tuple[Images, list[str]]:
    """Decode every image and mask once, in threads: those that are sound, in memory if ``keep``, and messages.

    Without ``skip_bad`` the first that is not sound, in the order of ``images``, raises DataError.
    """
    n, side = len(images), images.size
    kept = {"pixels": torch.empty(n, 3, side, side, dtype=torch.uint8)} if keep else {}
    if keep and images.targets == MASKS:
        kept["maps"] = torch.empty(n, side, side, dtype=torch.uint8)
    good: list[int] = []
    bad: list[str] = []
    results = in_threads(images.decoded, range(n))
    for position, result in enumerate(tqdm(results, total=n, desc=what, disable=None, leave=False)):
        if isinstance(result, DataError):
            if not skip_bad:
                raise result
            bad.append(str(result))
            continue
        # Sound images move up, so that the bad ones leave no gap.
        for tensor, values in zip(kept.values(), result, strict=False):
            tensor[len(good)] = values
        good.append(position)
    sound = images.subset(torch.tensor(good, dtype=torch.long))
    return replace(sound, **{name: tensor[: len(good)] for name, tensor in kept.items()}), bad


def read_sides(
    sides: Mapping[str, Images], *, must_keep: bool, bad_images: str, cache: str, log: Callable[[str], None]
) -> tuple[list[Images], list[str]]:
    """Images of files, decoded where they are kept or checked, and a message for each that was left out.

    ``must_keep``: small images are always kept. ``bad_images``, ``cache``: as for :func:`data.datasets.load`.
    Raises DataError.
    """
    # Bytes: three channels of an image, and one of its mask.
    needed = sum(len(side) * (4 if side.targets == MASKS else 3) * side.size**2 for side in sides.values())
    share = memory_share()
    keep = must_keep or cache == "ram" or (cache == "auto" and needed < share)
    where = "kept in memory" if keep else "read from disk as needed"
    if keep:
        require_room(needed)
    elif cache == "auto":
        where = f"more than the {share / 1e9:.2f} GB that may be kept, so they are {where}"
    log(f"decoded images take {needed / 1e9:.2f} GB: {where}")
    if not keep and bad_images == "stop":
        log("no image was checked: a bad one stops the run when it is met; python -m data.check finds it before")
        return list(sides.values()), []
    skip_bad = bad_images == "skip"
    read = [decode_all(images, keep=keep, skip_bad=skip_bad, what=side) for side, images in sides.items()]
    return [images for images, _ in read], [message for _, bad in read for message in bad]


def require_room(needed: int) -> None:
    """Refuse what would be killed halfway: more than all of the memory that one process may take."""
    most = 2 * memory_share()
    if needed > most:
        raise DataError(
            f"decoded images take {needed / 1e9:.2f} GB, and {most / 1e9:.2f} GB of memory are left to each process: "
            "use --cache none for large images, a smaller --image_size, fewer processes or more memory"
        )


def in_threads(read: Callable[[Any], Any], items: Iterable, ahead: int = 256) -> Iterator[Any]:
    """What ``read`` gives for every item, or the DataError that it raises, in the order of the items.

    At most ``ahead`` results wait in memory.
    """

    def one(item: Any) -> Any:
        try:
            return read(item)
        except DataError as error:
            return error

    waiting = deque()
    with ThreadPoolExecutor() as pool:
        for item in items:
            waiting.append(pool.submit(one, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
