"""One composed scene: cut-out pictures on a background, with an exact mask and exact boxes.

A pixel is the object's where its alpha is at least one half and nothing lies above it; a box is the smallest one around
the pixels of an object that can be seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

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


def compose(cut_outs: Mapping[int, Sequence[CutOut]], size: int, most: int, random: np.random.Generator) -> Scene:
    """A scene of one to ``most`` objects. ``cut_outs``: by class, each of which is as likely."""
    pixels, owner = _background(size, random), np.zeros((size, size), np.uint8)
    placed: list[tuple[CutOut, int]] = []  # with the pixels of each before anything lay above it
    labels = sorted(cut_outs)
    for _ in range(int(random.integers(1, most + 1))):
        members = cut_outs[labels[int(random.integers(len(labels)))]]
        chosen = members[int(random.integers(len(members)))]
        for _ in range(TRIES):
            side = round(size * random.uniform(SMALLEST_OBJECT, LARGEST_OBJECT))
            figure = _scaled(chosen.pixels, max(side, 4))
            top, left = (int(random.integers(size - length + 1)) for length in figure.shape[:2])
            changed = owner.copy()  # (S, S): number of the object on top, 0 for none
            window = (slice(top, top + figure.shape[0]), slice(left, left + figure.shape[1]))
            opaque = figure[..., 3] >= 128
            changed[window][opaque] = len(placed) + 1
            # An object that would hide too much of another is put elsewhere.
            full = [*(area for _, area in placed), int(opaque.sum())]
            seen = [int((changed == i + 1).sum()) for i in range(len(full))]
            if all(s and s >= VISIBLE * f for s, f in zip(seen, full, strict=True)):
                # Half transparent edges blend, though a mask counts them by alpha alone.
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
