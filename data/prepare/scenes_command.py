"""Make composed scenes, with exact masks and boxes, from pictures with an alpha channel.

    python -m data.prepare scenes --source clipart --out ../data/scenes --scenes 2000 --size 128

Classes are the subfolders of --source. A fifth of the pictures of each class is kept for val/ alone. Beside the scenes
it writes classes.json, the names of the ids in masks, and split.json, which says of what each scene is composed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.decoding import DataError
from data.prepare.output_folder import CLASSES, RECORD, TOOL, check_out, fresh_folder
from data.prepare.scene_files import COMPOSED, LAYOUTS
from data.prepare.scenes import CutOut, Scene, compose, cut_out, divide, find_pictures
from utils.system import numbers
from utils.system.errors import UsageError
from utils.system.seeds import derived_seed
from utils.system.terminal import OneLineParser, say, show, some

NAME, BACKGROUND, MOST_CLASSES = "scenes", "background", 254


def make_scenes(argv: Sequence[str]) -> None:
    """Run ``data.prepare scenes`` on the words behind its name. Raises UsageError, OSError or WorkError."""
    args = _parser().parse_args(argv)
    pictures = find_pictures(args.source, args.classes)
    if len(pictures) > MOST_CLASSES:
        raise UsageError(f"{len(pictures)} classes in {show(args.source)}, and a mask has room for {MOST_CLASSES}")
    if args.smallest > args.size:
        raise UsageError(f"--size {args.size} is too small for objects: {args.smallest} pixels or more")
    out = check_out(args.out, args.source, args.force)
    sides = divide(_read(pictures), list(pictures), args.val, args.seed)
    classes, counts = [BACKGROUND, *pictures], {"train": args.scenes - _of_val(args), "val": _of_val(args)}
    record: dict[str, dict[str, object]] = {}
    with fresh_folder(out) as work:
        layout = LAYOUTS[args.layout](work, classes)
        for side, number in counts.items():
            for i in tqdm(range(number), desc=side, unit="scene", disable=None, leave=False):
                random = np.random.default_rng(derived_seed(args.seed, "scene", side, i))
                scene = compose(sides[side], args.size, args.objects, random)
                _note(record, layout.add(side, i, scene), scene, args.source)
        for file in layout.close():
            top, _, rest = file.partition("/")
            record.setdefault(top, {})[rest] = []
        (work / CLASSES).write_text(json.dumps(classes, indent=1) + "\n")
        facts = {"tool": TOOL, "kind": COMPOSED, "source": str(args.source), "seed": args.seed, "size": args.size}
        facts |= {"layout": args.layout, "objects": args.objects, "scenes": counts, "files": record}
        (work / RECORD).write_text(json.dumps(facts, indent=1) + "\n")
    say(
        f"composed {counts['train']} train and {counts['val']} val scenes of {args.size}x{args.size} pixels with "
        f"{len(pictures)} classes, seed {args.seed}; written to {show(out)}"
    )


def _of_val(args: argparse.Namespace) -> int:
    return min(max(round(args.val * args.scenes), 1), args.scenes - 1)


def _read(pictures: dict[str, list[Path]]) -> list[CutOut]:
    """All cut-outs; those that are none are left out, and said."""
    found, bad = [], []
    files = [(file, label) for label, own in enumerate(pictures.values(), 1) for file in own]
    for file, label in tqdm(files, desc="cut-outs", disable=None, leave=False):
        try:
            found.append(cut_out(file, label))
        except DataError as error:
            bad.append(str(error))
    if bad:
        say(f"notice: left out {len(bad)} pictures: {some(bad)}")
    return found


def _note(record: dict, files: Sequence[str], scene: Scene, source: Path) -> None:
    """Keep in the record what the files of a scene are composed of."""
    used = [thing.file.relative_to(source).as_posix() for thing in scene.things]
    for file in files:
        top, _, rest = file.partition("/")
        record.setdefault(top, {})[rest] = used


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog=f"python -m data.prepare {NAME}",
        description="Compose scenes with exact masks and boxes from pictures with an alpha channel.",
        epilog="exit status: 0 done; 1 a fault while reading or writing, nothing is left behind; 2 wrong use",
        allow_abbrev=False,
    )
    parser.add_argument("--source", type=Path, required=True, help="folder with a subfolder of pictures for each class")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must not exist, or be empty")
    parser.add_argument("--class", dest="classes", metavar="NAME", help="one class for all pictures below --source")
    parser.add_argument("--scenes", type=_two_or_more, default=2000, help="train and val together (default 2000)")
    parser.add_argument("--size", type=numbers.pixels, default=128, help="side in pixels (default 128)")
    parser.add_argument("--objects", type=numbers.positive_int, default=4, help="most objects in a scene (default 4)")
    parser.add_argument("--val", type=numbers.fraction, default=0.2, help="share of scenes and pictures for val")
    parser.add_argument("--layout", choices=tuple(LAYOUTS), default="masks", help="of the files (default masks)")
    parser.add_argument("--seed", type=numbers.seed, default=0, help="all randomness derives from it (default 0)")
    parser.add_argument("--force", action="store_true", help="replace a folder that this command wrote earlier")
    parser.set_defaults(smallest=16)
    return parser


def _two_or_more(text: str) -> int:
    value = numbers.positive_int(text)
    if value < 2:
        raise argparse.ArgumentTypeError(f"{value} leaves no scene for one of the two sides: 2 or more")
    return value
