"""Turn an unpacked official download into `<out>/train/<class>/` and `<out>/val/<class>/`.

    python -m data.prepare aid --source ~/downloads/AID --out ../data/exp_data/AID_50 --train_ratio 0.5

Beside the images it writes classes.json, the class names in index order, and split.json, with rule, seed, counts
per class and the source of every image. Of MNIST and its kin it writes the idx files that training reads. ``scenes``
composes images with masks and boxes.
`docs/datasets.md` tells where each archive unpacks to.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data.prepare.class_names import spelling_key
from data.prepare.console import ENDINGS, ended_by
from data.prepare.idx_files import IDX_SETS, write_idx
from data.prepare.layouts import FACTS
from data.prepare.plan import Request, make_plan
from data.prepare.scenes_command import NAME as SCENES
from data.prepare.scenes_command import make_scenes
from data.prepare.split_rules import DEFAULT_RATIOS, RULES
from data.prepare.writing import write
from utils.system import numbers
from utils.system.errors import UsageError
from utils.system.signals import interrupts
from utils.system.terminal import OneLineParser, show

COMMAND = "data.prepare"
ALIASES = {
    "flowers": "flowers102",
    "fashionmnist": "fashion_mnist",
    "nwpuresisc45": "nwpu",
    "resisc45": "nwpu",
    "nwpu45": "nwpu",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 fault while reading or writing, 2 wrong use or bad input."""
    try:
        with interrupts():
            words = sys.argv[1:] if argv is None else argv
            if words and words[0] == SCENES:
                make_scenes(words[1:])
                return 0
            request = parse(argv)
            if request.name in IDX_SETS:
                write_idx(request)
            else:
                write(make_plan(request))
    except ENDINGS as error:
        return ended_by(error, COMMAND, left="nothing was left behind")
    return 0


def parse(argv: Sequence[str] | None) -> Request:
    """Read the command line; UsageError for whatever is wrong with it as such."""
    args = _parser().parse_args(argv)
    rules = RULES[args.name]
    split = args.split or next(iter(rules))
    if split not in rules:
        raise UsageError(f"--split {show(split)} is no rule of {args.name}; its rules: {', '.join(rules)}")
    if args.train_ratio is not None and args.name not in DEFAULT_RATIOS:
        raise UsageError(f"--train_ratio means nothing for {args.name}, whose rules are: {', '.join(rules)}")
    if args.bad_lines is not None and (args.name != "mit67" or split == "80-20"):
        raise UsageError(f"--bad_lines means nothing for {args.name} with the rule {split}: it reads no lists")
    if args.link and args.name not in FACTS:
        raise UsageError(f"--link means nothing for {args.name}, whose images have no files of their own")
    return Request(
        name=args.name,
        source=args.source,
        out=args.out,
        split=split,
        train_ratio=DEFAULT_RATIOS.get(args.name) if args.train_ratio is None else args.train_ratio,
        seed=args.seed,
        link=args.link,
        force=args.force,
        skip_bad_lines=args.bad_lines == "skip",
    )


def _parser() -> argparse.ArgumentParser:
    rules = "\n".join(f"  {name:14}{key:14}{rule.text}" for name, rules in RULES.items() for key, rule in rules.items())
    parser = OneLineParser(
        prog=f"python -m {COMMAND}",
        description="Make <out>/train/<class>/ and <out>/val/<class>/ from an unpacked official download.",
        epilog=f"split rules (train / val images of the official download), the default first:\n{rules}\n\nexamples:\n"
        "  python -m data.prepare aid --source AID --out AID_50 --train_ratio 0.5\n"
        "  python -m data.prepare sport8 --source event_dataset --out sport8 --split 70-60 --seed 1\n"
        "  python -m data.prepare mit67 --source indoorCVPR_09 --out mit67 --link\n"
        "  python -m data.prepare scenes --help    (composed scenes with masks and boxes)\n\n"
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
    plain = spelling_key(text)
    name = ALIASES.get(plain, plain)
    if name not in RULES:
        raise argparse.ArgumentTypeError(f"{show(text)} is no known data set; known: {', '.join(RULES)}")
    return name
