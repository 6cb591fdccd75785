"""Images with a mask or with boxes each, decoded to squares of one side, and the reading of many files."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor
from torchvision import tv_tensors
from tqdm import tqdm

from data.decoding import DataError, why
from data.dense.outlines import Outlines
from data.images import decode, in_order
from utils.system.terminal import show

MASKS, BOXES = "masks", "boxes"
IGNORED = 255  # in a mask: no class is asked for here
Target = dict[str, Tensor]  # {"mask": (S, S)} or {"boxes": (m, 4), "labels": (m,)}, as tv_tensors


@dataclass(frozen=True)
class Annotated:
    """n images, each with class ids in ``masks``, a file or what is outlined, or with ``boxes``.

    ``boxes``: (m, 5) for each image: x1, y1, x2, y2 as shares of its width and height, and the class; no tensors, of
    which workers could be given a few hundred at most, each by a file of its own. ``stated``: width and height by the
    annotations, where they say. ``num_classes``: ids go up to one less. ``pixels``, uint8
    (n, 3, S, S), and ``maps``, uint8 (n, S, S): what is kept in memory, ``size`` being S.
    """

    size: int
    num_classes: int
    paths: tuple[Path, ...]
    masks: tuple[Path | Outlines, ...] = ()
    boxes: tuple[np.ndarray, ...] = ()
    stated: tuple[tuple[int, int] | None, ...] = ()
    pixels: Tensor | None = None
    maps: Tensor | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def labels(self) -> Tensor:
        """One for every image, (n,), by which splits are stratified: all the same."""
        return torch.zeros(len(self.paths), dtype=torch.long)

    def subset(self, indices: Tensor) -> Annotated:
        """The images at these positions, in this order."""
        chosen = indices.tolist()
        picked = {
            name: tuple(getattr(self, name)[i] for i in chosen)
            for name in ("paths", "masks", "boxes", "stated")
            if getattr(self, name)
        }
        kept = {name: getattr(self, name)[indices] for name in ("pixels", "maps") if getattr(self, name) is not None}
        return replace(self, **picked, **kept)

    def sample(self, index: int) -> tuple[tv_tensors.Image, Target]:
        """One image, uint8 (3, S, S), and what is in it. Raises DataError that names the file."""
        pixels, ids = self.read(index) if self.pixels is None else (self.pixels[index], None)
        image = tv_tensors.Image(pixels)
        if self.masks:
            return image, {"mask": tv_tensors.Mask(self.maps[index] if ids is None else ids)}
        found, side = torch.from_numpy(self.boxes[index]), self.size
        corners = tv_tensors.BoundingBoxes(found[:, :4] * side, format="XYXY", canvas_size=(side, side))
        return image, {"boxes": corners, "labels": found[:, 4].long()}

    def read(self, index: int) -> tuple[Tensor, Tensor | None]:
        """Decode one image, (3, S, S), and its mask, (S, S) or None; both uint8. Raises DataError."""
        path = self.paths[index]
        size = upright_size(path) if self.masks or self.stated else None
        fault = size_fault(path, size, self.stated[index] if self.stated else None)
        if fault:
            raise DataError(fault)
        ids = decode_mask(self.masks[index], self.size, size, path, self.num_classes) if self.masks else None
        return decode(path, self.size), ids


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, turned as its EXIF says. Raises DataError that names the file."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            try:
                turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            except Exception:  # whatever the parsers of Pillow raise at random bytes: it counts as none
                turned = False
    except Exception as error:  # Pillow raises almost any type, by where the damage is
        raise DataError(f"{show(path)} cannot be decoded: {why(error)}") from None
    return (height, width) if turned else (width, height)


def mask_ids(mask: Path | Outlines) -> np.ndarray:
    """The class ids in a mask, uint8 (H, W): the indices of a palette, grey values, or what is outlined.

    Raises DataError.
    """
    if isinstance(mask, Outlines):
        return mask.ids()
    path = mask
    try:
        with Image.open(path) as image:
            image.load()
            if image.mode == "1":
                return np.asarray(image).astype(np.uint8)
            if image.mode in ("P", "L"):
                return np.asarray(image).astype(np.uint8)
            mode, values = image.mode, np.asarray(image)
    except Exception as error:  # Pillow raises almost any type, by where the damage is
        raise DataError(f"{show(path)} cannot be decoded: {why(error)}") from None
    if values.ndim == 2 and values.min() >= 0 and values.max() <= 255 and np.array_equal(values, values.astype(int)):
        return values.astype(np.uint8)
    raise DataError(f"{show(path)} is of mode {mode}: a mask holds class ids, as grey values or indices of a palette")


def decode_mask(path: Path | Outlines, side: int, size: tuple[int, int], image: Path, num_classes: int) -> Tensor:
    """The ids of a mask, uint8 (side, side), of an image of (width, height) pixels. Raises DataError."""
    ids = mask_ids(path)
    fault = mask_fault(ids, path, size, image, num_classes)
    if fault:
        raise DataError(fault)
    if ids.shape != (side, side):
        ids = np.asarray(Image.fromarray(ids).resize((side, side), Image.Resampling.NEAREST))
    return torch.from_numpy(ids.copy())


def mask_fault(
    ids: np.ndarray, path: Path | Outlines, size: tuple[int, int], image: Path, num_classes: int
) -> str | None:
    """What is wrong with the mask of an image, in one line."""
    if ids.shape != size[::-1]:
        return f"{show(path)} has {_by(ids.shape[::-1])} pixels, but its image {show(image)} has {_by(size)}"
    wrong = ids[(ids >= num_classes) & (ids != IGNORED)]
    if len(wrong):
        return f"{show(path)} holds class id {wrong.max()}, but ids go from 0 to {num_classes - 1}, and 255 is ignored"
    return None


def size_fault(image: Path, size: tuple[int, int], stated: tuple[int, int] | None) -> str | None:
    """What is wrong where an image of ``size`` (width, height) is stated to have another."""
    if stated is None or stated == size:
        return None
    return f"{show(image)} has {_by(size)} pixels, but its annotations say {_by(stated)}"


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def read_all(images: Annotated, *, keep: bool, skip_bad: bool, what: str) -> tuple[Annotated, list[str]]:
    """Decode every image and mask once, in threads: those that are sound, in memory if ``keep``, and messages.

    Without ``skip_bad`` the first that is not sound raises DataError.
    """
    n, side = len(images), images.size
    pixels = torch.empty(n, 3, side, side, dtype=torch.uint8) if keep else None
    maps = torch.empty(n, side, side, dtype=torch.uint8) if keep and images.masks else None
    good: list[int] = []
    bad: list[str] = []
    with ThreadPoolExecutor() as pool:
        found = in_order(pool, _or_error(images.read), range(n))
        for position, result in enumerate(tqdm(found, total=n, desc=what, disable=None, leave=False)):
            if isinstance(result, DataError):
                if not skip_bad:
                    raise result
                bad.append(str(result))
                continue
            for kept, part in zip((pixels, maps), result, strict=True):
                if kept is not None:
                    kept[len(good)] = part
            good.append(position)
    kept = {name: part[: len(good)] for name, part in (("pixels", pixels), ("maps", maps)) if part is not None}
    return replace(images.subset(torch.tensor(good, dtype=torch.long)), **kept), bad


def _or_error(read: Callable) -> Callable:
    def one(index: int):
        try:
            return read(index)
        except DataError as error:
            return error

    return one
