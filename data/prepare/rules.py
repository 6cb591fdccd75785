"""How the pictures of a data set are divided into train and val.

Random rules order the pictures of each class by a hash of seed, class and file name and cut the list: the
result depends on nothing else, neither on the order of the file system nor on a library version, and one
picture more or less moves hardly any other. Shares are rounded down, as in the lists that published NAS work on
Sport8 used (1,261 / 318), but each side gets at least one picture of each class.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, chain
from pathlib import Path
from typing import NamedTuple

from utils.system.errors import UsageError
from utils.system.terminal import some

EIGHTY = Fraction(4, 5)


@dataclass(frozen=True)
class Picture:
    """One image: its file, class, official part ("" where it has none) and leaf (PlantVillage only)."""

    file: Path
    label: str
    part: str = ""
    leaf: str = ""

    @property
    def name(self) -> str:
        """The name of the file, which it keeps in the prepared folder."""
        return self.file.name


Sides = tuple[list[Picture], list[Picture]]


class Rule(NamedTuple):
    """What a rule does, in words, and which official parts are train and val; without them a share is drawn."""

    text: str
    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()


def divide(rule: Rule, pictures: Sequence[Picture], seed: int, ratio: float | None) -> Sides:
    """Apply a rule: train and val, each sorted by class and file name.

    ``ratio``: the share of train where it is drawn, four fifths unless given. Raises UsageError where a class would be
    missing on one side, naming it.
    """
    if rule.train:
        sides = tuple([p for p in pictures if p.part in parts] for parts in (rule.train, rule.val))
    else:
        share = EIGHTY if ratio is None else Fraction(repr(ratio))  # exact: 0.29 of 100 is 29, not 28
        sides = draw(pictures, seed, share)
    for side, chosen in zip(("train", "val"), sides, strict=True):
        missing = sorted({p.label for p in pictures} - {p.label for p in chosen})
        if missing:
            raise UsageError(f"{len(missing)} classes would have no image in {side}: {some(missing)}")
    return tuple(sorted(chosen, key=lambda picture: (picture.label, picture.name)) for chosen in sides)


def draw(pictures: Sequence[Picture], seed: int, share: Fraction) -> Sides:
    """A share of each class, drawn by the seed, becomes train; the rest is val. No leaf is on both sides."""
    classes: dict[str, dict[str, list[Picture]]] = defaultdict(lambda: defaultdict(list))
    for picture in pictures:
        classes[picture.label][picture.leaf or picture.name].append(picture)
    train, val = [], []
    for label, leaves in classes.items():
        if len(leaves) < 2:
            raise UsageError(f"the class {label} has a single image or leaf, which cannot be on both sides")
        ordered = [leaves[leaf] for leaf in sorted(leaves, key=lambda leaf: rank(seed, label, leaf))]
        sums = list(accumulate(map(len, ordered)))
        count = sum(pictures_so_far <= share * sums[-1] for pictures_so_far in sums)  # rounded down
        count = min(max(1, count), len(ordered) - 1)
        train += chain(*ordered[:count])
        val += chain(*ordered[count:])
    return train, val


def rank(seed: int, label: str, name: str) -> bytes:
    """What the pictures, or leaves, of a class are ordered by."""
    return hashlib.sha256(f"{seed}/{label}/{name}".encode("utf-8", "surrogateescape")).digest()
