"""PlantVillage: class folders, and which images show the same leaf, by `leaf-map.json` of the official repository.

The official file maps the identifier of an image to the leaves it may show,
`{"rs_hl 7418": ["Soybean___healthy:::497.0", "Apple___healthy:::152.0"], ...}`, since images of different
classes share identifiers. The identifier is the file name behind its last `___`, without `_final_masked`,
without `copy` and what follows it, without extension, in lower case (after the repository's
`create_data_distribution.py`). About a quarter of the images, and some whole classes, are not in it: their
leaves are unknown, and each is taken for a leaf of its own.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from data.listing import Notes
from data.prepare.class_names import PLANTVILLAGE
from data.prepare.reading import DataSet, Layout, Trail, beside, find_file, pictures_by_folder
from data.prepare.rules import EIGHTY, Picture, Rule, Sides, by_class, by_eighty, rank
from utils.system.errors import UsageError
from utils.system.terminal import reason, show

MARK = ":::"  # between class and leaf number


def by_leaf(pictures: Sequence[Picture], seed: int, _share: Fraction) -> Sides:
    """As near to four fifths of each class as whole leaves allow: no leaf is on both sides."""
    train, val = [], []
    for label, members in by_class(pictures).items():
        leaves: dict[str, list[Picture]] = defaultdict(list)
        for picture in members:
            leaves[picture.leaf].append(picture)
        if len(leaves) < 2:
            raise UsageError(f"all images of the class {label} show one leaf, which cannot be on both sides")
        ordered = sorted(leaves, key=lambda leaf: rank(seed, label, leaf))
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


RULES = {
    "leaf-80-20": Rule("80 % of each class by whole leaves, seeded; needs leaf-map.json", by_leaf),
    "random-80-20": by_eighty("80 % of each class by image, seeded: leaks leaves"),
}


def read(data: DataSet, trail: Trail, notes: Notes, rule: str, _skip_bad_lines: bool) -> Layout:
    """The pictures with their leaves where a map knows them; else a rule that does without, and a warning."""
    if "with_augmentation" in trail[-1].name.casefold():
        raise UsageError(
            f"{show(trail[-1])} holds augmented copies, which a split would spread over both sides: "
            "use the download without augmentation"
        )
    pictures = pictures_by_folder(data, trail[-1], notes)
    places = [place for folder in beside(trail) for place in (folder, folder / "leaf_grouping")]
    leaf_map = find_file(places, "leaf-map.json")
    if rule == "leaf-80-20" and leaf_map:
        leaves, matched = assign_leaves(leaf_map, pictures)
        notes.more.append(f"leaf-map.json knows the leaf of {matched} of {len(pictures)} images")
        return Layout([replace(p, leaf=leaf) for p, leaf in zip(pictures, leaves, strict=True)], rule)
    without = "the split does not look at leaf-map.json" if leaf_map else "there is no leaf-map.json"
    warning = (
        f"{without}: images of ONE LEAF WILL LAND IN BOTH train AND val, and the accuracy on val will be too good; "
        "put leaf-map.json of github.com/spMohanty/PlantVillage-Dataset beside the images and use the rule leaf-80-20"
    )
    return Layout(pictures, "random-80-20", [warning])


SET = DataSet(
    PLANTVILLAGE,
    (54303, 54304, 54305, 54306),  # by mirror
    ("raw", "color", "Plant_leave_diseases_dataset_without_augmentation", "PlantVillage"),
    RULES,
    dropped=("Background_without_leaves", "x_Removed_from_Healthy_leaves"),
    read=read,
)


def identifier(file_name: str) -> str:
    """The identifier of an image: `0a1b___RS_HL 7418 copy.jpg` -> `rs_hl 7418`."""
    stem = os.path.splitext(file_name)[0].replace("_final_masked", "").split("___")[-1]
    return stem.split("copy")[0].strip().lower()


def assign_leaves(file: Path, pictures: Sequence[Picture]) -> tuple[list[str], int]:
    """A leaf for each picture, and how many of them the map knows.

    Two images of a class have the same leaf exactly where the map says so, or where the map does not know them
    and they have the same identifier (copies of one image). UsageError for a map of an unknown form, or one that
    knows none of the images.
    """
    try:
        leaves_of = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{show(file)} is no readable JSON: {reason(error)}") from error
    if not isinstance(leaves_of, dict) or not all(map(_are_leaves, leaves_of.values())):
        raise UsageError(f"{show(file)} is not of the known form: an object whose values are lists of class{MARK}leaf")
    leaves, matched = [], 0
    for picture in pictures:
        candidates = leaves_of.get(identifier(picture.name), [])
        if len(candidates) != 1:  # a single one counts even under another class name, as in the official script
            candidates = [leaf for leaf in candidates if leaf.split(MARK)[0] == picture.label]
        matched += bool(candidates)
        # These texts enter the hash that orders the leaves: other words would draw other splits.
        known = f"leaf {candidates[0]}" if candidates else None
        leaves.append(known or f"photo {identifier(picture.name) or picture.name}")
    if not matched:
        raise UsageError(
            f"{show(file)} knows none of the {len(pictures)} images: give the map that belongs to this copy, "
            "or split without it (--split random-80-20)"
        )
    return leaves, matched


def _are_leaves(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and MARK in item for item in value)
