"""The prepared folder: built beside its place, moved there when complete, removed when anything fails."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from utils.system.errors import UsageError, WorkError
from utils.system.signals import shielded
from utils.system.terminal import say, show, some

TOOL = "data.prepare"  # in split.json: marks a folder as written here
RECORD, CLASSES = "split.json", "classes.json"
HARMLESS = {".ds_store", "thumbs.db", "desktop.ini"}  # what file managers drop into any folder


def check_out(out: Path, source: Path, force: bool) -> Path:
    """The real path of the output folder; UsageError unless it can be written and nothing foreign is in the way.

    It must not exist, or be empty, or, with ``force``, hold nothing but what this tool wrote there. It must not
    lie in the source folder, nor the source folder in it.
    """
    if one_in_the_other(out, source):
        raise UsageError(f"--out and --source must not lie in one another: {show(out)}, {show(source)}")
    out = Path(os.path.realpath(out))
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out is no folder: {show(out)}")
    if os.path.ismount(out):
        raise UsageError(f"--out is a mount point, which cannot be replaced: choose a folder in it: {show(out)}")
    if out.is_dir() and os.listdir(out):
        if not force:
            raise UsageError(f"--out is not empty: {show(out)} (--force replaces what data.prepare wrote there)")
        if foreign := foreign_files(out):
            raise UsageError(f"--force would delete files that data.prepare did not write: {some(foreign)}")
    check_writable(out.parent)
    for name in sorted(os.listdir(out.parent)) if out.parent.is_dir() else ():
        if name.startswith(f".{out.name}.partial-"):
            say(f"notice: left by a run that was killed, or still in work: {show(out.parent / name)}")
    return out


def one_in_the_other(one: Path, other: Path) -> bool:
    """Whether two folders are the same or one lies in the other, links followed."""
    one, other = Path(os.path.realpath(one)), Path(os.path.realpath(other))
    return one == other or one in other.parents or other in one.parents


def check_writable(folder: Path) -> None:
    """UsageError where files could not be made in the folder, or it could not be made itself."""
    nearest = _nearest(folder)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write in {show(nearest)}")


def check_space(out: Path, size: int) -> None:
    """UsageError where ``size`` bytes do not fit on the disk of ``out``."""
    free = shutil.disk_usage(_nearest(out)).free
    if size > free:
        raise UsageError(f"{size / 1e9:.2f} GB to copy, but {free / 1e9:.2f} GB free for {show(out)}: try --link")


def _nearest(folder: Path) -> Path:
    """The folder, or the first of its parents that exists."""
    folder = Path(os.path.realpath(folder))
    return next(place for place in (folder, *folder.parents) if place.exists())


def foreign_files(out: Path) -> list[str]:
    """Files and links below ``out`` that its split.json does not list; split.json itself if it is not ours."""
    try:
        record = json.loads((out / RECORD).read_bytes())
        if record["tool"] != TOOL:
            return [RECORD]
        ours = {f"{side}/{file}" for side, files in record["files"].items() for file in files}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [RECORD]
    ours |= {RECORD, CLASSES}
    foreign = []
    for folder, folders, files in os.walk(out):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*files, *links):
            path = os.path.relpath(os.path.join(folder, name), out).replace(os.sep, "/")
            if path not in ours and name.casefold() not in HARMLESS:
                foreign.append(path)
    return sorted(foreign)


@contextmanager
def fresh_folder(out: Path, classes: list[str], record: Mapping[str, Any]) -> Iterator[Path]:
    """Yield an empty folder beside ``out`` that becomes ``out`` at the end, in place of what is there.

    The class names and the record, as it is at the end, are written beside what the body writes. On any exception,
    Ctrl-C included, the folder is removed again, with the parents made for it, and what was at ``out`` stays.
    """
    parents = [folder for folder in out.parents if not folder.exists()]
    work = out.parent / f".{out.name}.partial-{os.getpid()}"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work.mkdir()
        yield work
        (work / CLASSES).write_text(json.dumps(classes, indent=1) + "\n")
        (work / RECORD).write_text(json.dumps({"tool": TOOL, **record}, indent=1) + "\n")
        with shielded():
            _replace(out, work)
    except BaseException:
        with shielded():
            shutil.rmtree(work, ignore_errors=True)
            for folder in parents:
                if folder.is_dir() and not os.listdir(folder):
                    folder.rmdir()
        raise


def _replace(out: Path, work: Path) -> None:
    if not (out.is_dir() and os.listdir(out)):
        os.rename(work, out)  # onto nothing or an empty folder
        return
    if foreign_files(out):  # it was checked at the start, but that may be an hour ago
        raise WorkError(f"files appeared meanwhile in {show(out)}")
    old = out.parent / f".{out.name}.old-{os.getpid()}"
    os.rename(out, old)
    try:
        os.rename(work, out)
    except BaseException:
        os.rename(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)
