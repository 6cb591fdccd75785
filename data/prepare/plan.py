"""What `python -m data.prepare` will do, decided in full before the first byte is written."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from data.prepare.layouts import FACTS, Layout, Picture, read_layout
from data.prepare.output_folder import TOOL, check_out, check_space
from data.prepare.split_rules import RULES, divide
from utils.system.errors import UsageError, WorkError
from utils.system.terminal import show


@dataclass(frozen=True)
class Request:
    """What the command line asks for: the data set `name` from the folder `source`, written to the folder `out`.

    `split`: name of the split rule. `train_ratio`: share of train where the rule needs one. `link`: make symbolic
    links in place of copies. `force`: replace a folder that was prepared before. `skip_bad_lines`: leave out list
    lines that name no image.
    """

    name: str
    source: Path
    out: Path
    split: str
    train_ratio: float | None
    seed: int
    link: bool
    force: bool
    skip_bad_lines: bool


@dataclass(frozen=True)
class Plan:
    """What will be written for a request: the pictures of each side, divided by `rule`.

    `out`: the real path of the folder. `place(picture, target)` makes one file.
    """

    request: Request
    out: Path
    layout: Layout
    place: Callable[[Picture, str], None]
    rule: str
    sides: dict[str, list[Picture]]

    @property
    def classes(self) -> list[str]:
        """The class names in index order."""
        return sorted({picture.label for picture in self.layout.pictures})

    @property
    def left_out(self) -> int:
        """How many images of the source the rule puts on neither side."""
        return len(self.layout.pictures) - sum(len(chosen) for chosen in self.sides.values())

    def record(self) -> dict:
        """The content of split.json."""
        totals = {side: len(chosen) for side, chosen in self.sides.items()}
        counts = {side: Counter(picture.label for picture in chosen) for side, chosen in self.sides.items()}
        return {
            "tool": TOOL,
            "dataset": self.request.name,
            "rule": self.rule,
            "train_ratio": self.request.train_ratio,
            "seed": self.request.seed,
            "source": os.path.realpath(self.request.source),
            "images": "links" if self.request.link else "copies",
            "num_classes": len(self.classes),
            "totals": {**totals, "left_out": self.left_out},
            "counts": {side: dict(sorted(found.items())) for side, found in counts.items()},
            "files": {
                side: {f"{picture.label}/{picture.name}": self._origin(picture) for picture in chosen}
                for side, chosen in self.sides.items()
            },
        }

    def _origin(self, picture: Picture) -> str:
        """Where an image is from: its file, relative to the source; of CIFAR part/number, there is no file."""
        if self.request.name not in FACTS:
            return picture.file.as_posix()
        return Path(os.path.relpath(picture.file, self.request.source)).as_posix()


def checked_folders(request: Request) -> tuple[Request, Path]:
    """The request with an absolute source, and the real path to write to; UsageError where one cannot be used."""
    try:
        if not request.source.is_dir():
            what = "a file; unpack it first" if request.source.is_file() else "not there"
            raise UsageError(f"--source is {what}: {show(request.source)}")
        source = Path(os.path.abspath(request.source))  # so that `.` has a parent, where lists may lie
        return replace(request, source=source), check_out(request.out, source, request.force)
    except ValueError as error:  # a zero byte in a path
        raise UsageError(f"no possible path: {show(request.source)}, {show(request.out)}") from error


def make_plan(request: Request) -> Plan:
    """Check the folders, read the source and divide it; UsageError for anything that is not as it must be."""
    request, out = checked_folders(request)
    if request.name in FACTS:
        layout = read_layout(request.name, request.source, request.split, request.skip_bad_lines)
        place = _link if request.link else _copy
    else:
        from data.prepare.cifar_source import read_cifar

        layout, place = read_cifar(request.name, request.source)
    rule = "random-80-20" if request.split == "leaf-80-20" and not layout.leaves_known else request.split
    train, val = divide(RULES[request.name][rule], layout.pictures, request.seed, request.train_ratio)
    if place is _copy:
        check_space(out, sum(os.stat(picture.file).st_size for picture in train + val))
    return Plan(request, out, layout, place, rule, {"train": train, "val": val})


def _copy(picture: Picture, target: str) -> None:
    shutil.copyfile(picture.file, target)


def _link(picture: Picture, target: str) -> None:
    try:
        os.symlink(os.path.realpath(picture.file), target)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP):
            raise WorkError("this file system makes no symbolic links: use --copy") from error
        raise
