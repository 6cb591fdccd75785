"""What a recognised data set is, and two kinds of it: the digits of scikit-learn and image folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn import functional as F

from data import presets
from data.fingerprint import of_files, of_tensors
from data.folders import FolderListing, is_from_above, list_folder, probe_size, without_classes
from data.images import DataError, Images, decode_all
from data.presets import Preset
from data.splits import split_indices
from utils.system.memory import memory_share


class Parts(NamedTuple):
    """What reading a data set gave. ``skipped``: a message for each file that cannot be decoded.

    ``classes``: their names, where reading had to tell them. ``fingerprint``: of the content.
    """

    train: Images
    val: Images
    skipped: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True)
class Source:
    """A data set that was recognised but not read: enough to refuse what cannot work.

    ``counts``: number of training and of validation images. ``read``: called by :func:`data.datasets.load`.
    ``targets``: what its images have, ``labels``, ``masks`` or ``boxes``.
    """

    name: str
    classes: tuple[str, ...]
    counts: tuple[int, int]
    preset: Preset
    notices: tuple[str, ...]
    read: Callable[..., Parts]
    targets: str = "labels"


def resized(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """uint8 (n, C, S, S) -> uint8 (n, C, size, size); the same tensor where nothing changes."""
    if pixels.shape[-1] == size:
        return pixels
    result = torch.empty(*pixels.shape[:2], size, size, dtype=torch.uint8)
    for old, new in zip(pixels.split(1000), result.split(1000), strict=True):  # floats of all would not fit
        resized = F.interpolate(old.float(), size=(size, size), mode="bilinear", antialias=True)
        new.copy_(resized.round().clamp(0, 255))
    return result


def digits(image_size: int | None) -> Source:
    """1,797 handwritten digits of 8x8 pixels that scikit-learn ships, three equal channels, every fifth in val."""

    def read(**_options) -> Parts:
        from sklearn.datasets import load_digits

        found = load_digits()
        grey = torch.from_numpy(found.images).mul(255 / 16).round().to(torch.uint8)[:, None]  # (n, 1, 8, 8)
        pixels = resized(grey, preset.image_size).expand(-1, 3, -1, -1).contiguous()  # (n, 3, S, S)
        everything = Images(torch.from_numpy(found.target).long(), preset.image_size, pixels)
        rest, held_out = split_indices(everything.labels, 0.2, seed=0)
        fingerprint = of_tensors(grey, everything.labels)
        return Parts(everything.subset(rest), everything.subset(held_out), fingerprint=fingerprint)

    preset = presets.small(image_size or 32, flip=False, cutout=0, no_up=presets.SIGNS)
    return Source("digits", tuple("0123456789"), (1438, 359), preset, (), read)


BAD_IMAGES = ("stop", "skip")  # at an image that cannot be decoded
CACHES = ("auto", "ram", "none")  # where the decoded images of a folder are kept


def folder(root: Path, image_size: int | None) -> Source:
    """An image folder, listed but not decoded; small where its images are, or where ``image_size`` asks for it.

    Raises DataError for what :func:`list_folder` refuses.
    """
    listing = list_folder(root)
    size = image_size or probe_size(listing.train[0])
    preset = presets.small(size) if size is not None and size <= presets.SMALL_LIMIT else presets.large(size or 224)
    if is_from_above(root):
        preset = replace(preset, no_up=presets.FROM_ABOVE)

    def read(*, bad_images: str, cache: str, labels: bool, log: Callable[[str], None], **_options) -> Parts:
        shown = listing if labels else unlabelled(listing)
        parts = _read_folder(shown, preset, bad_images, cache, log)
        return parts._replace(fingerprint=of_files(root, (listing.train, listing.val)))

    counts = (len(listing.train[0]), len(listing.val[0]))
    return Source(root.name or str(root), listing.classes, counts, preset, listing.notices, read)


def unlabelled(listing: FolderListing) -> FolderListing:
    """The same images without their classes, in an order that no class decides."""
    sides = [(without_classes(paths), (0,) * len(paths)) for paths, _ in (listing.train, listing.val)]
    return replace(listing, train=sides[0], val=sides[1])


def _read_folder(
    listing: FolderListing, preset: Preset, bad_images: str, cache: str, log: Callable[[str], None]
) -> Parts:
    sides, skipped = [], []
    size = preset.decoded_size
    needed = (len(listing.train[0]) + len(listing.val[0])) * 3 * size * size
    share = memory_share()
    keep = preset.is_small or cache == "ram" or (cache == "auto" and needed < share)
    where = "kept in memory" if keep else "read from disk as needed"
    if keep:
        require_room(needed)
    elif cache == "auto":
        where = f"more than the {share / 1e9:.2f} GB that may be kept, so they are {where}"
    log(f"decoded images take {needed / 1e9:.2f} GB: {where}")
    if not keep and bad_images == "stop":
        log("no image was checked: a bad one stops the run when it is met; python -m data.check finds it before")
    for what, (paths, labels) in (("train", listing.train), ("val", listing.val)):
        images = Images(torch.tensor(labels), size, paths=paths)
        if keep or bad_images == "skip":
            pixels, good, bad = decode_all(paths, size, keep=keep, skip_bad=bad_images == "skip", what=what)
            images = images.subset(torch.tensor(good, dtype=torch.long))
            if keep:
                images = replace(images, pixels=pixels, paths=())
            skipped += bad
        sides.append(images)
    for message in skipped:
        log(f"skipped: {message}")
    return Parts(*sides, skipped=tuple(skipped))


def require_room(needed: int) -> None:
    """Refuse what would be killed halfway: more than all of the memory that one process may take."""
    most = 2 * memory_share()
    if needed > most:
        raise DataError(
            f"decoded images take {needed / 1e9:.2f} GB, and {most / 1e9:.2f} GB of memory are left to each process: "
            "use --cache none for large images, a smaller --image_size, fewer processes or more memory"
        )
