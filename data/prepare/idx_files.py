"""MNIST and its kin: the four idx files of a download, packed or not, written where torchvision looks for them.

They stay what they are, not folders of PNGs: training reads 70,000 images from them in a second or two, and they are
the same as after a download. torchvision knows packed files by their md5, which packing again changes; so it is the
content that is checked here.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from data.prepare.output_folder import RECORD, TOOL, check_space, fresh_folder
from data.prepare.plan import Request, checked_folders
from data.prepare.unpacked import MAX_DEPTH
from data.torchvision_sets import IDX_FILES, TORCHVISION
from utils.system.errors import UsageError
from utils.system.terminal import reason, say, show, some

IDX_SETS = tuple(name for name, known in TORCHVISION.items() if known.is_idx)


def write_idx(request: Request) -> None:
    """Write `<out>/<Name>/raw/`, as `--data <out>` reads it; UsageError for files that are not those of the set."""
    request, out = checked_folders(request)
    known = TORCHVISION[request.name]
    found = _find(request.source)
    content = {name: _unpacked(path) for name, path in found.items()}
    totals = {}
    for side, images, labels in (("train", *IDX_FILES[:2]), ("val", *IDX_FILES[2:])):
        totals[side] = _number(content[images], content[labels], found[images], found[labels], len(known.classes))
    check_space(out, sum(map(len, content.values())))
    if tuple(totals.values()) != known.counts:
        say(f"notice: {totals['train']} and {totals['val']} images found; the official download has 60000 and 10000")
    origins = {name: path.relative_to(request.source).as_posix() for name, path in found.items()}
    record = {
        "tool": TOOL,
        "dataset": request.name,
        "rule": request.split,
        "source": os.path.realpath(request.source),
        "num_classes": len(known.classes),
        "totals": totals,
        "files": {known.folder: origins},
    }
    with fresh_folder(out) as work:
        (work / known.folder).mkdir(parents=True)
        for name, data in content.items():
            (work / known.folder / name).write_bytes(data)
        (work / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    say(
        f"{request.name}: {len(known.classes)} classes, {totals['train']} train and {totals['val']} val images; "
        f"written to {show(out / known.folder)}; --data {show(out)} reads them"
    )


def _find(source: Path) -> dict[str, Path]:
    """The file for each name, all in one folder at or below the source, unpacked ones before packed ones."""
    holding = [folder for folder in _folders(source) if _file(folder, IDX_FILES[0])]
    if len(holding) > 1:
        raise UsageError(f"{IDX_FILES[0]} lies in several folders, --source must be one: {some(holding)}")
    if not holding:
        raise UsageError(f"no {IDX_FILES[0]}, with or without .gz, found in {show(source)}")
    found = {name: _file(holding[0], name) for name in IDX_FILES}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise UsageError(f"files missing in {show(holding[0])}, with or without .gz: {some(missing)}")
    return found


def _folders(source: Path) -> Iterator[Path]:
    for folder, inner, _files in os.walk(source):
        yield Path(folder)
        inner.sort()
        if len(Path(folder).relative_to(source).parts) == MAX_DEPTH:
            inner.clear()


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _unpacked(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        with gzip.open(path) as file:
            return file.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UsageError(f"{show(path)} is damaged: {reason(error)}") from None


def _number(images: bytes, labels: bytes, images_path: Path, labels_path: Path, classes: int) -> int:
    """How many images and labels two files hold; UsageError unless they are 28x28 and fit each other."""
    count, *sides = _sizes(images, images_path, 3)
    if sides != [28, 28]:
        raise UsageError(f"{show(images_path)} holds images of {' x '.join(map(str, sides))}, not of 28 x 28 pixels")
    if _sizes(labels, labels_path, 1) != [count]:
        raise UsageError(f"{show(labels_path)} does not hold {count} labels, as many as {show(images_path)} has images")
    known = set(labels[8:])
    if known != set(range(classes)):
        raise UsageError(f"{show(labels_path)} holds labels other than 0 to {classes - 1}, or not all of them")
    return count


def _sizes(content: bytes, path: Path, axes: int) -> list[int]:
    """The sizes that the head of an idx file of bytes states: 0, 0, 8, number of axes, then four bytes for each."""
    head = 4 + 4 * axes
    sizes = [int.from_bytes(content[at : at + 4], "big") for at in range(4, head, 4)]
    if content[:4] != bytes((0, 0, 8, axes)) or len(content) != head + math.prod(sizes):
        raise UsageError(f"{show(path)} is no whole idx file of bytes with {axes} axes")
    return sizes
