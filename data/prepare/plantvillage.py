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
from collections.abc import Sequence
from pathlib import Path

from data.folders import Notes
from data.prepare.pictures import DataSet, Picture, Rule, pictures_by_folder, required_file
from utils.system.errors import UsageError
from utils.system.terminal import reason, show

CLASSES = (
    "Apple___Apple_scab | Apple___Black_rot | Apple___Cedar_apple_rust | Apple___healthy | Blueberry___healthy | "
    "Cherry_(including_sour)___Powdery_mildew | Cherry_(including_sour)___healthy | "
    "Corn_(maize)___Cercospora_leaf_spot Gray_leaf_spot | Corn_(maize)___Common_rust_ | "
    "Corn_(maize)___Northern_Leaf_Blight | Corn_(maize)___healthy | Grape___Black_rot | "
    "Grape___Esca_(Black_Measles) | Grape___Leaf_blight_(Isariopsis_Leaf_Spot) | Grape___healthy | "
    "Orange___Haunglongbing_(Citrus_greening) | Peach___Bacterial_spot | Peach___healthy | "
    "Pepper,_bell___Bacterial_spot | Pepper,_bell___healthy | Potato___Early_blight | Potato___Late_blight | "
    "Potato___healthy | Raspberry___healthy | Soybean___healthy | Squash___Powdery_mildew | "
    "Strawberry___Leaf_scorch | Strawberry___healthy | Tomato___Bacterial_spot | Tomato___Early_blight | "
    "Tomato___Late_blight | Tomato___Leaf_Mold | Tomato___Septoria_leaf_spot | Tomato___Spider_mites "
    "Two-spotted_spider_mite | Tomato___Target_Spot | Tomato___Tomato_Yellow_Leaf_Curl_Virus | "
    "Tomato___Tomato_mosaic_virus | Tomato___healthy"
).split(" | ")
MARK = ":::"  # between class and leaf number
RULES = {
    "leaf-80-20": Rule("80 % of each class by whole leaves, seeded; needs leaf-map.json"),
    "random-80-20": Rule("80 % of each class by image, seeded: leaks leaves"),
}


def read(data: DataSet, root: Path, source: Path, notes: Notes, rule: str) -> list[Picture]:
    """The pictures, with their leaves where the rule looks at them. Raises UsageError where it needs a map."""
    if "with_augmentation" in root.name.casefold():
        raise UsageError(
            f"{show(root)} holds augmented copies, which a split would spread over both sides: "
            "use the download without augmentation"
        )
    pictures = pictures_by_folder(data, root, notes)
    if rule == "random-80-20":
        notes.more.append("images of ONE LEAF WILL LAND IN BOTH train AND val: the accuracy on val will be too good")
        return pictures
    leaf_map = required_file(root, source, "leaf-map.json", rule, "leaf_grouping")
    leaves, matched = assign_leaves(leaf_map, pictures)
    notes.more.append(f"leaf-map.json knows the leaf of {matched} of {len(pictures)} images")
    return [p._replace(leaf=leaf) for p, leaf in zip(pictures, leaves, strict=True)]


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
        leaves.append(f"leaf {candidates[0]}" if candidates else f"photo {identifier(picture.name) or picture.name}")
    if not matched:
        raise UsageError(f"{show(file)} knows none of the {len(pictures)} images: it is of another copy of the data")
    return leaves, matched


def _are_leaves(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and MARK in item for item in value)


SET = DataSet(
    CLASSES,
    (54303, 54304, 54305, 54306),  # by mirror
    RULES,
    dropped=("Background_without_leaves", "x_Removed_from_Healthy_leaves"),
    read=read,
)
