"""How much memory a process may still take: what the machine has left, and what its container allows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from utils.system.cgroups import control_groups, read_numbers, read_text

UNKNOWN = 4 * 2**30  # where the system has no such files


def available_memory(root: str | Path = "/") -> int:
    """The bytes that can still be taken before something is swapped out or killed; never below 0.

    The least of the kernel's own estimate for the machine and of what every memory cgroup around this process,
    its parents included, has left; 4 GiB where neither can be read. ``root``: where proc/ and sys/ lie.
    """
    root = Path(root)
    limits = [*_machine(root), *_cgroups(root)]
    return max(0, min(limits)) if limits else UNKNOWN


def memory_share(root: str | Path = "/") -> int:
    """The bytes that the data of this process may take.

    The processes that ``torchrun`` started on this machine want as much, and half of everything stays free for the
    work itself.
    """
    try:
        processes = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    except ValueError:
        processes = 1
    # torchrun starts the processes of a machine with the same data: each may take its part.
    return available_memory(root) // (2 * processes)


def _machine(root: Path) -> Iterator[int]:
    for line in read_text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024  # the file counts in KiB


def _cgroups(root: Path) -> Iterator[int]:
    """What is left in each memory cgroup of this process."""
    for group in control_groups(root):
        for used in read_numbers(group / "memory.current"):
            # Files read long ago are given up before anything is killed, and count as used all the same.
            words = read_text(group / "memory.stat").split()
            cached = dict(zip(words[::2], words[1::2], strict=False)).get("inactive_file", 0)
            limits = read_numbers(group / "memory.max") + read_numbers(group / "memory.high")
            yield from (most - max(0, used - int(cached)) for most in limits if most is not None)
