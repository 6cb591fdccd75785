"""The control groups (version 2) around this process, in which a container or a batch system limits its resources."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def control_groups(root: Path) -> Iterator[Path]:
    """Folders of the group of this process and of its parents, whose limits hold for all below them.

    ``root``: where proc/ and sys/ lie. A container may see its own group as the top, under the path that it has
    outside: such folders are not there, but the top is always among them.
    """
    for line in read_text(root / "proc/self/cgroup").splitlines():
        if line.startswith("0::"):  # other lines are of version 1
            inner = Path(line.removeprefix("0::").strip("/"))
            groups = [inner, *inner.parents] if inner.parts else [inner]
            # A group that lies outside of what a container may see has .. in its path.
            yield from (root / "sys/fs/cgroup" / group for group in groups if ".." not in group.parts)


def read_text(path: Path) -> str:
    """What a file of the system says; nothing where it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def read_numbers(path: Path) -> list[int | None]:
    """The numbers in such a file; None for other words, as "max" in one of limits."""
    return [int(word) if word.isdigit() else None for word in read_text(path).split()]
