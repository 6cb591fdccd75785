"""Recognising which data set ``--data`` means, and reading it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from data import torchvision_sets
from data.decoding import DataError
from data.dense.masks import IGNORED
from data.files import class_folders, dense_folder, require_classes
from data.images import BOXES, LABELS, MASKS, Images
from data.presets import Preset
from data.sources import Dataset, digits
from data.splits import split_indices

MIN_SIZE = 8  # below this, cropping and halving leave nothing to look at


def _without_labels(name: str, *_: object) -> Dataset:
    raise DataError(f"--dataset {name} has masks or boxes, which --task segment or --task detect reads")


# By name, what finds a data set of that kind, given --data, the same as a path, and an image size or None.
KINDS: dict[str, Callable[[str, Path, int | None], Dataset]] = {
    "auto": lambda data, root, size: KINDS[_recognise(data, root)](data, root, size),
    "digits": lambda _data, _root, size: digits(size),
    **{name: partial(torchvision_sets.find, name) for name in torchvision_sets.TORCHVISION},
    "folder": lambda _data, root, size: class_folders(root, size),
    **{name: partial(_without_labels, name) for name in ("voc", "masks", "coco")},
}


def find_dataset(
    data: str,
    dataset: str = "auto",
    image_size: int | None = None,
    *,
    cutout: int | None = None,
    flip: bool | None = None,
    targets: str = LABELS,
    bad_images: str = "stop",
) -> Dataset:
    """Recognise ``--data``: the word ``digits``, a folder with ``train/`` and ``val/``, or a root of torchvision's.

    A root that does not exist yet is the set of :data:`data.torchvision_sets.TORCHVISION` that its name says.
    ``cutout`` and ``flip`` replace what the preset says. ``targets``: what a task reads of an image, ``labels``,
    ``masks`` or ``boxes``; the last two lie in layouts of their own (data.dense). ``bad_images``: ``stop`` at an
    annotation that cannot be used, or ``skip`` it. Nothing is decoded. Raises DataError.
    """
    if image_size is not None and image_size < MIN_SIZE:
        raise DataError(f"image size {image_size} is below {MIN_SIZE} pixels")
    try:
        root = Path(data).expanduser()
        root.is_dir()  # raises for a name that no system takes
    except RuntimeError:  # ~ of nobody
        raise DataError(f"{data} does not exist: there is no such home folder") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{data!r:.200} cannot be read: {why}") from None
    if targets == LABELS:
        recognised = KINDS[dataset](data, root, image_size)
    else:
        recognised = dense_folder(root, dataset, image_size, targets, bad_images)
    if cutout and not (recognised.preset.is_small and targets == LABELS):
        raise DataError("--cutout is for small images; large ones are cropped instead")
    changes = {key: value for key, value in {"cutout": cutout, "flip": flip}.items() if value is not None}
    return replace(recognised, preset=replace(recognised.preset, **changes))


def _recognise(data: str, root: Path) -> str:
    if data == "digits":
        return "digits"
    try:
        if (root / "train" / "images").is_dir() and (root / "train" / "masks").is_dir():
            raise DataError(
                f"{data} holds images with masks, which --task segment reads; "
                "--dataset folder takes images/ and masks/ for two classes"
            )
        if (root / "train").is_dir() or (root / "val").is_dir():
            return "folder"
        kept = torchvision_sets.recognise(root)
    except (OSError, ValueError) as error:
        raise DataError(f"{data} cannot be read: {error}") from None
    if kept is not None:
        return kept
    sets = "CIFAR, MNIST, Fashion-MNIST, KMNIST or SVHN"
    if not root.exists():
        raise DataError(f"{data!r:.200} does not exist: --data takes digits, a folder with train/, or a root of {sets}")
    raise DataError(
        f"{data!r:.200} holds neither train/<class>/ and val/<class>/ nor {sets}: --dataset can name what it is"
    )


def num_outputs(data: Dataset, num_class: int | None, log: Callable[[str], None]) -> int:
    """Outputs of the network: the data's classes, or more if ``num_class`` says so. Raises DataError for fewer."""
    classes = len(data.classes)
    if classes == 1 and data.targets != BOXES:
        log(f"warning: {data.name} has a single class ({data.classes[0]}): any network gets all of it right")
    if num_class is not None and num_class < classes:
        raise DataError(f"--num_class {num_class} is less than the {classes} classes of {data.name}")
    if num_class is not None and num_class > IGNORED and data.targets == MASKS:
        raise DataError(f"--num_class {num_class}: a mask has room for {IGNORED} classes")
    if num_class is not None and num_class > classes:
        log(f"warning: --num_class {num_class} is more than the {classes} classes of {data.name}: the rest is unused")
    return num_class or classes


def output_names(classes: Sequence[str], outputs: int) -> list[str]:
    """A name for every output of a network: the classes, then those that the data has no class for."""
    return [*classes, *(f"output {i}" for i in range(len(classes), outputs))]


def load(
    recognised: Dataset,
    *,
    bad_images: str = "stop",
    cache: str = "auto",
    download: bool = True,
    train_images: int | None = None,
    labels: bool = True,
    log: Callable[[str], None] = print,
) -> Dataset:
    """Read a data set. ``bad_images``: ``stop`` at one that cannot be decoded or ``skip`` it.

    ``train_images``: keep so many of those to train on, of each class its share and always the same. ``labels``:
    whether they may be used; without them all images are of class 0, and in an order that no class decides.

    ``cache``: keep decoded large images in memory (``ram``), read them from disk (``none``), or ``auto``: keep
    them where they take less than half of the memory that is available, divided among the processes of the machine
    (:func:`utils.system.memory.memory_share`). Raises DataError, also for more than there is memory for.
    """
    read = recognised.read(recognised, bad_images=bad_images, cache=cache, download=download, labels=labels, log=log)
    for line in (*read.notices, *(f"skipped: {message}" for message in read.skipped)):
        log(line)
    train, val = read.train, read.val
    if not labels:
        train, val = (replace(images, labels=torch.zeros_like(images.labels)) for images in (train, val))
    for side, images in (("train", train), ("val", val)):
        if not len(images):
            raise DataError(f"{read.name}: no image is left in {side}")
        # Skipping bad images may have emptied a class.
        missing = set(range(len(read.classes))) - set(images.labels.tolist())
        if missing and labels and read.targets == LABELS:
            raise DataError(f"{read.name}: class {read.classes[min(missing)]!r} has no image left in {side}")
    if read.targets == MASKS:
        require_classes(read, log)
    preset = read.preset if read.preset.mean is not None else _measured(read.preset, train)
    if train_images is not None:
        train = _some(train, train_images)
    return replace(read, train=train, val=val, preset=preset)


def _some(images: Images, n: int) -> Images:
    """About ``n`` of the images, of each class its share; the same whatever the seed of a run. Raises DataError."""
    if n > len(images):
        raise DataError(f"--train_images {n} is more than the {len(images)} that there are")
    if n == len(images):
        return images
    return images.subset(split_indices(images.labels, n / len(images), seed=0)[1])


def _measured(preset: Preset, images: Images) -> Preset:
    """With mean and deviation of the channels in [0, 1]; a channel without variation keeps its scale."""
    # How often each value occurs in each channel: (3, 256). Floats of all pixels would not fit into memory.
    counts = torch.stack([torch.bincount(c.flatten(), minlength=256) for c in images.pixels.unbind(1)]).double()
    values = torch.arange(256, dtype=torch.float64) / 255  # (256,)
    mean = (counts * values).sum(1) / counts.sum(1)  # (3,)
    std = ((counts * (values - mean[:, None]) ** 2).sum(1) / counts.sum(1)).sqrt()
    std = torch.where(std < 1e-3, torch.ones_like(std), std)
    mean, std = (tuple(round(v, 4) for v in numbers.tolist()) for numbers in (mean, std))
    return replace(preset, mean=mean, std=std)
