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

from data.prepare.layouts import Picture
from utils.system.errors import UsageError
from utils.system.terminal import some

EIGHTY = Fraction(4, 5)


@dataclass(frozen=True)
class Rule:
    """A named rule: what it does in words, and `divide(pictures, seed, share) -> (train, val)`."""

    text: str
    divide: Callable[[Sequence[Picture], int, Fraction], tuple[list[Picture], list[Picture]]]


def by_share(pictures: Sequence[Picture], seed: int, share: Fraction) -> tuple[list[Picture], list[Picture]]:
    """A share of each class, drawn by the seed, becomes train; the rest is val."""
    train, val = [], []
    for label, members in _by_class(pictures).items():
        if len(members) < 2:
            raise UsageError(f"the class {label} has a single image, which cannot be on both sides")
        count = min(max(1, int(share * len(members))), len(members) - 1)
        ordered = _shuffled(members, seed)
        train += ordered[:count]
        val += ordered[count:]
    return train, val


def by_counts(num_train: int, num_val: int):
    """So many pictures of each class for train and for val, drawn by the seed; the rest is left out."""

    def divide(pictures: Sequence[Picture], seed: int, share: Fraction) -> tuple[list, list]:
        classes = _by_class(pictures)
        small = [f"{label} ({len(found)})" for label, found in classes.items() if len(found) < num_train + num_val]
        if small:
            raise UsageError(f"the rule needs {num_train + num_val} images of each class; too few in: {some(small)}")
        train, val = [], []
        for members in classes.values():
            ordered = _shuffled(members, seed)
            train += ordered[:num_train]
            val += ordered[num_train : num_train + num_val]
        return train, val

    return divide


def by_parts(train_parts: Iterable[str], val_parts: Iterable[str]):
    """Official parts: which of them are train and which val. Nothing is random."""
    train_parts, val_parts = set(train_parts), set(val_parts)

    def divide(pictures: Sequence[Picture], seed: int, share: Fraction) -> tuple[list, list]:
        train = [picture for picture in pictures if picture.part in train_parts]
        return train, [picture for picture in pictures if picture.part in val_parts]

    return divide


def by_leaf(pictures: Sequence[Picture], seed: int, share: Fraction) -> tuple[list[Picture], list[Picture]]:
    """As near to four fifths of each class as whole leaves allow: no leaf is on both sides."""
    train, val = [], []
    for label, members in _by_class(pictures).items():
        leaves: dict[str, list[Picture]] = defaultdict(list)
        for picture in members:
            leaves[picture.leaf].append(picture)
        if len(leaves) < 2:
            raise UsageError(f"all images of the class {label} show one leaf, which cannot be on both sides")
        ordered = sorted(leaves, key=lambda leaf: _rank(seed, label, leaf))
        count, taken = 0, 0
        for leaf in ordered[:-1]:
            # Half of a leaf beyond the target is nearer to it than the whole leaf short of it.
            if taken and count + Fraction(len(leaves[leaf]), 2) > EIGHTY * len(members):
                break
            count += len(leaves[leaf])
            taken += 1
        train += [picture for leaf in ordered[:taken] for picture in leaves[leaf]]
        val += [picture for leaf in ordered[taken:] for picture in leaves[leaf]]
    return train, val


def _fixed(share: Fraction):
    return lambda pictures, seed, _: by_share(pictures, seed, share)


OFFICIAL_CIFAR = Rule("the official 50000 / 10000", by_parts(["train"], ["test"]))
OFFICIAL_IDX = Rule("the official 60000 / 10000, as idx files", by_parts(["train"], ["test"]))
RATIO = Rule("--train_ratio of each class, seeded", by_share)

# The first rule of each data set is its default.
RULES: dict[str, dict[str, Rule]] = {
    "aid": {"ratio": RATIO},
    "nwpu": {"ratio": RATIO},
    "sport8": {
        "80-20": Rule("80 % of each class, seeded, as NAS papers: 1261 / 318", _fixed(EIGHTY)),
        "70-60": Rule("70 and 60 of each class, seeded, as the original paper: 560 / 480", by_counts(70, 60)),
    },
    "mit67": {
        "official": Rule("TrainImages.txt / TestImages.txt: 5360 / 1340", by_parts(["train"], ["test"])),
        "all-images": Rule("all but TestImages.txt / TestImages.txt: 14280 / 1340", by_parts([""], ["test"])),
        "80-20": Rule("80 % of all images of each class, seeded", _fixed(EIGHTY)),
    },
    "flowers102": {
        "official": Rule("trnid / tstid: 1020 / 6149, valid left out", by_parts(["train"], ["test"])),
        "trainval": Rule("trnid and valid / tstid: 2040 / 6149", by_parts(["train", "valid"], ["test"])),
        "swapped": Rule("tstid / trnid: 6149 / 1020, valid left out", by_parts(["test"], ["train"])),
        "80-20": Rule("80 % of all images of each class, seeded", _fixed(EIGHTY)),
    },
    "plantvillage": {
        "leaf-80-20": Rule("80 % of each class by whole leaves, seeded; needs leaf-map.json", by_leaf),
        "random-80-20": Rule("80 % of each class by image, seeded: leaks leaves", _fixed(EIGHTY)),
    },
    "cifar10": {"official": OFFICIAL_CIFAR},
    "cifar100": {"official": OFFICIAL_CIFAR},
    **{name: {"official": OFFICIAL_IDX} for name in ("fashion_mnist", "kmnist", "mnist")},
}
DEFAULT_RATIOS = {"aid": 0.5, "nwpu": 0.2}


def divide(
    rule: Rule, pictures: Sequence[Picture], seed: int, ratio: float | None
) -> tuple[list[Picture], list[Picture]]:
    """Apply a rule: train and val, each sorted by class and file name.

    `ratio` is the share of train for the rule `ratio`, strictly between 0 and 1; other rules do not look at it.
    Raises UsageError where a class would be missing on one side, naming it.
    """
    share = Fraction(repr(ratio)) if ratio is not None else EIGHTY  # exact: 0.29 of 100 is 29, not 28
    train, val = rule.divide(pictures, seed, share)
    for side, chosen in (("train", train), ("val", val)):
        missing = sorted({p.label for p in pictures} - {p.label for p in chosen})
        if missing:
            raise UsageError(f"{len(missing)} classes would have no image in {side}: {some(missing)}")
    return _sorted(train), _sorted(val)


def _sorted(pictures: Iterable[Picture]) -> list[Picture]:
    return sorted(pictures, key=lambda picture: (picture.label, picture.name))


def _by_class(pictures: Iterable[Picture]) -> dict[str, list[Picture]]:
    classes: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        classes[picture.label].append(picture)
    return dict(sorted(classes.items()))


def _shuffled(members: Iterable[Picture], seed: int) -> list[Picture]:
    return sorted(members, key=lambda picture: _rank(seed, picture.label, picture.name))


def _rank(seed: int, label: str, name: str) -> bytes:
    text = f"{seed}/{label}/{name}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
