"""The prepared folder: built beside its place, moved there when complete, removed when anything fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from utils.system.errors import UsageError
from utils.system.signals import STOPPING, handled_by
from utils.system.terminal import reason, show


def check_out(out: Path, source: Path) -> Path:
    """The real path of the output folder, which must not exist, or be empty, nor lie in the source or around it.

    Raises UsageError.
    """
    try:
        out, source = Path(os.path.realpath(out)), Path(os.path.realpath(source))
        out.exists()
    except (OSError, ValueError) as error:  # a name that is too long, a zero byte
        raise UsageError(f"no possible path: {show(source)}, {show(out)}: {reason(error)}") from None
    if out == source or out in source.parents or source in out.parents:
        raise UsageError(f"--out and --source must not lie in one another: {show(out)}, {show(source)}")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out is no folder: {show(out)}")
    if os.path.ismount(out):
        raise UsageError(f"--out is a mount point, which cannot be replaced: choose a folder in it: {show(out)}")
    if out.is_dir() and os.listdir(out):
        raise UsageError(f"--out is not empty: {show(out)}")
    return out


@contextmanager
def fresh_folder(out: Path, classes: list[str], record: Mapping[str, Any]) -> Iterator[Path]:
    """Yield an empty folder beside ``out`` that becomes ``out`` at the end.

    The class names and the record, as it is at the end, are written beside what the body writes. On any exception,
    Ctrl-C included, the folder is removed again, with the parents made for it.
    """
    parents = [folder for folder in out.parents if not folder.exists()]  # innermost first
    work = out.parent / f".{out.name}.partial-{os.getpid()}"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work.mkdir()
        yield work
        (work / "classes.json").write_text(json.dumps(classes, indent=1) + "\n")
        (work / "split.json").write_text(json.dumps({"tool": "data.prepare", **record}, indent=1) + "\n")
        os.rename(work, out)  # onto nothing or an empty folder
    except BaseException:
        with handled_by(signal.SIG_IGN, *STOPPING):  # for the moment that this takes
            shutil.rmtree(work, ignore_errors=True)
            for folder in parents:
                if folder.is_dir() and not os.listdir(folder):
                    folder.rmdir()
        raise
