"""Flowers102: one folder of images, with their labels and parts in `imagelabels.mat` and `setid.mat`.

In both files the numbers start at 1: position i (from 0) of `labels` is the class of image i + 1, and the ids
of `trnid`, `valid` and `tstid` are image numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.folders import Notes, image_names
from data.prepare.pictures import DataSet, Picture, Rule, required_file
from utils.system.errors import UsageError
from utils.system.terminal import reason, show, some

CLASSES = [f"flower_{number:03d}" for number in range(1, 103)]  # padded: sorted order is number order
PARTS = ("trnid", "valid", "tstid")
IMAGE_NAME = re.compile(r"image_0*([1-9]\d{0,8})\.jpe?g", re.IGNORECASE)
RULES = {
    "official": Rule("trnid / tstid: 1020 / 6149, valid left out", ("trnid",), ("tstid",)),
    "trainval": Rule("trnid and valid / tstid: 2040 / 6149", ("trnid", "valid"), ("tstid",)),
    "swapped": Rule("tstid / trnid: 6149 / 1020, valid left out", ("tstid",), ("trnid",)),
    "80-20": Rule("80 % of all images of each class, seeded"),
}


def read(_data: DataSet, root: Path, source: Path, notes: Notes, rule: str) -> list[Picture]:
    """The pictures with the class and the part that the lists give them; a list that does not fit is a UsageError."""
    file = required_file(root, source, "imagelabels.mat", rule)
    labels, most = _numbers(file, "labels"), len(CLASSES)
    for image, label in enumerate(labels, start=1):
        if not 1 <= label <= most:
            raise UsageError(f"{show(file.name)}: label {label} of image {image} is outside 1 to {most}")
    missing = sorted(set(range(1, most + 1)) - set(labels))
    if missing:
        raise UsageError(f"{show(file.name)}: {most - len(missing)} classes of {most}; missing: {some(missing)}")
    files = numbered(image_names(root, notes), len(labels))
    parts = {} if rule == "80-20" else read_parts(required_file(root, source, "setid.mat", rule), len(labels))
    if parts and len(labels) > len(parts):
        notes.more.append(f"{len(labels) - len(parts)} images belong to no part of setid.mat and are left out")
    images = enumerate(labels, start=1)
    return [Picture(root / files[n], CLASSES[label - 1], parts.get(n, "")) for n, label in images]


def read_parts(file: Path, num_images: int) -> dict[int, str]:
    """The part of each image by its number; UsageError for a number outside 1 to num_images, or there twice."""
    parts: dict[int, str] = {}
    for part in PARTS:
        for image in _numbers(file, part):
            if not 1 <= image <= num_images:
                raise UsageError(f"{show(file.name)}: {part} names image {image}, outside 1 to {num_images}")
            if image in parts:
                raise UsageError(f"{show(file.name)}: {part} names image {image}, already in {parts[image]}")
            parts[image] = part
    return parts


def numbered(names: Sequence[str], num_images: int) -> dict[int, str]:
    """Image number -> file name, from names like `image_00001.jpg`; UsageError unless they are 1 to num_images."""
    matches = {name: IMAGE_NAME.fullmatch(name) for name in names}  # numbers may be padded otherwise in mirrors
    if odd := [name for name, match in matches.items() if not match]:
        raise UsageError(f"images are not named like image_00001.jpg: {some(odd)}")
    files = {int(match[1]): name for name, match in matches.items()}
    if unlabelled := [files[number] for number in sorted(files) if number > num_images]:
        raise UsageError(f"imagelabels.mat has {num_images} labels; images without one: {some(unlabelled)}")
    if missing := [number for number in range(1, num_images + 1) if number not in files]:
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
    values = np.asarray(content.get(key, [])).reshape(-1)
    if values.dtype.kind not in "iuf" or not len(values) or (values != values.round()).any() or values.max() > 1e9:
        raise UsageError(f"{show(file)} has no {key}, a list of whole numbers")
    return values.astype(int).tolist()


SET = DataSet(CLASSES, (8189,), RULES, flat=True, read=read)
