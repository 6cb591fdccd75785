"""Decode every image of a prepared folder and tell what would spoil a run.

    python -m data.check ../data/exp_data/AID_50 --quarantine ../data/bad

It looks at what training would read, `<DIR>/train/<class>/` and `<DIR>/val/<class>/`. Damaged and empty files are
faults, and so are disguised ones, whose content is not of the format that their name says (training reads them,
other decoders may not), classes that one side lacks, and images that are in train and in val byte for byte. A folder
with masks or boxes is looked through for what is missing, of another size, out of range or empty.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from data.listing import Notes, class_folders, image_names, is_image_name
from data.prepare.check_dense import check_dense, parts_of
from data.prepare.console import ENDINGS, ended_by
from data.prepare.inspection import Finding, inspect_all
from data.prepare.output_folder import check_writable, one_in_the_other
from utils.system import numbers
from utils.system.errors import UsageError, WorkError
from utils.system.signals import interrupts
from utils.system.terminal import OneLineParser, reason, say, show, some

COMMAND = "data.check"
SIDES = ("train", "val")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 clean, 1 something is wrong, 2 wrong use."""
    try:
        with interrupts():
            args = parse(argv)
            if args.parts:
                return check_dense(args.folder, args.parts)
            return check(args.folder, quarantine=args.quarantine, workers=args.workers)
    except ENDINGS as error:
        return ended_by(error, COMMAND)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; UsageError where nothing can be checked or moved as it says."""
    parser = OneLineParser(
        prog=f"python -m {COMMAND}",
        description="Decode every image of a prepared folder and report what would spoil a run.",
        epilog="exit status: 0 clean; 1 something is wrong; 2 wrong use",
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with train/<class>/ and val/<class>/")
    parser.add_argument(
        "--quarantine",
        type=Path,
        metavar="DIR",
        help="move damaged and empty files there with their relative paths; disguised ones, which training reads, stay",
    )
    parser.add_argument(
        "--workers", type=numbers.processes, metavar="N", help="processes that decode (default: one per core)"
    )
    args = parser.parse_args(argv)
    try:
        args.parts = parts_of(args.folder)
        if args.parts and args.quarantine is not None:
            raise UsageError("--quarantine is for folders of classes: an image with masks or boxes is more than a file")
        if not args.parts and not any((args.folder / side).is_dir() for side in SIDES):
            raise UsageError(f"no folder with train/<class>/ and val/<class>/: {show(args.folder)}")
        if args.quarantine is not None:
            if one_in_the_other(args.folder, args.quarantine):
                raise UsageError(f"--quarantine and the folder lie in one another: {show(args.quarantine)}")
            check_writable(args.quarantine)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in a path
        raise UsageError(reason(error)) from error
    return args


@dataclass(frozen=True)
class Contents:
    """What lies in the folder: side -> class names, the image files as (side, class, name), and notices."""

    classes: dict[str, list[str]]
    files: list[tuple[str, str, str]]
    notices: list[str]


def check(folder: Path, *, quarantine: Path | None = None, workers: int | None = None) -> int:
    """Inspect a prepared folder and print what would spoil a run; returns the exit status, 0 or 1.

    Damaged and empty files move to `quarantine` where one is given. `workers`: processes, None for one per core.
    """
    contents = _contents(folder)
    for line in contents.notices:
        say(f"notice: {line}")
    paths = ["/".join(file) for file in contents.files]
    results = inspect_all([str(folder / path) for path in paths], workers)
    findings = list(tqdm(results, total=len(paths), desc="decoding", unit="image", disable=None, leave=False))
    faults = [
        f"{finding.kind}: {show(path)}: {show(finding.reason)}"
        for path, finding in zip(paths, findings, strict=True)
        if finding.kind != "good"
    ]
    faults += _class_faults(contents, findings)
    faults += _twins(contents, findings)
    for line in faults:
        say(line)
    for line in _summary(contents, findings):
        say(line)
    if quarantine is not None:
        bad = [path for path, finding in zip(paths, findings, strict=True) if not finding.readable]
        _move(folder, quarantine, bad)
    return 1 if faults else 0


def _contents(folder: Path) -> Contents:
    notes = Notes(folder)
    classes: dict[str, list[str]] = {}
    files: list[tuple[str, str, str]] = []
    for side in SIDES:
        classes[side] = class_folders(folder / side, notes) if (folder / side).is_dir() else []
        for label in classes[side]:
            names = image_names(folder / side / label, notes)
            files += [(side, label, name) for name in names]
    # A link whose target is gone is no file to training, and yet it was meant to be an image.
    broken = sorted(path for path in notes.other if is_image_name(path) and os.path.islink(path))
    notes.other -= set(broken)
    files += [tuple(os.path.relpath(path, folder).split(os.sep)) for path in broken]
    return Contents(classes, sorted(files), notes.lines())


def _class_faults(contents: Contents, findings: Sequence[Finding]) -> list[str]:
    readable = {
        (side, label) for (side, label, _), found in zip(contents.files, findings, strict=True) if found.readable
    }
    faults = []
    for side, other in (SIDES, SIDES[::-1]):
        here, there = contents.classes[side], contents.classes[other]
        if not here:
            faults.append(f"no class folders in {side}/")
            continue
        faults += [f"class in {side}/ but not in {other}/: {show(label)}" for label in here if label not in there]
        faults += [f"class without a readable image in {side}/: {show(n)}" for n in here if (side, n) not in readable]
    return faults


def _twins(contents: Contents, findings: Sequence[Finding]) -> list[str]:
    """One line for each content that is on both sides."""
    places: dict[bytes, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for file, finding in zip(contents.files, findings, strict=True):
        if finding.readable:
            places[finding.digest][file[0]].append("/".join(file))
    return [
        f"same bytes in train and val: {some(found['train'])} and {some(found['val'])}"
        for found in places.values()
        if len(found) == 2
    ]


def _summary(contents: Contents, findings: Sequence[Finding]) -> Iterable[str]:
    for side in SIDES:
        number = sum(file[0] == side for file in contents.files)
        yield f"{side}: {len(contents.classes[side])} classes, {number} images"
    kinds = Counter(finding.kind for finding in findings)
    yield ", ".join(f"{kinds[kind]} {kind}" for kind in ("good", "damaged", "empty", "disguised"))
    readable = [finding for finding in findings if finding.readable]
    if readable:
        modes = Counter(finding.mode for finding in readable)
        sizes = Counter(finding.size for finding in readable)
        yield "modes: " + ", ".join(f"{mode} {number}" for mode, number in modes.most_common())
        common = ", ".join(f"{w}x{h} {number}" for (w, h), number in sizes.most_common(5))
        least = min(min(size) for size in sizes)
        most = max(max(size) for size in sizes)
        yield f"sizes: {len(sizes)} different, sides from {least} to {most}; most common: {common}"


def _move(folder: Path, quarantine: Path, paths: Sequence[str]) -> None:
    taken = [path for path in paths if os.path.lexists(quarantine / path)]
    if taken:
        raise WorkError(f"already in {show(quarantine)}, nothing was moved: {some(taken)}")
    for path in paths:
        (quarantine / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / path, quarantine / path)
    say(f"{len(paths)} files moved to {show(quarantine)}")
