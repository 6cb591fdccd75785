"""MIT67: class folders, and the lists `TrainImages.txt` and `TestImages.txt`, one `class/file name` a line.

The file names have spaces, `+` and apostrophes, so a line is split at its first slash only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data.listing import Notes
from data.prepare.class_names import MIT67
from data.prepare.reading import DataSet, Layout, Trail, pictures_by_folder, required_file
from data.prepare.rules import Picture, Rule, by_eighty, by_parts
from utils.system.errors import UsageError
from utils.system.terminal import show

LISTS = {"train": "TrainImages.txt", "test": "TestImages.txt"}
RULES = {
    "official": Rule("TrainImages.txt / TestImages.txt: 5360 / 1340", by_parts(["train"], ["test"])),
    "all-images": Rule("all but TestImages.txt / TestImages.txt: 14280 / 1340", by_parts([""], ["test"])),
    "80-20": by_eighty("80 % of all images of each class, seeded"),
}


def read(data: DataSet, trail: Trail, notes: Notes, rule: str, skip_bad_lines: bool) -> Layout:
    """The pictures with the part that the lists of a rule give them. Raises UsageError for bad lines."""
    pictures = pictures_by_folder(data, trail[-1], notes)
    if rule == "80-20":
        return Layout(pictures, rule)
    needed = ("train", "test") if rule == "official" else ("test",)
    lists = {part: required_file(trail, LISTS[part], rule) for part in needed}
    parts, bad = read_lists(lists, pictures, trail[-1])
    if bad and not skip_bad_lines:
        more = f"; and {len(bad) - 20} more" if len(bad) > 20 else ""
        lines = "; ".join(bad[:20]) + more
        raise UsageError(f"{len(bad)} bad list lines: {lines} (--bad_lines skip leaves them out)")
    notes.more += [f"skipped {line}" for line in bad]
    return Layout([replace(p, part=parts.get((p.label, p.name), "")) for p in pictures], rule)


SET = DataSet(MIT67, (15620,), ("Images", "indoorCVPR_09"), RULES, read=read)


def read_lists(
    lists: Mapping[str, Path], pictures: Sequence[Picture], root: Path
) -> tuple[dict[tuple[str, str], str], list[str]]:
    """By class and file name the part of each listed image, and a text for each line of a list that is bad.

    A bad line names no image, or one that an earlier line names.
    """
    spelling = {label: label for label in {p.label for p in pictures}} | {p.file.parent.name: p.label for p in pictures}
    known = {(picture.label, picture.name) for picture in pictures}
    parts: dict[tuple[str, str], str] = {}
    seen: dict[tuple[str, str], str] = {}
    bad: list[str] = []
    for part, file in lists.items():
        for number, line in numbered_lines(file.read_bytes()):
            place = f"{show(file.name)} line {number}"
            folder, slash, name = line.partition("/")
            image = (spelling.get(folder, folder), name)
            if image in seen:
                bad.append(f"{place} repeats {seen[image]}: {show(line)}")
            elif image in known:
                parts[image], seen[image] = part, place
            else:
                bad.append(f"{place} {_why_not(folder, slash, name, root)}: {show(line)}")
    return parts, bad


def numbered_lines(content: bytes) -> Iterator[tuple[int, str]]:
    """The lines with text in them and their numbers from 1.

    Line ends may be LF, CRLF or CR; blanks around a line and a byte-order mark go. Bytes that are not UTF-8 stay
    as Python keeps them in file names, so that they still match.
    """
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return ((number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip())


def _why_not(folder: str, slash: str, name: str, root: Path) -> str:
    if not slash or not folder or not name or "/" in name or ".." in (folder, name):
        return "is not of the form class/file"
    if os.path.isdir(root / folder / name):  # unlike Path.is_dir, false for whatever cannot be a file name
        return "names a folder"
    return f"names {'an image' if os.path.isdir(root / folder) else 'a class'} that is not there"
