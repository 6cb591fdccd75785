"""Decode every image of a prepared folder and tell what would spoil a run.

    python -m data.check ../data/exp_data/AID_50 --quarantine ../data/bad

It looks at what training would read, `<DIR>/train/<class>/` and `<DIR>/val/<class>/`. Damaged and empty files are
faults, and so are disguised ones, whose content is not of the format that their name says (training reads them,
other decoders may not), classes that one side lacks, and images that are in train and in val byte for byte. A folder
with masks or boxes is looked through for what is missing, of another size, out of range or empty.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from data.decoding import quieten, rgb, room_for, why
from data.images import in_order
from data.listing import Notes, class_folders, image_names, is_image_name
from data.prepare.check_dense import check_dense, targets_in
from data.prepare.folder import check_writable, one_in_the_other
from utils.system.errors import UsageError, WorkError
from utils.system.signals import interrupts
from utils.system.terminal import OneLineParser, complain, reason, say, show, some

COMMAND = "data.check"
SIDES = ("train", "val")
FORMATS = {  # what Pillow calls the content that a name with this extension promises; MPO is a JPEG with more behind it
    **dict.fromkeys((".jpg", ".jpeg"), ("JPEG", "MPO")),
    **dict.fromkeys((".ppm", ".pgm"), ("PPM",)),
    **dict.fromkeys((".tif", ".tiff"), ("TIFF",)),
    **{".png": ("PNG",), ".bmp": ("BMP", "DIB"), ".webp": ("WEBP",)},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 clean, 1 something is wrong, 2 wrong use."""
    try:
        with interrupts():
            args = parse(argv)
            if args.targets:
                return check_dense(args.folder, args.targets)
            return check(args.folder, quarantine=args.quarantine)
    except UsageError as error:
        complain(COMMAND, error)
        return 2
    except (WorkError, OSError, KeyboardInterrupt) as error:
        complain(COMMAND, "interrupted" if isinstance(error, KeyboardInterrupt) else reason(error))
        return 1


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; UsageError where nothing can be checked or moved as it says."""
    parser = OneLineParser(
        prog=f"python -m {COMMAND}",
        description="Decode every image of a prepared folder and report what would spoil a run.",
        epilog="exit status: 0 clean; 1 something is wrong; 2 wrong use",
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with train/<class>/ and val/<class>/")
    moved = "move damaged and empty files there with their relative paths; disguised ones, which training reads, stay"
    parser.add_argument("--quarantine", type=Path, metavar="DIR", help=moved)
    args = parser.parse_args(argv)
    try:
        args.targets = targets_in(args.folder)
        if args.targets and args.quarantine is not None:
            raise UsageError("--quarantine is for folders of classes: an image with masks or boxes is more than a file")
        if not args.targets and not any((args.folder / side).is_dir() for side in SIDES):
            raise UsageError(f"no folder with train/<class>/ and val/<class>/: {show(args.folder)}")
        if args.quarantine is not None:
            if one_in_the_other(args.folder, args.quarantine):
                raise UsageError(f"--quarantine and the folder lie in one another: {show(args.quarantine)}")
            check_writable(args.quarantine)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in a path
        raise UsageError(reason(error)) from error
    return args


@dataclass(frozen=True)
class Finding:
    """What one file turned out to be: ``kind`` is good, disguised, damaged or empty; the last two cannot be read.

    ``reason``: why it is not good. ``mode``: as Pillow names it. ``size``: (width, height). ``digest``: of the bytes of
    the file. These three are empty where the file cannot be read.
    """

    kind: str
    reason: str = ""
    mode: str = ""
    size: tuple[int, int] = (0, 0)
    digest: bytes = b""

    @property
    def readable(self) -> bool:
        """Whether training can read the file, whatever its name promises."""
        return self.kind in ("good", "disguised")


def inspect(path: str) -> Finding:
    """Read and decode one file completely, as training does.

    Never raises for what is in the file, nor where there is none.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return Finding("damaged", error.strerror or reason(error))
    if not content:
        return Finding("empty", "0 bytes")
    quieten()
    try:
        with Image.open(io.BytesIO(content)) as image, room_for(image):
            rgb(image)
            mode, size, kind = image.mode, image.size, image.format
    except Image.UnidentifiedImageError:
        return Finding("damaged", f"no image: it starts with {content[:16]!r}")
    except Exception as error:  # Pillow raises almost any type, by where the damage is
        return Finding("damaged", why(error))
    expected, digest = FORMATS[os.path.splitext(path)[1].lower()], hashlib.sha256(content).digest()
    if kind in expected:
        return Finding("good", "", mode, size, digest)
    return Finding("disguised", f"{kind} content, {expected[0]} by its name", mode, size, digest)


def check(folder: Path, *, quarantine: Path | None = None) -> int:
    """Inspect a prepared folder and print what would spoil a run; returns the exit status, 0 or 1.

    Damaged and empty files move to ``quarantine`` where one is given.
    """
    classes, paths, notices = _contents(folder)
    for line in notices:
        say(f"notice: {line}")
    with ThreadPoolExecutor() as pool:
        results = in_order(pool, inspect, [str(folder / path) for path in paths])
        progress = tqdm(results, total=len(paths), desc="decoding", unit="image", disable=None, leave=False)
        findings = dict(zip(paths, progress, strict=True))
    faults = [f"{f.kind}: {show(path)}: {show(f.reason)}" for path, f in findings.items() if f.kind != "good"]
    faults += [*_class_faults(classes, findings), *_twins(findings)]
    for line in (*faults, *_summary(classes, findings)):
        say(line)
    if quarantine is not None:
        _move(folder, quarantine, [path for path, finding in findings.items() if not finding.readable])
    return 1 if faults else 0


def _contents(folder: Path) -> tuple[dict[str, list[str]], list[str], list[str]]:
    """Class names by side, the image files as side/class/name, and notices."""
    notes, classes, paths = Notes(folder), {}, []
    for side in SIDES:
        classes[side] = class_folders(folder / side, notes) if (folder / side).is_dir() else []
        for label in classes[side]:
            paths += [f"{side}/{label}/{name}" for name in image_names(folder / side / label, notes)]
    # A link whose target is gone is no file to training, and yet it was meant to be an image.
    broken = {path for path in notes.other if is_image_name(path) and os.path.islink(path)}
    notes.other -= broken
    paths += [os.path.relpath(path, folder).replace(os.sep, "/") for path in broken]
    return classes, sorted(paths, key=lambda path: path.split("/")), notes.lines()


def _class_faults(classes: Mapping[str, list[str]], findings: Mapping[str, Finding]) -> Iterable[str]:
    readable = {path.rpartition("/")[0] for path, finding in findings.items() if finding.readable}
    for side, other in (SIDES, SIDES[::-1]):
        if not classes[side]:
            yield f"no class folders in {side}/"
            continue
        lonely = [label for label in classes[side] if label not in classes[other]]
        yield from (f"class in {side}/ but not in {other}/: {show(label)}" for label in lonely)
        bare = [label for label in classes[side] if f"{side}/{label}" not in readable]
        yield from (f"class without a readable image in {side}/: {show(label)}" for label in bare)


def _twins(findings: Mapping[str, Finding]) -> list[str]:
    """One line for each content that is on both sides."""
    places: dict[bytes, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path, finding in findings.items():
        if finding.readable:
            places[finding.digest][path.partition("/")[0]].append(path)
    twins = [by_side for by_side in places.values() if len(by_side) == 2]
    return [f"same bytes in train and val: {some(twin['train'])} and {some(twin['val'])}" for twin in twins]


def _summary(classes: Mapping[str, list[str]], findings: Mapping[str, Finding]) -> Iterable[str]:
    for side in SIDES:
        yield f"{side}: {len(classes[side])} classes, {sum(path.startswith(f'{side}/') for path in findings)} images"
    kinds = Counter(finding.kind for finding in findings.values())
    yield ", ".join(f"{kinds[kind]} {kind}" for kind in ("good", "damaged", "empty", "disguised"))
    modes = Counter(finding.mode for finding in findings.values() if finding.readable)
    sizes = Counter(finding.size for finding in findings.values() if finding.readable)
    if sizes:
        yield "modes: " + ", ".join(f"{mode} {number}" for mode, number in modes.most_common())
        common = ", ".join(f"{w}x{h} {number}" for (w, h), number in sizes.most_common(5))
        least, most = min(map(min, sizes)), max(map(max, sizes))
        yield f"sizes: {len(sizes)} different, sides from {least} to {most}; most common: {common}"


def _move(folder: Path, quarantine: Path, paths: Sequence[str]) -> None:
    taken = [path for path in paths if os.path.lexists(quarantine / path)]
    if taken:
        raise WorkError(f"already in {show(quarantine)}, nothing was moved: {some(taken)}")
    for path in paths:
        (quarantine / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / path, quarantine / path)
    say(f"{len(paths)} files moved to {show(quarantine)}")
