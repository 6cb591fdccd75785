"""Composed scenes: cut-out pictures with an alpha channel, several on a background, with exact masks and boxes.

A pixel is the object's where its alpha is at least one half and nothing lies above it; a box is the smallest one around
the pixels of an object that can be seen. What scene number i of a side shows depends on the seed and on i alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from data.decoding import DataError, quieten, room_for, why
from data.listing import Notes, entries, is_image_name, subfolders
from utils.system.errors import UsageError
from utils.system.seeds import derived_seed
from utils.system.terminal import show, some

LARGEST = 512  # side in pixels that a cut-out is kept at
SMALLEST_OBJECT, LARGEST_OBJECT = 0.25, 0.6  # of the side of a scene
VISIBLE = 0.5  # least share of an object that has to be seen, of every object in a scene
TRIES = 20  # places for an object before the scene does without it


@dataclass(frozen=True)
class CutOut:
    """One picture: RGBA pixels, uint8 (h, w, 4), cropped to what is opaque. ``label``: of masks, from 1 on."""

    file: Path
    label: int
    pixels: np.ndarray


@dataclass(frozen=True)
class Thing:
    """What can be seen of an object in a scene. ``box``: x1, y1, x2, y2 in pixels, right and lower ends excluded."""

    label: int
    box: tuple[int, int, int, int]
    area: int
    file: Path


@dataclass(frozen=True)
class Scene:
    """A composed picture, uint8 (S, S, 3), its mask, uint8 (S, S), 0 for the background, and its objects."""

    pixels: np.ndarray
    mask: np.ndarray
    things: tuple[Thing, ...]


def find_pictures(source: Path, given: str | None = None) -> dict[str, list[Path]]:
    """The pictures of each class: its name is the subfolder of ``source``, or ``given`` for all of them.

    Raises UsageError where there is none.
    """
    if not source.is_dir():
        raise UsageError(f"--source {show(source)} is no folder")
    notes = Notes(source)
    names = [given] if given else subfolders(source, notes)
    if not names:
        raise UsageError(f"{show(source)} has no subfolders, whose names would be classes: --class NAME gives one")
    found = {name: _below(source if given else source / name, notes) for name in names}
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise UsageError(f"no pictures in {show(source)} for the classes {some(empty)}")
    return found


def _below(folder: Path, notes: Notes) -> list[Path]:
    files = []
    for entry in entries(folder, notes):
        if entry.is_dir(follow_symlinks=False):
            files += _below(Path(entry.path), notes)
        elif is_image_name(entry.name):
            files.append(Path(entry.path))
    return files


def cut_out(file: Path, label: int) -> CutOut:
    """The opaque part of a picture. Raises DataError for one that is no cut-out, and says why."""
    quieten()
    try:
        with Image.open(file) as original, room_for(original):
            if "A" not in original.getbands() and "transparency" not in original.info:
                raise DataError(f"{show(file)} has no alpha channel")
            picture = original.convert("RGBA")
    except DataError:
        raise
    except Exception as error:  # Pillow raises almost any type, by where the damage is
        raise DataError(f"{show(file)} cannot be decoded: {why(error)}") from None
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
        own = [c for c in cut_outs if c.label == label]
        if len(own) < 2:
            raise UsageError(f"class {show(name)} has {len(own)} usable pictures, and each side needs one of its own")
        order = np.random.default_rng(derived_seed(seed, "cut-outs", label)).permutation(len(own))
        count = min(max(round(share * len(own)), 1), len(own) - 1)
        sides["val"][label] = [own[i] for i in order[:count]]
        sides["train"][label] = [own[i] for i in order[count:]]
    return sides


def compose(cut_outs: Mapping[int, Sequence[CutOut]], size: int, most: int, random: np.random.Generator) -> Scene:
    """A scene of one to ``most`` objects. ``cut_outs``: by class, each of which is as likely."""
    pixels, owner = _background(size, random), np.zeros((size, size), np.uint8)
    placed: list[tuple[CutOut, int]] = []  # with the pixels of each before anything lay above it
    labels = sorted(cut_outs)
    for _ in range(int(random.integers(1, most + 1))):
        own = cut_outs[labels[int(random.integers(len(labels)))]]
        chosen = own[int(random.integers(len(own)))]
        for _ in range(TRIES):
            side = round(size * random.uniform(SMALLEST_OBJECT, LARGEST_OBJECT))
            figure = _scaled(chosen.pixels, max(side, 4))
            top, left = (int(random.integers(size - length + 1)) for length in figure.shape[:2])
            changed = owner.copy()
            window = (slice(top, top + figure.shape[0]), slice(left, left + figure.shape[1]))
            opaque = figure[..., 3] >= 128
            changed[window][opaque] = len(placed) + 1
            full = [*(area for _, area in placed), int(opaque.sum())]
            seen = [int((changed == i + 1).sum()) for i in range(len(full))]
            if all(s and s >= VISIBLE * f for s, f in zip(seen, full, strict=True)):
                alpha = figure[..., 3:].astype(np.float32) / 255
                blended = figure[..., :3] * alpha + pixels[window] * (1 - alpha)
                pixels[window] = blended.round().astype(np.uint8)
                owner = changed
                placed.append((chosen, full[-1]))
                break
    things = tuple(_thing(owner == i + 1, chosen) for i, (chosen, _) in enumerate(placed))
    ids = np.array([0, *(thing.label for thing in things)], np.uint8)
    return Scene(pixels, ids[owner], things)


def _scaled(pixels: np.ndarray, side: int) -> np.ndarray:
    """RGBA with the longer side so long."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    shape = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BILINEAR))


def _background(size: int, random: np.random.Generator) -> np.ndarray:
    """Coarse and fine noise around a colour, uint8 (S, S, 3)."""
    coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)).astype(np.float32)
    fine = random.normal(0, 8, (size, size, 1))
    return (smooth + fine).clip(0, 255).astype(np.uint8)


def _thing(visible: np.ndarray, chosen: CutOut) -> Thing:
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    return Thing(chosen.label, box, int(visible.sum()), chosen.file)
