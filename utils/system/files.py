"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write(file)`` fill a file beside ``path``, flush it to the disk, then rename it to ``path``.

    A reader sees the old file or the new one. The temporary name is unique, so that two writers never mix; it
    begins with a dot and is removed when anything fails. Raises what ``write`` or the disk raised.
    """
    temporary = path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex}.writing")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_figure(path: Path, figure: Any, **options: Any) -> None:
    """A matplotlib figure in the format that the name ends in, whole or not at all."""
    write_whole(path, lambda file: figure.savefig(file, format=path.suffix[1:], **options))


def write_text(path: Path, text: str) -> None:
    """A text file in UTF-8, whole or not at all. Names of files that are not UTF-8 keep their bytes."""
    write_whole(path, lambda file: file.write(text.encode("utf-8", "surrogateescape")))
