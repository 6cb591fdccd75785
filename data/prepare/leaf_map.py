"""Which images of PlantVillage show the same leaf, from `leaf-map.json` of the official repository.

The official file maps the identifier of an image to the leaves it may show,
`{"rs_hl 7418": ["Soybean___healthy:::497.0", "Apple___healthy:::152.0"], ...}`, since images of different
classes share identifiers. The identifier is the file name behind its last `___`, without `_final_masked`,
without `copy` and what follows it, without extension, in lower case (after the repository's
`create_data_distribution.py`). About a quarter of the images, and some whole classes, are not in it: their
leaves are unknown, and each is taken for a leaf of its own.

A plain map of leaf -> list of file names, `{"leaf 1": ["a.JPG", "b.JPG"], ...}`, is accepted as well.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from data.listing import is_image_name
from data.prepare.unpacked import find_file
from utils.system.errors import UsageError
from utils.system.terminal import reason, show

MARK = ":::"  # between class and leaf number in the official file


def find_leaf_map(folders: Sequence[Path]) -> Path | None:
    """`leaf-map.json` in one of the folders or in a `leaf_grouping` folder there; None where there is none."""
    return find_file([place for folder in folders for place in (folder, folder / "leaf_grouping")], "leaf-map.json")


def identifier(file_name: str) -> str:
    """The identifier of an image: `0a1b___RS_HL 7418 copy.jpg` -> `rs_hl 7418`."""
    stem = os.path.splitext(file_name)[0].replace("_final_masked", "").split("___")[-1]
    return stem.split("copy")[0].strip().lower()


def assign_leaves(file: Path, images: Sequence[tuple[str, str]]) -> tuple[list[str], int]:
    """A leaf for each (class, file name), and how many of them the map knows.

    Two images of a class have the same leaf exactly where the map says so, or where the map does not know them
    and they have the same identifier (copies of one image). UsageError for a map of an unknown form, or one that
    knows none of the images.
    """
    content = _read(file)
    choose = _leaf_by_identifier(content) if _is_official(content) else _leaf_by_file_name(content, file)
    known = [choose(label, name) for label, name in images]
    matched = sum(leaf is not None for leaf in known)
    if not matched:
        raise UsageError(
            f"{show(file)} knows none of the {len(images)} images: give the map that belongs to this copy, "
            "or split without it (--split random-80-20)"
        )
    leaves = [  # these texts enter the hash that orders the leaves: other words would draw other splits
        f"photo {identifier(name) or name}" if leaf is None else f"leaf {leaf}"
        for leaf, (_, name) in zip(known, images, strict=True)
    ]
    return leaves, matched


def _read(file: Path) -> dict[str, list[str]]:
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{show(file)} is no readable JSON: {reason(error)}") from error
    good = isinstance(content, dict) and content and all(_is_names(value) for value in content.values())
    if not good:
        raise UsageError(f"{show(file)} is not of a known form: an object whose values are lists of texts")
    return content


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _values(content: dict[str, list[str]]) -> Iterable[str]:
    return (item for value in content.values() for item in value)


def _is_official(content: dict[str, list[str]]) -> bool:
    return all(MARK in item for item in _values(content))


def _leaf_by_identifier(content: dict[str, list[str]]):
    def choose(label: str, name: str) -> str | None:
        leaves = content.get(identifier(name), [])
        of_class = [leaf for leaf in leaves if leaf.split(MARK)[0] == label]
        # A single entry counts even under another class name, as in the official script.
        return (of_class or [None])[0] if len(leaves) != 1 else leaves[0]

    return choose


def _leaf_by_file_name(content: dict[str, list[str]], file: Path):
    if not all(is_image_name(item) for item in _values(content)):
        raise UsageError(
            f"{show(file)} is not of a known form: the lists must hold either class{MARK}leaf or image file names"
        )
    leaf_of: dict[str, str] = {}
    for leaf, names in content.items():
        for name in names:
            base = name.split("/")[-1]
            if leaf_of.setdefault(base, leaf) != leaf:
                raise UsageError(f"{show(file)}: {show(base)} is in two leaves, {show(leaf_of[base])} and {show(leaf)}")

    return lambda label, name: leaf_of.get(name)
