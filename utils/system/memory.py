"""How much memory a process may still take: what the machine has left, and what its container allows."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

UNKNOWN = 4 * 2**30  # where the system tells nothing


def available_memory(root: str | Path = "/") -> int:
    """The bytes that can still be taken before something is swapped out or killed; never below 0.

    The least of the kernel's own estimate for the machine and of what every memory cgroup around this process,
    its parents included, has left; 4 GiB where neither can be read. ``root``: where proc/ and sys/ lie.
    """
    root = Path(root)
    found = [*_machine(root), *_cgroups(root)]
    return max(0, min(found)) if found else UNKNOWN


def memory_share(sharers: int = 1, root: str | Path = "/") -> int:
    """The bytes that one of ``sharers`` parts of this process may take.

    The others, and those of the processes that ``torchrun`` started on this machine, want as much, and half of
    everything stays free for the work itself.
    """
    try:
        processes = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    except ValueError:
        processes = 1
    return available_memory(root) // (2 * processes * max(1, sharers))


def give_back() -> None:
    """Return memory that was freed to the system: glibc keeps what a thread freed for that thread alone."""
    with suppress(AttributeError, OSError, TypeError):  # another C library: as it is
        ctypes.CDLL(None).malloc_trim(0)


def _machine(root: Path) -> Iterator[int]:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _cgroups(root: Path) -> Iterator[int]:
    """What is left in each memory cgroup of this process: version 2, version 1, or both."""
    mounted = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            for base in (mounted, mounted / "unified"):
                yield from _left(base, path, ("memory.max", "memory.high"), "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            limits, usage = ("memory.limit_in_bytes",), "memory.usage_in_bytes"
            yield from _left(mounted / "memory", path, limits, usage, "total_inactive_file")


def _left(base: Path, path: str, limits: tuple[str, ...], usage: str, cached: str) -> Iterator[int]:
    """In the group at ``path`` and in its parents. A container may see its own group as the top, under the path
    that it has outside: folders that are not there are passed over, and the top is always looked at."""
    inner = Path(path.strip("/"))
    for group in (inner, *inner.parents) if inner.parts else (inner,):
        used = _number(base / group / usage)
        if used is None or ".." in group.parts:
            continue
        # Files read long ago are given up before anything is killed, and count as used all the same.
        words = _text(base / group / "memory.stat").split()
        used -= next((int(n) for key, n in zip(words[::2], words[1::2], strict=False) if key == cached), 0)
        for limit in limits:
            most = _number(base / group / limit)
            if most is not None:
                yield most - max(0, used)


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None  # "max" is no limit


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
