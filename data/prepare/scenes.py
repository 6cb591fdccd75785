"""Composed scenes: cut-out pictures with an alpha channel, several on a background, with exact masks and boxes.

    python -m data.prepare scenes --source clipart --out ../data/scenes --scenes 2000 --size 128

Classes are the subfolders of --source; every fifth picture of each is kept for val/ alone. A pixel is the object's
where its alpha is at least one half and nothing lies above it; a box is the smallest one around what can be seen. Scene
number i of a side depends on the seed and on i alone.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.ops import masks_to_boxes
from tqdm import tqdm

from data.decoding import opened
from data.folders import SIDES, Notes, is_image_name, subfolders
from data.prepare.folder import check_out, fresh_folder
from utils.system import numbers
from utils.system.errors import UsageError
from utils.system.palette import palette
from utils.system.seeds import derived_seed
from utils.system.terminal import OneLineParser, say, show

EVERY = 5  # one picture and one scene of so many are for val
SMALLEST, LARGEST = 0.25, 0.6  # of the side of a scene: the longer side of an object
KEPT = 512  # side in pixels that a cut-out is kept at

Classes = list[list[Image.Image]]  # cut-outs of each class


def make_scenes(argv: Sequence[str]) -> None:
    """Run ``data.prepare scenes`` on the words behind its name. Raises UsageError, OSError or WorkError."""
    args = _parser().parse_args(argv)
    out = check_out(args.out, args.source)
    names, sides = read_cut_outs(args.source)
    counts = {"train": args.scenes - args.scenes // EVERY, "val": args.scenes // EVERY}
    facts = {"kind": "composed scenes", "source": str(args.source), "seed": args.seed, "scenes": counts}
    with fresh_folder(out, ["background", *names], facts) as work:
        for side, number in counts.items():
            categories = [{"id": i, "name": name} for i, name in enumerate(names, 1)]
            document = {"images": [], "annotations": [], "categories": categories}
            for folder in ("images", "masks"):
                (work / side / folder).mkdir(parents=True)
            for i in tqdm(range(number), desc=side, unit="scene", disable=None, leave=False):
                random = np.random.default_rng(derived_seed(args.seed, "scene", side, i))
                write_scene(*compose(sides[side], args.size, args.objects, random), work / side, i, document)
            (work / side / "annotations.json").write_text(json.dumps(document, indent=1) + "\n")
    say(f"composed {counts['train']} train and {counts['val']} val scenes, seed {args.seed}; written to {show(out)}")


def read_cut_outs(source: Path) -> tuple[list[str], dict[str, Classes]]:
    """Class names and the cut-outs of each side; no picture is on both. Raises UsageError for a class with under 2."""
    if not os.path.isdir(source):
        raise UsageError(f"--source {show(source)} is no folder")
    names = subfolders(source, Notes(source))
    if not 0 < len(names) < 255:
        raise UsageError(f"{show(source)} has {len(names)} subfolders, whose names are classes: it takes 1 to 254")
    sides: dict[str, Classes] = {side: [] for side in SIDES}
    for name in tqdm(names, desc="cut-outs", disable=None, leave=False):
        files = sorted(file for file in (source / name).rglob("*") if is_image_name(file.name))
        members = [picture for picture in map(cut_out, files) if picture]
        if len(members) < 2:
            raise UsageError(f"class {show(name)} has {len(members)} cut-outs, and each side needs one of its own")
        sides["val"].append(members[::EVERY])
        sides["train"].append([picture for i, picture in enumerate(members) if i % EVERY])
    return names, sides


def cut_out(file: Path) -> Image.Image | None:
    """The opaque part of a picture, RGBA; None for one that is opaque, or transparent, everywhere."""
    with opened(file) as original:
        picture = original.convert("RGBA")
    alpha = picture.getchannel("A").point(lambda value: 255 * (value >= 128))
    if alpha.getextrema() != (0, 255):
        return None
    picture = picture.crop(alpha.getbbox())
    picture.thumbnail((KEPT, KEPT))
    return picture


def compose(
    classes: Classes, size: int, most: int, random: np.random.Generator
) -> tuple[Image.Image, np.ndarray, list[int]]:
    """A scene of up to ``most`` objects: its picture, the number of the object at each pixel, (S, S), their labels.

    Numbers count from 1, and labels too; 0 is the background. Of every object at least half can be seen.
    """
    # Coarse and fine noise.
    coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((size, size))
    noisy = np.asarray(coarse) + random.normal(0, 8, (size, size, 1))
    scene = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    owner, areas, labels = np.zeros((size, size), np.int64), [], []  # areas: before anything lay above an object
    for _ in range(int(random.integers(1, most + 1))):
        label = int(random.integers(len(classes)))
        members = classes[label]
        side = max(4, round(size * random.uniform(SMALLEST, LARGEST)))
        figure = ImageOps.contain(members[int(random.integers(len(members)))], (side, side))
        left, top = (int(random.integers(size - length + 1)) for length in figure.size)
        opaque = np.asarray(figure)[..., 3] >= 128
        changed = owner.copy()
        changed[top : top + figure.height, left : left + figure.width][opaque] = len(labels) + 1
        full = np.array([*areas, opaque.sum()])
        # An object that would hide too much of another is left out.
        if opaque.any() and (2 * np.bincount(changed.flatten(), minlength=len(full) + 1)[1:] >= full).all():
            scene.paste(figure, (left, top), figure)  # half transparent edges blend
            owner, areas, labels = changed, full.tolist(), [*labels, label + 1]
    return scene, owner, labels


def write_scene(
    scene: Image.Image, owner: np.ndarray, labels: list[int], folder: Path, number: int, document: dict[str, list]
) -> None:
    """Write a scene and its mask, and add its boxes to COCO's document."""
    name = f"{number:06d}.png"
    scene.save(folder / "images" / name)
    mask = Image.fromarray(np.array([0, *labels], np.uint8)[owner])  # (S, S)
    mask.putpalette(palette())  # which makes it a picture of indices
    mask.save(folder / "masks" / name)
    document["images"].append({"id": number, "file_name": name, "width": scene.width, "height": scene.height})
    objects = torch.from_numpy(owner) == torch.arange(1, len(labels) + 1)[:, None, None]  # (m, S, S)
    for label, shown, corners in zip(labels, objects, masks_to_boxes(objects).long().tolist(), strict=True):
        x1, y1, x2, y2 = corners  # of the last pixels
        entry = {"id": len(document["annotations"]), "image_id": number, "category_id": label, "iscrowd": 0}
        entry |= {"bbox": [x1, y1, x2 - x1 + 1, y2 - y1 + 1], "area": int(shown.sum())}
        document["annotations"].append(entry)


def _parser() -> argparse.ArgumentParser:
    about = "Compose scenes with exact masks and boxes from pictures with an alpha channel."
    parser = OneLineParser(prog="python -m data.prepare scenes", description=about, allow_abbrev=False)
    parser.add_argument("--source", type=Path, required=True, help="folder with a subfolder of pictures for each class")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must not exist, or be empty")
    parser.add_argument("--scenes", type=numbers.whole(EVERY, numbers.MANY), default=2000, help="both sides (2000)")
    parser.add_argument("--size", type=numbers.whole(16, numbers.WIDEST), default=128, help="side in pixels (128)")
    parser.add_argument("--objects", type=numbers.positive_int, default=4, help="most objects in a scene (4)")
    parser.add_argument("--seed", type=numbers.seed, default=0, help="all randomness derives from it (0)")
    return parser
