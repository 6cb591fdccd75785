"""Turn an unpacked official download into `<out>/train/<class>/` and `<out>/val/<class>/`.

    python -m data.prepare aid --source ~/downloads/AID --out ../data/exp_data/AID_50 --train_ratio 0.5

Beside the images it writes classes.json, the class names in index order, and split.json, with rule, seed, counts
per class and the source of every image. ``scenes`` composes images with masks and boxes.
`docs/datasets.md` tells where each archive unpacks to.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from data.prepare.class_names import spelling_key
from data.prepare.folder import check_out, fresh_folder
from data.prepare.reading import read_pictures
from data.prepare.rules import Picture, divide
from data.prepare.scenes import make_scenes
from data.prepare.sets import ALIASES, SETS
from utils.system import numbers
from utils.system.command import short_command
from utils.system.errors import UsageError, WorkError
from utils.system.terminal import OneLineParser, say, show

COMMAND = "data.prepare"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 fault while reading or writing, 2 wrong use or bad input."""
    words = sys.argv[1:] if argv is None else argv

    def work() -> None:
        if words and words[0] == "scenes":
            make_scenes(words[1:])
        else:
            prepare(parse(words))

    return short_command(COMMAND, work, after_fault="; nothing was left behind")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line; UsageError for whatever is wrong with it as such."""
    args = _parser().parse_args(argv)
    args.data = data = SETS[args.name]
    args.split = args.split or next(iter(data.rules))
    names = ", ".join(data.rules)
    if args.split not in data.rules:
        raise UsageError(f"--split {show(args.split)} is no rule of {args.name}; its rules: {names}")
    if args.train_ratio is not None and data.ratio is None:
        raise UsageError(f"--train_ratio means nothing for {args.name}, whose rules are: {names}")
    args.train_ratio = args.train_ratio or data.ratio
    return args


def prepare(args: argparse.Namespace) -> None:
    """Check the folders, read the source, divide it and write the result, which is whole or not there at all."""
    if not os.path.isdir(args.source):  # unlike Path.is_dir, false for a name that is too long, too
        what = "a file; unpack it first" if os.path.isfile(args.source) else "not there"
        raise UsageError(f"--source is {what}: {show(args.source)}")
    source = Path(os.path.abspath(args.source))  # so that `.` has a parent, where lists may lie
    out = check_out(args.out, source)
    pictures, notices = read_pictures(args.data, source, args.split)
    train, val = divide(args.data.rules[args.split], pictures, args.seed, args.train_ratio)
    for line in notices:
        say(f"notice: {line}")
    classes, sides = sorted({picture.label for picture in pictures}), {"train": train, "val": val}
    facts = record(args, source, pictures, sides)
    with (
        fresh_folder(out, classes, facts) as work,
        tqdm(total=len(train + val), disable=None, unit="image", leave=False) as progress,
    ):
        for side, chosen in sides.items():
            for label in classes:
                (work / side / label).mkdir(parents=True)
            for picture in chosen:
                place(picture, work / side / picture.label / picture.name, link=args.link)
                progress.update()
    ratio = f" {args.train_ratio}" if args.train_ratio is not None else ""
    say(
        f"{args.name}: {len(classes)} classes, {len(train)} train and {len(val)} val images, "
        f"{facts['totals']['left_out']} left out; rule {args.split}{ratio}, seed {args.seed}; written to {show(out)}"
    )


def record(args: argparse.Namespace, source: Path, pictures: list[Picture], sides: dict[str, list[Picture]]) -> dict:
    """The content of split.json."""
    totals = {side: len(chosen) for side, chosen in sides.items()}
    counts = {side: Counter(picture.label for picture in chosen) for side, chosen in sides.items()}
    origins = {
        side: {f"{p.label}/{p.name}": Path(os.path.relpath(p.file, source)).as_posix() for p in chosen}
        for side, chosen in sides.items()
    }
    return {
        "dataset": args.name,
        "rule": args.split,
        "train_ratio": args.train_ratio,
        "seed": args.seed,
        "source": os.path.realpath(source),
        "images": "links" if args.link else "copies",
        "num_classes": len({picture.label for picture in pictures}),
        "totals": {**totals, "left_out": len(pictures) - sum(totals.values())},
        "counts": {side: dict(sorted(by_label.items())) for side, by_label in counts.items()},
        "files": origins,
    }


def place(picture: Picture, target: Path, *, link: bool) -> None:
    """Copy or link one image."""
    if os.path.lexists(target):  # a file system that does not tell A.jpg from a.jpg
        raise WorkError(f"two images would be the same file here: {show(target.name)} of {show(picture.label)}")
    if link:
        os.symlink(os.path.realpath(picture.file), target)
    else:
        shutil.copyfile(picture.file, target)


def _parser() -> argparse.ArgumentParser:
    rules = [f"  {name:14}{key:14}{rule.text}" for name, data in SETS.items() for key, rule in data.rules.items()]
    parser = OneLineParser(
        prog=f"python -m {COMMAND}",
        description="Make <out>/train/<class>/ and <out>/val/<class>/ from an unpacked official download.",
        epilog="split rules (train / val images of the official download), the default first:\n"
        + "\n".join(rules)
        + "\n\npython -m data.prepare scenes --help: composed scenes with masks and boxes\n"
        "exit status: 0 done; 1 a fault while reading or writing, nothing is left behind; 2 wrong use or bad input",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", type=_data_set, metavar="NAME", help=f"data set: {', '.join(SETS)}")
    parser.add_argument("--source", type=Path, required=True, help="folder the archive was unpacked to")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must not exist, or be empty")
    ratio = "share of each class for train (default the larger ratios of their papers: 0.5 for aid, 0.2 for nwpu)"
    parser.add_argument("--train_ratio", type=numbers.fraction, help=ratio)
    parser.add_argument("--split", metavar="RULE", help="split rule, see below")
    parser.add_argument("--seed", type=numbers.seed, default=0, help="of the random split rules (default 0)")
    parser.add_argument("--link", action="store_true", help="symbolic links to the images in place of copies")
    return parser


def _data_set(text: str) -> str:
    plain = spelling_key(text)
    name = ALIASES.get(plain, plain)
    if name not in SETS:
        raise argparse.ArgumentTypeError(f"{show(text)} is no known data set; known: {', '.join(SETS)}")
    return name
