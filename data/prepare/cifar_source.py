"""CIFAR-10 and CIFAR-100 as pictures, read by torchvision from the unpacked Python archives."""

from __future__ import annotations

import os
from pathlib import Path

from data.prepare.layouts import Layout, Picture
from utils.system.errors import UsageError
from utils.system.terminal import show, some


def read_cifar(name: str, source: Path):
    """The pictures of cifar10 or cifar100, and `save(picture, target)`, which writes one as a PNG (lossless).

    `source` is the folder of batch files or its parent. Every file is checked by its md5 before it is unpickled.
    Raises UsageError where files are missing or changed. A picture is numbered as in torchvision, from 0.
    """
    # Imported here: it takes seconds, which the folder sets need not wait for.
    from PIL import Image
    from torchvision import datasets

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    folder = _batch_folder(kind, source)
    _check_files(kind, folder)
    unpacked = type(kind.__name__, (kind,), {"base_folder": folder.name})  # the folder may have been renamed
    parts = {
        "train": unpacked(str(folder.parent), train=True),
        "test": unpacked(str(folder.parent), train=False),
    }
    pictures = [
        Picture(Path(part, f"{number:05d}.png"), data.classes[label], part)
        for part, data in parts.items()
        for number, label in enumerate(data.targets)
    ]

    def save(picture: Picture, target: str) -> None:
        Image.fromarray(parts[picture.part].data[int(picture.file.stem)]).save(target, format="PNG")

    return Layout(pictures), save


def _batch_folder(kind, source: Path) -> Path:
    first = kind.train_list[0][0]
    inner = [entry for entry in sorted(os.listdir(source)) if (source / entry).is_dir()]
    tried = [source, source / kind.base_folder, *(source / entry for entry in inner)]
    for folder in tried:
        if (folder / first).is_file():
            return folder
    raise UsageError(
        f"no {kind.base_folder} in {show(source)}: unpack {kind.filename} (the Python version) there; "
        f"it holds {some(inner) or 'no folder'}"
    )


def _check_files(kind, folder: Path) -> None:
    from torchvision.datasets.utils import check_integrity

    wanted = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    missing = [file for file, _ in wanted if not (folder / file).is_file()]
    if missing:
        raise UsageError(f"files missing in {show(folder)}: {some(missing)}")
    changed = [file for file, md5 in wanted if not check_integrity(str(folder / file), md5)]
    if changed:
        raise UsageError(f"damaged files in {show(folder)} (md5 differs from the official one): {some(changed)}")
