"""The image lists of MIT67: `TrainImages.txt` and `TestImages.txt`, one `class/file name` a line.

The file names have spaces, `+` and apostrophes, so a line is split at its first slash only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from utils.system.terminal import show


def read_lists(
    lists: Mapping[str, Path], known: set[tuple[str, str]], spelling: Mapping[str, str], root: Path
) -> tuple[dict[tuple[str, str], str], list[str]]:
    """Which part each listed image belongs to, and what is wrong with the lists.

    `lists`: part -> list file. `known`: the (class, file name) pairs that exist. `spelling`: class folder as
    written in a list -> class. `root`: the folder of class folders. Returns (class, file name) -> part, and one
    line of text per bad line of a list: a line that names no image, or one that is already there.
    """
    parts: dict[tuple[str, str], str] = {}
    bad: list[str] = []
    seen: dict[tuple[str, str], str] = {}
    for part, file in lists.items():
        for number, line in numbered_lines(file.read_bytes()):
            place = f"{show(file.name)} line {number}"
            folder, slash, name = line.partition("/")
            image = (spelling.get(folder, folder), name)
            if image in seen:
                bad.append(f"{place} repeats {seen[image]}: {show(line)}")
            elif image in known:
                parts[image] = part
                seen[image] = place
            else:
                bad.append(f"{place} {_why_not(folder, slash, name, root)}: {show(line)}")
    return parts, bad


def numbered_lines(content: bytes) -> list[tuple[int, str]]:
    """The lines with text in them and their numbers from 1.

    Line ends may be LF, CRLF or CR; blanks around a line and a byte-order mark go. Bytes that are not UTF-8 stay
    as Python keeps them in file names, so that they still match.
    """
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def _why_not(folder: str, slash: str, name: str, root: Path) -> str:
    if not slash or not folder or not name or "/" in name or ".." in (folder, name):
        return "is not of the form class/file"
    if os.path.isdir(root / folder / name):  # unlike Path.is_dir, false for whatever cannot be a file name
        return "names a folder"
    if not os.path.isdir(root / folder):
        return "names a class that is not there"
    return "names an image that is not there"
