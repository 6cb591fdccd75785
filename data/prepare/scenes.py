"""Composed scenes: cut-out pictures with an alpha channel, several on a background, with exact masks and boxes.

    python -m data.prepare scenes --source clipart --out ../data/scenes --scenes 2000 --size 128

Classes are the subfolders of --source. A fifth of the pictures of each class is kept for val/ alone. Beside the scenes
it writes classes.json, the names of the ids in masks, and split.json, which says of what each scene is composed.

What scene number i of a side shows depends on the seed and on i alone.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from data.decoding import DataError, opened, room_for
from data.listing import Notes, is_image_name, is_system, subfolders
from data.prepare.compose import CutOut, Scene, compose
from data.prepare.folder import check_out, fresh_folder
from utils.system import numbers
from utils.system.errors import UsageError
from utils.system.palette import palette
from utils.system.seeds import derived_seed
from utils.system.terminal import OneLineParser, say, show, some

COMPOSED = "composed scenes: cut-out pictures on a made-up background"
MOST_CLASSES = 254  # a mask has room for, beside the background and what is ignored
LARGEST = 512  # side in pixels that a cut-out is kept at
SMALLEST_SCENE = 16  # side in pixels


def make_scenes(argv: Sequence[str]) -> None:
    """Run ``data.prepare scenes`` on the words behind its name. Raises UsageError, OSError or WorkError."""
    args = _parser().parse_args(argv)
    pictures = find_pictures(args.source, args.classes)
    if len(pictures) > MOST_CLASSES:
        raise UsageError(f"{len(pictures)} classes in {show(args.source)}, and a mask has room for {MOST_CLASSES}")
    if args.size < SMALLEST_SCENE:
        raise UsageError(f"--size {args.size} is too small for objects: {SMALLEST_SCENE} pixels or more")
    out = check_out(args.out, args.source)
    sides = divide(_read(pictures), list(pictures), args.val, args.seed)
    held_out = min(max(round(args.val * args.scenes), 1), args.scenes - 1)
    counts = {"train": args.scenes - held_out, "val": held_out}
    files: dict[str, dict[str, list[str]]] = {side: {"annotations.json": []} for side in counts}
    facts = {"kind": COMPOSED, "source": str(args.source), "seed": args.seed, "size": args.size}
    facts |= {"objects": args.objects, "scenes": counts, "files": files}
    with fresh_folder(out, ["background", *pictures], facts) as work:
        for side, number in counts.items():
            document = {"info": {"description": COMPOSED}, "images": [], "annotations": []}
            document["categories"] = [{"id": i, "name": name} for i, name in enumerate(pictures, 1)]
            for folder in ("images", "masks"):
                (work / side / folder).mkdir(parents=True)
            for i in tqdm(range(number), desc=side, unit="scene", disable=None, leave=False):
                random = np.random.default_rng(derived_seed(args.seed, "scene", side, i))
                scene = compose(sides[side], args.size, args.objects, random)
                used = [thing.file.relative_to(args.source).as_posix() for thing in scene.things]
                files[side] |= dict.fromkeys(write_scene(scene, work / side, i, document), used)
            (work / side / "annotations.json").write_text(json.dumps(document, indent=1) + "\n")
    say(
        f"composed {counts['train']} train and {counts['val']} val scenes of {args.size}x{args.size} pixels with "
        f"{len(pictures)} classes, seed {args.seed}; written to {show(out)}"
    )


def write_scene(scene: Scene, folder: Path, number: int, document: dict[str, list]) -> list[str]:
    """Write the picture and the mask of a scene, and add its boxes to COCO's document; the names of both files."""
    size, name = len(scene.mask), f"{number:06d}.png"
    Image.fromarray(scene.pixels).save(folder / "images" / name)
    mask = Image.fromarray(scene.mask)
    mask.putpalette(palette())  # which makes it a picture of indices
    mask.save(folder / "masks" / name)
    document["images"].append({"id": number, "file_name": name, "width": size, "height": size})
    for thing in scene.things:
        x1, y1, x2, y2 = thing.box
        entry = {"id": len(document["annotations"]) + 1, "image_id": number, "category_id": thing.label}
        entry |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": thing.area, "iscrowd": 0}
        document["annotations"].append(entry)
    return [f"images/{name}", f"masks/{name}"]


def find_pictures(source: Path, given: str | None = None) -> dict[str, list[Path]]:
    """The pictures of each class: its name is the subfolder of ``source``, or ``given`` for all of them.

    Raises UsageError where there is none.
    """
    if not source.is_dir():
        raise UsageError(f"--source {show(source)} is no folder")
    names = [given] if given else subfolders(source, Notes(source))
    if not names:
        raise UsageError(f"{show(source)} has no subfolders, whose names would be classes: --class NAME gives one")
    pictures = {name: _below(source if given else source / name) for name in names}
    empty = [name for name, files in pictures.items() if not files]
    if empty:
        raise UsageError(f"no pictures in {show(source)} for the classes {some(empty)}")
    return pictures


def _below(folder: Path) -> list[Path]:
    """All pictures below a folder, folder by folder, without those of systems and tools."""
    files = [Path(top, name) for top, _, names in os.walk(folder) for name in names if is_image_name(name)]
    plain = [file for file in files if not any(map(is_system, file.relative_to(folder).parts))]
    return sorted(plain, key=lambda file: file.parts)


def _read(pictures: dict[str, list[Path]]) -> list[CutOut]:
    """All cut-outs; pictures that are none are left out, with a notice."""
    cut_outs, bad = [], []
    files = [(file, label) for label, of_class in enumerate(pictures.values(), 1) for file in of_class]
    for file, label in tqdm(files, desc="cut-outs", disable=None, leave=False):
        try:
            cut_outs.append(cut_out(file, label))
        except DataError as error:
            bad.append(str(error))
    if bad:
        say(f"notice: left out {len(bad)} pictures: {some(bad)}")
    return cut_outs


def cut_out(file: Path, label: int) -> CutOut:
    """The opaque part of a picture. Raises DataError for one that is no cut-out, and says why."""
    with opened(file) as original, room_for(original):
        if "A" not in original.getbands() and "transparency" not in original.info:
            raise DataError(f"{show(file)} has no alpha channel")
        picture = original.convert("RGBA")
    box = picture.getchannel("A").point(lambda alpha: 255 * (alpha >= 128)).getbbox()
    if box is None:
        raise DataError(f"{show(file)} is transparent everywhere")
    picture = picture.crop(box)
    if np.asarray(picture)[..., 3].min() >= 128:
        raise DataError(f"{show(file)} is opaque everywhere: no shape is cut out of it")
    picture.thumbnail((LARGEST, LARGEST))
    return CutOut(file, label, np.asarray(picture))


def divide(
    cut_outs: Sequence[CutOut], names: Sequence[str], share: float, seed: int
) -> dict[str, dict[int, list[CutOut]]]:
    """The cut-outs of each side, by label: no picture is on both. ``names``: of the labels from 1 on.

    Raises UsageError for a class without a picture for each side.
    """
    sides: dict[str, dict[int, list[CutOut]]] = {"train": {}, "val": {}}
    for label, name in enumerate(names, 1):
        members = [c for c in cut_outs if c.label == label]
        if len(members) < 2:
            raise UsageError(
                f"class {show(name)} has {len(members)} usable pictures, and each side needs one of its own"
            )
        order = np.random.default_rng(derived_seed(seed, "cut-outs", label)).permutation(len(members))
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        sides["val"][label] = [members[i] for i in order[:count]]
        sides["train"][label] = [members[i] for i in order[count:]]
    return sides


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data.prepare scenes",
        description="Compose scenes with exact masks and boxes from pictures with an alpha channel.",
        epilog="exit status: 0 done; 1 a fault while reading or writing, nothing is left behind; 2 wrong use",
        allow_abbrev=False,
    )
    parser.add_argument("--source", type=Path, required=True, help="folder with a subfolder of pictures for each class")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must not exist, or be empty")
    parser.add_argument("--class", dest="classes", metavar="NAME", help="one class for all pictures below --source")
    both = numbers.whole(2, numbers.MANY)
    parser.add_argument("--scenes", type=both, default=2000, help="train and val together (default 2000)")
    parser.add_argument("--size", type=numbers.pixels, default=128, help="side in pixels (default 128)")
    parser.add_argument("--objects", type=numbers.positive_int, default=4, help="most objects in a scene (default 4)")
    parser.add_argument("--val", type=numbers.fraction, default=0.2, help="share of scenes and pictures for val")
    parser.add_argument("--seed", type=numbers.seed, default=0, help="all randomness derives from it (default 0)")
    return parser
