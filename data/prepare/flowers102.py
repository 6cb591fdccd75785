"""Flowers102: one folder of images, with their labels and parts in `imagelabels.mat` and `setid.mat`.

In both files the numbers start at 1: position i (from 0) of `labels` is the class of image i + 1, and the ids
of `trnid`, `valid` and `tstid` are image numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.listing import Notes, image_names
from data.prepare.class_names import FLOWERS102
from data.prepare.reading import DataSet, Layout, Trail, required_file
from data.prepare.rules import Picture, Rule, by_eighty, by_parts
from utils.system.errors import UsageError
from utils.system.terminal import reason, show, some

PARTS = {"train": "trnid", "valid": "valid", "test": "tstid"}
IMAGE_NAME = re.compile(r"image_0*([1-9]\d{0,8})\.jpe?g", re.IGNORECASE)
RULES = {
    "official": Rule("trnid / tstid: 1020 / 6149, valid left out", by_parts(["train"], ["test"])),
    "trainval": Rule("trnid and valid / tstid: 2040 / 6149", by_parts(["train", "valid"], ["test"])),
    "swapped": Rule("tstid / trnid: 6149 / 1020, valid left out", by_parts(["test"], ["train"])),
    "80-20": by_eighty("80 % of all images of each class, seeded"),
}


def read(_data: DataSet, trail: Trail, notes: Notes, rule: str, _skip_bad_lines: bool) -> Layout:
    """The pictures with the class and the part that the lists give them."""
    labels = read_labels(required_file(trail, "imagelabels.mat", rule))
    files = image_ids(image_names(trail[-1], notes), len(labels))
    parts: dict[int, str] = {}
    if rule != "80-20":
        parts = read_parts(required_file(trail, "setid.mat", rule), len(labels))
        if len(labels) > len(parts):
            notes.more.append(f"{len(labels) - len(parts)} images belong to no part of setid.mat and are left out")
    numbered = enumerate(labels, start=1)
    pictures = [Picture(trail[-1] / files[n], FLOWERS102[label - 1], parts.get(n, "")) for n, label in numbered]
    return Layout(pictures, rule)


SET = DataSet(FLOWERS102, (8189,), ("jpg", "flowers-102", "102flowers"), RULES, flat=True, read=read)


def read_labels(file: Path) -> list[int]:
    """The class number, 1 to 102, of image 1, 2, ...; UsageError for anything else, naming the image."""
    labels, most = _numbers(file, "labels"), len(FLOWERS102)
    for image, label in enumerate(labels, start=1):
        if not 1 <= label <= most:
            raise UsageError(f"{show(file.name)}: label {label} of image {image} is outside 1 to {most}")
    missing = sorted(set(range(1, most + 1)) - set(labels))
    if missing:
        raise UsageError(f"{show(file.name)}: {most - len(missing)} classes of {most}; missing: {some(missing)}")
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
    files: dict[int, str] = {}
    for name in names:  # numbers may be padded otherwise in mirrors
        match = IMAGE_NAME.fullmatch(name)
        if not match:
            raise UsageError(f"an image is not named like image_00001.jpg: {show(name)}")
        number = int(match[1])
        if number in files:
            raise UsageError(f"two files are image {number}: {some([files[number], name])}")
        files[number] = name
    unlabelled = [files[number] for number in sorted(files) if number > num_images]
    if unlabelled:
        raise UsageError(f"imagelabels.mat has {num_images} labels; images without one: {some(unlabelled)}")
    missing = [number for number in range(1, num_images + 1) if number not in files]
    if missing:
        raise UsageError(
            f"{len(missing)} of {num_images} images are missing, numbers {some(missing)}: "
            "the archive was not unpacked completely, or imagelabels.mat is of another download"
        )
    return files


def _numbers(file: Path, key: str) -> list[int]:
    from scipy.io import loadmat  # here, since importing it takes longer than most of what this command does

    try:
        content = loadmat(file)
    except Exception as error:  # a damaged file raises almost any type, by where the damage is
        raise UsageError(f"{show(file)} is no readable MATLAB file: {reason(error)}") from error
    if key not in content:
        raise UsageError(f"{show(file)} has no entry {key}")
    values = np.asarray(content[key]).reshape(-1)
    if values.dtype.kind not in "iuf" or not len(values) or (values != values.round()).any() or values.max() > 1e9:
        raise UsageError(f"{show(file)}: {key} is not a list of whole numbers")
    return values.astype(int).tolist()
