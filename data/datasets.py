"""Which data set is meant, what is known of it before it is read, and reading it."""

from __future__ import annotations

import socket
import tarfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn import functional as F

from data import presets
from data.folders import FolderListing, list_folder, probe_size
from data.images import DataError, DownloadError, Images, decode_all
from data.presets import Preset
from data.splits import split_indices

DATASETS = ("auto", "digits", "cifar10", "cifar100", "folder")
MIN_SIZE = 8  # below this, cropping and halving leave nothing to look at


@dataclass(frozen=True)
class Dataset:
    """Images to train on and to report on, with class names in index order and the preset that fits them."""

    name: str
    classes: tuple[str, ...]
    preset: Preset
    train: Images
    val: Images
    skipped: tuple[str, ...] = ()

    def facts(self) -> dict[str, object]:
        """Plain values for a checkpoint: what a network needs to know of the images it was trained on."""
        return {
            "dataset": self.name,
            "classes": list(self.classes),
            "image_size": self.preset.image_size,
            "statistics": {"mean": list(self.preset.mean), "std": list(self.preset.std)},
            "train_images": len(self.train),
            "val_images": len(self.val),
            "skipped": list(self.skipped),
        }


class Parts(NamedTuple):
    """What reading gave; ``classes`` where their names are only known then."""

    train: Images
    val: Images
    skipped: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A data set that was recognised but not read: enough to refuse what cannot work.

    ``counts``: number of training and of validation images. :func:`load` reads it.
    """

    name: str
    classes: tuple[str, ...]
    counts: tuple[int, int]
    preset: Preset
    notices: tuple[str, ...]
    read: Callable[..., Parts]


def find_dataset(
    data: str,
    dataset: str = "auto",
    image_size: int | None = None,
    *,
    cutout: int | None = None,
    flip: bool | None = None,
) -> Source:
    """Recognise ``--data``: the word ``digits``, a folder with ``train/`` and ``val/``, or a root of CIFAR.

    A root that does not exist yet is CIFAR-10 or CIFAR-100 if its name says so. ``cutout`` and ``flip`` replace
    what the preset says. Nothing is decoded. Raises DataError.
    """
    if image_size is not None and image_size < MIN_SIZE:
        raise DataError(f"image size {image_size} is below {MIN_SIZE} pixels")
    root = Path(data).expanduser()
    kind = _recognise(data, root) if dataset == "auto" else dataset
    if kind == "digits":
        source = _digits(image_size)
    elif kind in ("cifar10", "cifar100"):
        source = _cifar(kind, root, image_size)
    else:
        source = _folder(root, image_size)
    if cutout is not None and not source.preset.is_small:
        raise DataError("--cutout is for small images; photographs are cropped instead")
    changes = {key: value for key, value in {"cutout": cutout, "flip": flip}.items() if value is not None}
    return replace(source, preset=replace(source.preset, **changes))


def num_outputs(source: Source, asked: int | None, log: Callable[[str], None]) -> int:
    """Outputs of the network: the data's classes, or more if asked for. Raises DataError for fewer."""
    found = len(source.classes)
    if asked is not None and asked < found:
        raise DataError(f"--num_class {asked} is less than the {found} classes of {source.name}")
    if asked is not None and asked > found:
        log(f"warning: --num_class {asked} is more than the {found} classes of {source.name}: the rest stay unused")
    return asked or found


def _recognise(data: str, root: Path) -> str:
    if data == "digits":
        return "digits"
    try:
        if (root / "train").is_dir() or (root / "val").is_dir():
            return "folder"
        for kind, (batches, archive) in CIFAR_FILES.items():
            if root.name == batches or (root / batches).is_dir() or (root / archive).is_file():
                return kind
        empty = not root.exists() or (root.is_dir() and not any(root.iterdir()))
    except (OSError, ValueError) as error:
        raise DataError(f"{data} cannot be read: {error}") from None
    named = "".join(letter for letter in root.name.lower() if letter.isalnum())
    if empty and "cifar100" in named:
        return "cifar100"
    if empty and "cifar" in named:
        return "cifar10"
    if not root.exists():
        raise DataError(f"{data} does not exist: --data takes digits, a CIFAR root or a folder with train/")
    raise DataError(f"{data} holds neither train/<class>/ and val/<class>/ nor CIFAR: --dataset can name what it is")


def load(
    source: Source,
    *,
    bad_images: str = "stop",
    cache: str = "auto",
    download: bool = True,
    log: Callable[[str], None] = print,
) -> Dataset:
    """Read a data set. ``bad_images``: ``stop`` at one that cannot be decoded or ``skip`` it.

    ``cache``: keep decoded photographs in memory (``ram``), read them from disk (``none``), or ``auto``: keep
    them where they take less than half of the free memory. Raises DataError.
    """
    for notice in source.notices:
        log(notice)
    parts = source.read(bad_images=bad_images, cache=cache, download=download, log=log)
    classes = parts.classes or source.classes
    for side, images in (("train", parts.train), ("val", parts.val)):
        missing = set(range(len(classes))) - set(images.labels.tolist())
        if missing:
            raise DataError(f"{source.name}: class {classes[min(missing)]!r} has no image left in {side}")
    preset = source.preset
    if preset.mean is None:
        preset = replace(preset, **_statistics(parts.train))
    return Dataset(source.name, classes, preset, parts.train, parts.val, parts.skipped)


def _statistics(images: Images) -> dict[str, presets.Triple]:
    """Mean and deviation of the channels in [0, 1]; a channel without variation keeps its scale."""
    counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in images.pixels.unbind(1)]).double()
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts * values).sum(1) / counts.sum(1)
    std = ((counts * (values - mean[:, None]) ** 2).sum(1) / counts.sum(1)).sqrt()
    std = torch.where(std < 1e-3, torch.ones_like(std), std)
    return {
        "mean": tuple(round(v, 4) for v in mean.tolist()),
        "std": tuple(round(v, 4) for v in std.tolist()),
    }


def _resized(pixels: torch.Tensor, size: int) -> torch.Tensor:
    if pixels.shape[-1] == size:
        return pixels
    resized = F.interpolate(pixels.float(), size=(size, size), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


def _digits(image_size: int | None) -> Source:
    """1,797 handwritten digits of 8x8 pixels that scikit-learn ships, three equal channels, every fifth in val."""

    def read(**_options) -> Parts:
        from sklearn.datasets import load_digits

        found = load_digits()
        grey = torch.from_numpy(found.images).mul(255 / 16).round().to(torch.uint8)[:, None]
        pixels = _resized(grey, preset.image_size).expand(-1, 3, -1, -1).contiguous()
        everything = Images(torch.from_numpy(found.target).long(), preset.image_size, pixels)
        rest, held_out = split_indices(everything.labels, 0.2, seed=0)
        return Parts(everything.subset(rest), everything.subset(held_out))

    preset = presets.small(image_size or 32, flip=False, cutout=0)
    return Source("digits", tuple("0123456789"), (1438, 359), preset, (), read)


CIFAR_FILES = {
    "cifar10": ("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    "cifar100": ("cifar-100-python", "cifar-100-python.tar.gz"),
}


def _cifar(kind: str, root: Path, image_size: int | None) -> Source:
    from torchvision import datasets

    cls = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[kind]
    if root.name == CIFAR_FILES[kind][0]:  # torchvision wants the parent
        root = root.parent
    if root.exists() and not root.is_dir():
        raise DataError(f"{root} is a file, not a folder for {kind}")

    def read(*, download: bool, log: Callable[[str], None], **_options) -> Parts:
        parts = [_read_cifar(cls, kind, root, train, download, log) for train in (True, False)]
        images = [
            Images(
                torch.tensor(part.targets),
                preset.image_size,
                _resized(torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), preset.image_size),
            )
            for part in parts
        ]
        return Parts(*images, classes=tuple(parts[0].classes))

    statistics = {"cifar10": presets.CIFAR10, "cifar100": presets.CIFAR100}[kind]
    preset = presets.small(image_size or 32, statistics)
    count = 10 if kind == "cifar10" else 100
    return Source(kind, tuple(str(i) for i in range(count)), (50_000, 10_000), preset, (), read)


def _read_cifar(cls, kind: str, root: Path, train: bool, download: bool, log: Callable[[str], None]):
    before, existed = socket.getdefaulttimeout(), root.exists()
    try:
        return cls(str(root), train=train)
    except (RuntimeError, OSError, EOFError, ValueError):
        if not download:
            raise DataError(f"{kind} in {root} is missing or damaged") from None
    try:
        log(f"{kind} is not complete in {root}: downloading it")
        socket.setdefaulttimeout(30)
        with redirect_stdout(StringIO()):
            return cls(str(root), train=train, download=True)
    except (OSError, RuntimeError, ValueError, EOFError, tarfile.TarError) as error:
        if not existed and root.is_dir() and not any(root.iterdir()):
            root.rmdir()
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DownloadError(f"{kind} could not be downloaded to {root}: {reason}") from None
    finally:
        socket.setdefaulttimeout(before)


def _folder(root: Path, image_size: int | None) -> Source:
    listing = list_folder(root)
    size = image_size or probe_size(listing.train[0])
    preset = presets.small(size) if size is not None and size <= presets.SMALL_LIMIT else presets.photo(size or 224)

    def read(*, bad_images: str, cache: str, log: Callable[[str], None], **_options) -> Parts:
        return _read_folder(listing, preset, bad_images, cache, log)

    counts = (len(listing.train[0]), len(listing.val[0]))
    return Source(root.name or str(root), listing.classes, counts, preset, listing.notices, read)


def _read_folder(
    listing: FolderListing, preset: Preset, bad_images: str, cache: str, log: Callable[[str], None]
) -> Parts:
    sides, skipped = [], []
    size = preset.decoded_size
    needed = (len(listing.train[0]) + len(listing.val[0])) * 3 * size * size
    keep = preset.is_small or cache == "ram" or (cache == "auto" and 2 * needed < free_memory())
    log(f"decoded images take {needed / 1e9:.2f} GB: {'kept in memory' if keep else 'read from disk as needed'}")
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


def free_memory() -> int:
    """Bytes of memory that are free or can be freed, by the kernel's own estimate; 4 GiB where it gives none."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 4 * 2**30
