"""The data sets that torchvision downloads, by one table; docs/datasets.md tells what lies where."""

from __future__ import annotations

import gzip
import math
import os
import re
import socket
import tarfile
import zlib
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from http.client import HTTPException
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import datasets

from data import presets
from data.decoding import DataError
from data.images import Images, require_room
from data.presets import Triple
from data.sources import Dataset, resized, tensor_fingerprint
from utils.system.terminal import reason, show

IDX_FILES = tuple(f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))
GARMENTS, KANA = (tuple(cls.classes) for cls in (datasets.FashionMNIST, datasets.KMNIST))
NUMBERS = tuple(map(str, range(100)))  # digits, and classes of CIFAR, whose names are only known when it is read
BORDER = 2  # zero pixels around an image of 28x28, which make it 32x32 and keep each of its pixels
DAMAGES = (RuntimeError, OSError, EOFError, ValueError, LookupError, AssertionError)  # what a torchvision class raises


class Known(NamedTuple):
    """What is known of a data set before it is read.

    ``torch_class``: its name in ``torchvision.datasets``. ``named``: a pattern for names of folders to download to.
    ``folder``: where torchvision keeps it below a root. ``files``: what has to be put into ``put_in`` below a root by
    those who cannot download. ``statistics``: mean and deviation of the channels. ``flip``: whether a mirrored image
    is as good as the original.
    """

    torch_class: str
    named: str
    folder: str
    put_in: str
    files: tuple[str, ...]
    classes: tuple[str, ...]
    statistics: tuple[Triple, Triple]
    flip: bool

    @property
    def is_idx(self) -> bool:
        """Whether it comes as the four idx files of MNIST: gray images of 28x28."""
        return self.files == IDX_FILES


def _idx(torch_class: str, named: str, classes: tuple[str, ...], mean: float, std: float, *, flip: bool) -> Known:
    raw = f"{torch_class}/raw"
    return Known(torch_class, named, raw, raw, IDX_FILES, classes, ((mean,) * 3, (std,) * 3), flip)


_ARCHIVES = {count: (f"cifar-{count}-python.tar.gz",) for count in (10, 100)}
_SVHN = ("train_32x32.mat", "test_32x32.mat")
# The order is that of patterns for names of folders: the first that matches counts.
TORCHVISION = {
    "cifar100": Known(
        "CIFAR100", r"cifar[\W_]*100", "cifar-100-python", "", _ARCHIVES[100], NUMBERS, presets.CIFAR100, flip=True
    ),
    "cifar10": Known(
        "CIFAR10", "cifar", "cifar-10-batches-py", "", _ARCHIVES[10], NUMBERS[:10], presets.CIFAR10, flip=True
    ),
    "fashion_mnist": _idx("FashionMNIST", r"fashion[\W_]*mnist", GARMENTS, 0.2860, 0.3530, flip=True),
    "kmnist": _idx("KMNIST", "kmnist|kuzushiji", KANA, 0.1918, 0.3483, flip=False),
    "mnist": _idx("MNIST", "(?<![a-z])mnist", NUMBERS[:10], 0.1307, 0.3081, flip=False),
    "svhn": Known("SVHN", "svhn", "", "", _SVHN, NUMBERS[:10], presets.SVHN, flip=False),
}


def recognise(root: Path) -> str | None:
    """The name of the data set that lies in ``root``, or that a root of nothing else is named after; else None.

    ``root`` may also be the folder of the data set itself, such as ``MNIST`` or ``MNIST/raw``. Where CIFAR lies beside
    others it is meant. Raises DataError where several others lie side by side, OSError where nothing can be read.
    """
    present = [name for name in TORCHVISION if _lies_in(name, root)]
    cifar = [name for name in ("cifar10", "cifar100") if name in present]
    if len(present) > 1 and not cifar:
        raise DataError(f"{str(root)!r:.200} holds {' and '.join(present)}: --dataset says which is meant")
    if present:
        return (cifar or present)[0]
    if root.exists() and not (root.is_dir() and (find_idx(root) or not any(root.iterdir()))):
        return None
    return next((name for name, known in TORCHVISION.items() if re.search(known.named, root.name.lower())), None)


def _lies_in(name: str, root: Path) -> bool:
    known, home = TORCHVISION[name], _home(name, root)
    if known.folder and (home / known.folder).is_dir():
        return True
    return not known.is_idx and any((home / file).is_file() for file in known.files)


def _home(name: str, root: Path) -> Path:
    """The folder that torchvision calls root, where ``root`` may be one that torchvision makes below it."""
    parts, here = Path(TORCHVISION[name].folder).parts, Path(os.path.abspath(root))
    for depth in range(len(parts), 0, -1):
        if here.parts[-depth:] == parts[:depth] and not root.joinpath(*parts).is_dir():
            return here.parents[depth - 1]
    return root


def find(name: str, _data: str, root: Path, image_size: int | None) -> Dataset:
    """A data set of the table in ``root``, downloaded there when it is read.

    Images of 28x28 get a border unless that very ``image_size`` is given. Raises DataError where ``root`` is a
    file.
    """
    known, home = TORCHVISION[name], _home(name, root)
    if home.exists() and not home.is_dir():
        raise DataError(f"{home} is a file, not a folder for {name}")
    preset = presets.small(image_size or 32, known.statistics, flip=known.flip)

    def read(recognised: Dataset, *, download: bool, log: Callable[[str], None], **_options) -> Dataset:
        files = [find_idx(folder) for folder in (root, home / known.folder)] if known.is_idx else []
        # Files that are complete are read here, packed or not; torchvision takes packed ones by their md5 alone.
        whole, classes = next((four for four in files if len(four) == len(IDX_FILES)), None), recognised.classes
        if whole:
            parts = [(read_idx(whole[i], 3), read_idx(whole[i + 1], 1).long()) for i in (0, 2)]
        else:
            is_svhn = name == "svhn"  # whose class in torchvision differs from the others
            sides = [{"split": s} if is_svhn else {"train": s == "train"} for s in ("train", "test")]
            stored = [_read(name, home, side, download, log) for side in sides]
            parts = [(torch.as_tensor(s.data), torch.as_tensor(s.labels if is_svhn else s.targets)) for s in stored]
            classes = classes if known.is_idx or is_svhn else tuple(stored[0].classes)
        require_room(sum(len(data) for data, _ in parts) * 3 * preset.image_size**2)
        train, val = (
            Images(labels.long(), preset.image_size, _brought(data, preset.image_size))
            for data, labels in (_checked(name, home, *part) for part in parts)
        )
        known_by = tensor_fingerprint(*(tensor for part in parts for tensor in part))
        return replace(recognised, classes=classes, train=train, val=val, fingerprint=known_by)

    return Dataset(name, known.classes, preset, read)


def _checked(name: str, home: Path, data: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The same images and labels; DataError where they do not belong together."""
    known, wrong = TORCHVISION[name], None
    if len(data) != len(labels) or labels.ndim != 1:
        wrong = f"{len(data)} images, but labels of the shape {tuple(labels.shape)}"
    elif known.is_idx and tuple(data.shape[1:]) != (28, 28):
        wrong = f"images are of the shape {tuple(data.shape[1:])}, not 28x28"
    elif len(labels) and not (labels.min() >= 0 and labels.max() < len(known.classes)):
        wrong = f"labels from {labels.min()} to {labels.max()}, not below {len(known.classes)}"
    if wrong:
        raise DataError(f"{name} in {home}: {wrong}")
    return data, labels


def _brought(data: Tensor, size: int) -> Tensor:
    """Images as torchvision keeps them -> uint8 (n, 3, size, size)."""
    if data.ndim == 3:  # gray, (n, 28, 28)
        gray = data[:, None] if size == data.shape[-1] else F.pad(data[:, None], (BORDER,) * 4)  # (n, 1, 32, 32)
        return resized(gray, size).expand(-1, 3, -1, -1).contiguous()
    if data.shape[-1] == 3:  # CIFAR, (n, 32, 32, 3)
        data = data.permute(0, 3, 1, 2)
    return resized(data.contiguous(), size)


def _read(name: str, home: Path, side: dict[str, object], download: bool, log: Callable[[str], None]) -> Any:
    """The torchvision data set of one side, downloaded where it is not there and ``download`` allows it."""
    known = TORCHVISION[name]
    cls, before = getattr(datasets, known.torch_class), socket.getdefaulttimeout()
    advice = f"put {', '.join(known.files)} into {home / known.put_in}"
    try:
        return cls(str(home), **side)
    except DAMAGES:
        if not download:
            raise DataError(f"{name} in {home} is missing or damaged: {advice}") from None
    try:
        log(f"{name} is not complete in {home}: downloading it")
        socket.setdefaulttimeout(30)  # seconds; without it a silent server would be waited for without end
        with redirect_stdout(StringIO()):
            return cls(str(home), **side, download=True)
    except (*DAMAGES, HTTPException, tarfile.TarError) as error:
        raise DataError(f"{name} could not be downloaded to {home}: {reason(error):.300}; {advice}") from None
    finally:
        socket.setdefaulttimeout(before)


def find_idx(folder: Path) -> list[Path]:
    """Those of the four files that lie in a folder, in the order of IDX_FILES; unpacked ones before packed ones."""
    spellings = [(name, name.replace("-idx", ".idx")) for name in IDX_FILES]
    candidates = [[folder / f"{name}{end}" for end in ("", ".gz") for name in names] for names in spellings]
    files = [next((path for path in paths if path.is_file()), None) for paths in candidates]
    return [path for path in files if path]


def read_idx(path: Path, axes: int) -> Tensor:
    """The uint8 array in a file: 0, 0, 8 for bytes, the number of axes, four bytes for the length of each, values.

    Raises DataError for a damaged file.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{show(path)} is damaged: {reason(error)}; remove it to have it downloaded again") from None
    head = 4 + 4 * axes
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, head, 4)]
    if content[:4] != bytes((0, 0, 8, axes)) or len(content) != head + math.prod(shape) or 0 in shape:
        what = f"no whole idx file of bytes with {axes} axes"
        raise DataError(f"{show(path)} is damaged, {what}; remove it to have it downloaded again")
    return torch.frombuffer(bytearray(content[head:]), dtype=torch.uint8).view(shape)
