"""MIT67: class folders, and the lists `TrainImages.txt` and `TestImages.txt`, one `class/file name` a line.

The file names have spaces, `+` and apostrophes, so a line is split at its first slash only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.folders import Notes
from data.prepare.pictures import DataSet, Picture, Rule, pictures_by_folder, required_file
from utils.system.errors import UsageError
from utils.system.terminal import show, some

# `kindergarden`, `stairscase` and `jewelleryshop` are spelled as in the official download.
CLASSES = (
    "airport_inside artstudio auditorium bakery bar bathroom bedroom bookstore bowling buffet casino "
    "children_room church_inside classroom cloister closet clothingstore computerroom concert_hall corridor "
    "deli dentaloffice dining_room elevator fastfood_restaurant florist gameroom garage greenhouse "
    "grocerystore gym hairsalon hospitalroom inside_bus inside_subway jewelleryshop kindergarden kitchen "
    "laboratorywet laundromat library livingroom lobby locker_room mall meeting_room movietheater museum "
    "nursery office operating_room pantry poolinside prisoncell restaurant restaurant_kitchen shoeshop "
    "stairscase studiomusic subway toystore trainstation tv_studio videostore waitingroom warehouse winecellar"
).split()
LISTS = {"train": "TrainImages.txt", "test": "TestImages.txt"}
RULES = {
    "official": Rule("TrainImages.txt / TestImages.txt: 5360 / 1340", ("train",), ("test",)),
    "all-images": Rule("all but TestImages.txt / TestImages.txt: 14280 / 1340", ("",), ("test",)),
    "80-20": Rule("80 % of all images of each class, seeded"),
}


def read(data: DataSet, root: Path, source: Path, notes: Notes, rule: str) -> list[Picture]:
    """The pictures with the part that the lists of a rule give them. Raises UsageError for bad lines."""
    pictures = pictures_by_folder(data, root, notes)
    needed = {"official": ("train", "test"), "all-images": ("test",), "80-20": ()}[rule]
    parts = read_lists({part: required_file(root, source, LISTS[part], rule) for part in needed}, pictures)
    return [p._replace(part=parts.get((p.label, p.name), "")) for p in pictures]


def read_lists(lists: dict[str, Path], pictures: Sequence[Picture]) -> dict[tuple[str, str], str]:
    """By class and file name the part of each listed image.

    Raises UsageError for lines that name no image, or one that an earlier line names. Line ends may be LF, CRLF or CR.
    """
    spelling = {p.file.parent.name: p.label for p in pictures}
    known = {(picture.label, picture.name) for picture in pictures}
    parts: dict[tuple[str, str], str] = {}
    bad: list[str] = []
    for part, file in lists.items():
        # Bytes that are not UTF-8 stay as Python keeps them in file names, so that they still match.
        text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
        for number, line in enumerate(map(str.strip, text.split("\n")), start=1):
            folder, _, name = line.partition("/")
            image = (spelling.get(folder, folder), name)
            if line and (image in parts or image not in known):
                what = "repeats an image" if image in parts else "names no image"
                bad.append(f"{show(file.name)} line {number} {what}: {show(line)}")
            parts[image] = part
    if bad:
        raise UsageError(f"{len(bad)} bad list lines: {some(bad, 20)}")
    return parts


SET = DataSet(CLASSES, (15620,), RULES, read=read)
