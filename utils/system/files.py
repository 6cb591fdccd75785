"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

UNFINISHED = ".writing"


@contextmanager
def whole_file(path: Path, suffix: str = "") -> Iterator[Path]:
    """Give a name beside ``path`` to write to in the body; at its end the file is flushed and renamed to ``path``.

    A reader sees the old file or the new one. The name is unique, so that two writers never mix; it begins with a
    dot, ends with ``suffix``, and is gone when anything fails. Raises what the body or the disk raised.
    """
    # In the same folder: a rename between two file systems would be a copy, which can be seen half-written.
    temporary = path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex}{UNFINISHED}{suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            # Else a power cut after the rename may leave an empty file under the name.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C too
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write(file)`` fill the file at ``path``, whole or not at all, as :func:`whole_file` does."""
    with whole_file(path) as temporary, open(temporary, "xb") as file:
        write(file)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all. Names of files that are not UTF-8 keep their bytes."""
    # Lone surrogates stand for such bytes.
    write_whole(path, lambda file: file.write(text.encode("utf-8", "surrogateescape")))


def write_figure(path: Path, figure: Any, **options: Any) -> None:
    """Write a matplotlib figure in the format that the name ends in, whole or not at all."""
    # An open file tells matplotlib no format.
    write_whole(path, lambda file: figure.savefig(file, format=path.suffix[1:], **options))


def sweep(folder: Path) -> None:
    """Remove the unfinished files of writers that were killed. Only for a folder that nobody else writes to."""
    for path in folder.glob(f".*{UNFINISHED}"):
        path.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """Read the object in a file of JSON; an empty one where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
