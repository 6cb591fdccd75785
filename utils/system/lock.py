"""One writer for a folder, one maker for a file: locks that end with their process, however that ends."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from utils.system.errors import UsageError
from utils.system.terminal import reason, show

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None

NAME = "run.lock"
WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # some network file systems


def _is_locked(file: IO[bytes], *, wait: bool) -> bool:
    """Lock a file for this process; False where another one has it. Raises UsageError."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES, *WITHOUT_LOCKS):
            raise UsageError(f"{show(file.name)} cannot be locked: {reason(error)}") from None
        return error.errno in WITHOUT_LOCKS  # better unlocked than not at all
    return True


class FolderLock:
    """The right to write to a folder, held to the end of a ``with`` block or of the process.

    A record lock: children that the process forks do not inherit it, so a killed run never locks out its successor
    while its workers are still ending. Raises UsageError where another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self.file = None
        if fcntl is None:
            return
        try:
            self.file = open(folder / NAME, "ab")  # noqa: SIM115 - stays open as long as it is locked
        except OSError as error:
            raise UsageError(f"{show(folder)} cannot be written: {reason(error)}") from None
        if not _is_locked(self.file, wait=False):  # a second writer is a mistake, and hears of it
            self.__exit__()
            raise UsageError(f"another process is writing to {show(folder)}: wait for it or stop it first")

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_error: object) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


@contextmanager
def claimed(path: Path, *, wait: bool) -> Iterator[bool]:
    """Whether this process alone may make the file at ``path`` within the body, of all processes and machines.

    ``wait``: for another process that is making it; else the answer is False.
    """
    if fcntl is None:
        yield True
        return
    lock = path.with_name(f"{path.name}.lock")
    with open(lock, "ab") as file:
        # Where a disk cannot lock, two may make it: files are whole, and their content is the same.
        mine = _is_locked(file, wait=wait)
        yield mine
        if mine and path.exists():  # else it stays: without it two processes would lock two files of this name
            lock.unlink(missing_ok=True)
