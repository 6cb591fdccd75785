"""The labels and parts of Flowers102, from `imagelabels.mat` and `setid.mat`.

In both files the numbers start at 1: position i (from 0) of `labels` is the class of image i + 1, and the ids
of `trnid`, `valid` and `tstid` are image numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.system.errors import UsageError
from utils.system.terminal import reason, show, some

NUM_CLASSES = 102
PARTS = {"train": "trnid", "valid": "valid", "test": "tstid"}
IMAGE_NAME = re.compile(r"image_0*([1-9]\d{0,8})\.jpe?g", re.IGNORECASE)


def read_labels(file: Path) -> list[int]:
    """The class number, 1 to 102, of image 1, 2, ...; UsageError for anything else, naming the image."""
    labels = _numbers(file, "labels")
    for image, label in enumerate(labels, start=1):
        if not 1 <= label <= NUM_CLASSES:
            raise UsageError(f"{show(file.name)}: label {label} of image {image} is outside 1 to {NUM_CLASSES}")
    missing = sorted(set(range(1, NUM_CLASSES + 1)) - set(labels))
    if missing:
        found = NUM_CLASSES - len(missing)
        raise UsageError(f"{show(file.name)}: {found} classes of {NUM_CLASSES}; missing: {some(missing)}")
    return labels


def read_parts(file: Path, num_images: int) -> dict[int, str]:
    """Image number -> train, valid or test; UsageError for a number outside 1 to num_images or there twice."""
    parts: dict[int, str] = {}
    for part, key in PARTS.items():
        for image in _numbers(file, key):
            if not 1 <= image <= num_images:
                raise UsageError(f"{show(file.name)}: {key} names image {image}, outside 1 to {num_images}")
            if image in parts:
                raise UsageError(f"{show(file.name)}: {key} names image {image}, already in {PARTS[parts[image]]}")
            parts[image] = part
    return parts


def image_ids(names: Sequence[str], num_images: int) -> dict[int, str]:
    """Image number -> file name, from names like `image_00001.jpg`.

    UsageError unless the numbers are exactly 1 to num_images, which the labels cover.
    """
    found: dict[int, str] = {}
    for name in names:
        match = IMAGE_NAME.fullmatch(name)
        if not match:
            raise UsageError(f"an image is not named like image_00001.jpg: {show(name)}")
        number = int(match[1])
        if number in found:
            raise UsageError(f"two files are image {number}: {some([found[number], name])}")
        found[number] = name
    unlabelled = [found[number] for number in sorted(found) if number > num_images]
    if unlabelled:
        raise UsageError(f"imagelabels.mat has {num_images} labels; images without one: {some(unlabelled)}")
    missing = [number for number in range(1, num_images + 1) if number not in found]
    if missing:
        raise UsageError(
            f"{len(missing)} of {num_images} images are missing, numbers {some(missing)}: "
            "the archive was not unpacked completely, or imagelabels.mat is of another download"
        )
    return found


def _numbers(file: Path, key: str) -> list[int]:
    from scipy.io import loadmat  # here, since importing it takes longer than most of what this command does

    try:
        content = loadmat(file)
    except Exception as error:  # a damaged file raises almost any type, by where the damage is
        raise UsageError(f"{show(file)} is no readable MATLAB file: {reason(error)}") from error
    if key not in content:
        there = [name for name in content if not name.startswith("__")]
        raise UsageError(f"{show(file)} has no entry {key}, only {some(there) or 'none'}")
    values = np.asarray(content[key])
    if values.dtype.kind not in "iuf" or values.size == 0:
        raise UsageError(f"{show(file)}: {key} is not a list of numbers")
    values = values.reshape(-1).astype(np.float64)
    if not np.array_equal(values, np.floor(values)) or np.abs(values).max() > 1e9:
        raise UsageError(f"{show(file)}: {key} holds values that are no whole numbers")
    return [int(value) for value in values]
