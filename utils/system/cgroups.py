"""The control groups around this process, in which a container or a batch system limits memory and processors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def control_groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Folders of the groups around this process that may limit a controller, and the version (1 or 2) of each.

    The group itself and its parents, below ``root``, where proc/ and sys/ lie. A container may see its own group as the
    top, under the path that it has outside: folders that are not there are passed over, and the top is always named.
    """
    mounted = root / "sys/fs/cgroup"
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:  # a line "0::/path" is of version 2, which has one tree for all
            bases, group_version = (mounted, mounted / "unified"), 2
        elif controller in controllers.split(","):
            bases, group_version = (mounted / controllers, mounted / controller), 1
        else:
            continue
        inner = Path(path.strip("/"))
        groups = [inner, *inner.parents] if inner.parts else [inner]  # limits of a parent hold for all below it
        # A group that lies outside of what a container may see has .. in its path.
        yield from ((base / group, group_version) for base in bases for group in groups if ".." not in group.parts)


def read_text(path: Path) -> str:
    """What a file of the system says; nothing where it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def read_number(path: Path) -> int | None:
    """The number in such a file; None where it has none, as "max" in one of a limit."""
    text = read_text(path).strip()
    return int(text) if text.isdigit() else None
