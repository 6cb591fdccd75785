"""Turn an unpacked official download into `<out>/train/<class>/` and `<out>/val/<class>/`.

    python -m data.prepare aid --source ~/downloads/AID --out ../data/exp_data/AID_50 --train_ratio 0.5

Beside the images it writes classes.json, the class names in index order, and split.json, with rule, seed, counts
per class and the source of every image. `docs/datasets.md` tells where each archive unpacks to.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from data.layouts import FACTS, Layout, Picture, read_layout
from data.output_folder import CLASSES, RECORD, TOOL, check_out, check_space, fresh_folder, leftovers
from data.split_rules import DEFAULT_RATIOS, RULES, divide
from utils.system import numbers
from utils.system.errors import UsageError, WorkError
from utils.system.interrupts import interrupts
from utils.system.terminal import OneLineParser, complain, reason, say, show

COMMAND = "data.prepare"
ALIASES = {"flowers": "flowers102", "nwpuresisc45": "nwpu", "resisc45": "nwpu", "nwpu45": "nwpu"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 fault while reading or writing, 2 wrong use or bad input."""
    try:
        with interrupts():
            write(make_plan(parse(argv)))
        return 0
    except UsageError as error:
        complain(COMMAND, error)
        return 2
    except (WorkError, OSError) as error:
        complain(COMMAND, f"{reason(error)}; nothing was left behind")
    except KeyboardInterrupt:
        complain(COMMAND, "interrupted; nothing was left behind")
    return 1


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; UsageError for whatever is wrong with it as such."""
    args = _parser().parse_args(argv)
    rules = RULES[args.name]
    args.split = args.split or next(iter(rules))
    if args.split not in rules:
        raise UsageError(f"--split {show(args.split)} is no rule of {args.name}; its rules: {', '.join(rules)}")
    if args.train_ratio is not None and args.name not in DEFAULT_RATIOS:
        raise UsageError(f"--train_ratio means nothing for {args.name}, whose rules are: {', '.join(rules)}")
    if args.train_ratio is None:
        args.train_ratio = DEFAULT_RATIOS.get(args.name)
    if args.bad_lines is not None and (args.name != "mit67" or args.split == "80-20"):
        raise UsageError(f"--bad_lines means nothing for {args.name} with the rule {args.split}: it reads no lists")
    if args.link and args.name not in FACTS:
        raise UsageError(f"--link means nothing for {args.name}, whose images have no files of their own")
    return args


def _parser() -> argparse.ArgumentParser:
    rules = "\n".join(f"  {name:13}{key:14}{rule.text}" for name, rules in RULES.items() for key, rule in rules.items())
    parser = OneLineParser(
        prog=f"python -m {COMMAND}",
        description="Make <out>/train/<class>/ and <out>/val/<class>/ from an unpacked official download.",
        epilog=f"split rules (train / val images of the official download), the default first:\n{rules}\n\nexamples:\n"
        "  python -m data.prepare aid --source AID --out AID_50 --train_ratio 0.5\n"
        "  python -m data.prepare sport8 --source event_dataset --out sport8 --split 70-60 --seed 1\n"
        "  python -m data.prepare mit67 --source indoorCVPR_09 --out mit67 --link\n\n"
        "exit status: 0 done; 1 a fault while reading or writing, nothing is left behind; 2 wrong use or bad input",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", type=_data_set, metavar="NAME", help=f"data set: {', '.join(RULES)}")
    parser.add_argument("--source", type=Path, required=True, help="folder the archive was unpacked to")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must not exist, or be empty")
    larger = "the larger ratios of their papers: 0.5 for aid, 0.2 for nwpu"
    parser.add_argument(
        "--train_ratio", type=numbers.fraction, help=f"share of each class for train (default {larger})"
    )
    parser.add_argument("--split", metavar="RULE", help="split rule, see below")
    parser.add_argument("--seed", type=numbers.seed, default=0, help="of the random split rules (default 0)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--copy", action="store_true", help="copy the images (default)")
    how.add_argument("--link", action="store_true", help="make symbolic links to the images; needs them to stay")
    parser.add_argument("--force", action="store_true", help="replace a folder that this command wrote earlier")
    parser.add_argument(
        "--bad_lines",
        choices=("stop", "skip"),
        help="mit67: what to do about list lines that name no image or repeat one (default stop)",
    )
    return parser


def _data_set(text: str) -> str:
    plain = "".join(letter for letter in text.casefold() if letter.isalnum())
    name = ALIASES.get(plain, plain)
    if name not in RULES:
        raise argparse.ArgumentTypeError(f"{show(text)} is no known data set; known: {', '.join(RULES)}")
    return name


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
        return sorted({picture.label for picture in self.layout.pictures})

    @property
    def left_out(self) -> int:
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
        from data.cifar_source import read_cifar

        layout, place = read_cifar(args.name, args.source)
    rule = "random-80-20" if args.split == "leaf-80-20" and not layout.leaves_known else args.split
    train, val = divide(RULES[args.name][rule], layout.pictures, args.seed, args.train_ratio)
    if place is _copy:
        check_space(out, sum(os.stat(picture.file).st_size for picture in train + val))
    return Plan(args, out, layout, place, rule, {"train": train, "val": val})


def write(plan: Plan) -> None:
    """Write the folder and tell what is in it; OSError or WorkError leaves nothing behind."""
    for line in plan.layout.notices:
        say(f"notice: {line}")
    for line in plan.layout.warnings:
        say(f"WARNING: {line}", sys.stderr)
    for folder in leftovers(plan.out):
        say(f"notice: left by a run that was killed, or still in work: {show(folder)}")
    total = sum(len(chosen) for chosen in plan.sides.values())
    with (
        fresh_folder(plan.out) as work,
        tqdm(total=total, disable=None, unit="image", leave=False) as progress,
    ):
        for side, chosen in plan.sides.items():
            for label in plan.classes:
                (work / side / label).mkdir(parents=True)
            for picture in chosen:
                _place(plan.place, picture, work / side / picture.label / picture.name)
                progress.update()
        (work / CLASSES).write_text(json.dumps(plan.classes, indent=1) + "\n")
        (work / RECORD).write_text(json.dumps(plan.record(), indent=1) + "\n")
    ratio = f" {plan.args.train_ratio}" if plan.args.train_ratio is not None else ""
    say(
        f"{plan.args.name}: {len(plan.classes)} classes, {len(plan.sides['train'])} train and "
        f"{len(plan.sides['val'])} val images, {plan.left_out} left out; rule {plan.rule}{ratio}, "
        f"seed {plan.args.seed}; written to {show(plan.out)}"
    )


def _place(place: Callable[[Picture, str], None], picture: Picture, target: Path) -> None:
    if os.path.lexists(target):  # a file system that does not tell A.jpg from a.jpg
        raise WorkError(f"two images would be the same file here: {show(target.name)} of {show(picture.label)}")
    place(picture, str(target))


def _copy(picture: Picture, target: str) -> None:
    shutil.copyfile(picture.file, target)


def _link(picture: Picture, target: str) -> None:
    try:
        os.symlink(os.path.realpath(picture.file), target)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP):
            raise WorkError("this file system makes no symbolic links: use --copy") from error
        raise


if __name__ == "__main__":
    sys.exit(main())
