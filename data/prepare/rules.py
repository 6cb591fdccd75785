"""How the pictures of a data set are divided into train and val.

Random rules order the pictures of each class by a hash of seed, class and file name and cut the list: the
result depends on nothing else, neither on the order of the file system nor on a library version, and one
picture more or less moves hardly any other. Shares are rounded down, as in the lists that published NAS work on
Sport8 used (1,261 / 318), but each side gets at least one picture of each class.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
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
    """A named rule: what it does in words, and ``divide(pictures, seed, share)``, which gives train and val."""

    text: str
    divide: Callable[[Sequence[Picture], int, Fraction], Sides]


def by_share(pictures: Sequence[Picture], seed: int, share: Fraction) -> Sides:
    """A share of each class, drawn by the seed, becomes train; the rest is val."""
    train, val = [], []
    for label, members in by_class(pictures).items():
        if len(members) < 2:
            raise UsageError(f"the class {label} has a single image, which cannot be on both sides")
        count = min(max(1, int(share * len(members))), len(members) - 1)  # rounded down, one on each side
        ordered = sorted(members, key=lambda picture: rank(seed, picture.label, picture.name))
        train += ordered[:count]
        val += ordered[count:]
    return train, val


def by_counts(num_train: int, num_val: int) -> Callable[..., Sides]:
    """So many pictures of each class for train and for val, drawn by the seed; the rest is left out."""

    def divide(pictures: Sequence[Picture], seed: int, _share: Fraction) -> Sides:
        classes, needed = by_class(pictures), num_train + num_val
        small = [f"{label} ({len(members)})" for label, members in classes.items() if len(members) < needed]
        if small:
            raise UsageError(f"the rule needs {needed} images of each class; too few in: {some(small)}")
        train, val = [], []
        for members in classes.values():
            ordered = sorted(members, key=lambda picture: rank(seed, picture.label, picture.name))
            train += ordered[:num_train]
            val += ordered[num_train:needed]
        return train, val

    return divide


def by_parts(train: Sequence[str], val: Sequence[str]) -> Callable[..., Sides]:
    """Official parts: which of them are train and which val. Nothing is random."""
    return lambda pictures, _seed, _share: tuple([p for p in pictures if p.part in parts] for parts in (train, val))


def by_eighty(text: str) -> Rule:
    """The rule by which four fifths of each class, drawn by the seed, are train."""
    return Rule(text, lambda pictures, seed, _share: by_share(pictures, seed, EIGHTY))


def divide(rule: Rule, pictures: Sequence[Picture], seed: int, ratio: float | None) -> Sides:
    """Apply a rule: train and val, each sorted by class and file name.

    ``ratio`` is the share of train for the rule ``ratio``, strictly between 0 and 1; other rules do not look at it.
    Raises UsageError where a class would be missing on one side, naming it.
    """
    share = Fraction(repr(ratio)) if ratio is not None else EIGHTY  # exact: 0.29 of 100 is 29, not 28
    sides = rule.divide(pictures, seed, share)
    for side, chosen in zip(("train", "val"), sides, strict=True):
        missing = sorted({p.label for p in pictures} - {p.label for p in chosen})
        if missing:
            raise UsageError(f"{len(missing)} classes would have no image in {side}: {some(missing)}")
    return tuple(sorted(chosen, key=lambda picture: (picture.label, picture.name)) for chosen in sides)


def by_class(pictures: Iterable[Picture]) -> dict[str, list[Picture]]:
    """The pictures of each class, sorted by class."""
    classes: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        classes[picture.label].append(picture)
    return dict(sorted(classes.items()))


def rank(seed: int, label: str, name: str) -> bytes:
    """What random rules order the pictures, or leaves, of a class by."""
    return hashlib.sha256(f"{seed}/{label}/{name}".encode("utf-8", "surrogateescape")).digest()
