"""What `python -m data.prepare` will do, decided in full before the first byte is written."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.prepare.layouts import FACTS, Layout, Picture, read_layout
from data.prepare.output_folder import TOOL, check_out, check_space
from data.prepare.split_rules import RULES, divide
from utils.system.errors import UsageError, WorkError
from utils.system.terminal import show


@dataclass(frozen=True)
class Plan:
    """Everything decided before the first byte is written. `place(picture, target)` makes one file."""

    args: argparse.Namespace
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
            "dataset": self.args.name,
            "rule": self.rule,
            "train_ratio": self.args.train_ratio,
            "seed": self.args.seed,
            "source": os.path.realpath(self.args.source),
            "images": "links" if self.args.link else "copies",
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
        if self.args.name not in FACTS:
            return picture.file.as_posix()
        return Path(os.path.relpath(picture.file, self.args.source)).as_posix()


def make_plan(args: argparse.Namespace) -> Plan:
    """Check the folders, read the source and divide it; UsageError for anything that is not as it must be."""
    try:
        if not args.source.is_dir():
            what = "a file; unpack it first" if args.source.is_file() else "not there"
            raise UsageError(f"--source is {what}: {show(args.source)}")
        args.source = Path(os.path.abspath(args.source))  # so that `.` has a parent, where lists may lie
        out = check_out(args.out, args.source, args.force)
    except ValueError as error:  # a zero byte in a path
        raise UsageError(f"no possible path: {show(args.source)}, {show(args.out)}") from error
    if args.name in FACTS:
        layout = read_layout(args.name, args.source, args.split, args.bad_lines == "skip")
        place = _link if args.link else _copy
    else:
        from data.prepare.cifar_source import read_cifar

        layout, place = read_cifar(args.name, args.source)
    rule = "random-80-20" if args.split == "leaf-80-20" and not layout.leaves_known else args.split
    train, val = divide(RULES[args.name][rule], layout.pictures, args.seed, args.train_ratio)
    if place is _copy:
        check_space(out, sum(os.stat(picture.file).st_size for picture in train + val))
    return Plan(args, out, layout, place, rule, {"train": train, "val": val})


def _copy(picture: Picture, target: str) -> None:
    shutil.copyfile(picture.file, target)


def _link(picture: Picture, target: str) -> None:
    try:
        os.symlink(os.path.realpath(picture.file), target)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP):
            raise WorkError("this file system makes no symbolic links: use --copy") from error
        raise
