"""How many threads torch may use, and how long they spin: settled before torch is imported, which reads it once.

Threads of libgomp spin at barriers. Beside other work they take turns with what they wait for: two were 20 to 30
times slower than one. Threads that sleep at once cost twice the time on an idle machine (benchmarks/README.md).
"""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

from utils.system.cgroups import control_groups, read_numbers

SPINS = "10000"  # rounds of a spinning thread before it sleeps; a thirtieth of libgomp's own
SPINNING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # either says how threads wait
THREADS = "OMP_NUM_THREADS"


def bound_threads(environment: MutableMapping[str, str] = os.environ, root: str | Path = "/") -> None:
    """Bound spinning, and the threads where a quota leaves fewer processors than there are; what a user set stays.

    Call it before torch is imported. ``root``: where proc/ and sys/ lie.
    """
    if not any(name in environment for name in SPINNING):
        environment["GOMP_SPINCOUNT"] = SPINS
    quota = cpu_quota(root)
    if THREADS not in environment and quota is not None and quota < visible_cpus():
        environment[THREADS] = str(max(1, math.ceil(quota)))  # a quota of half a processor still takes one thread


def usable_cpus(root: str | Path = "/") -> int:
    """How many processors this process may use: its affinity, within the quotas of the control groups around it."""
    quota = cpu_quota(root)
    return visible_cpus() if quota is None else max(1, min(visible_cpus(), math.ceil(quota)))


def visible_cpus() -> int:
    """How many processors the scheduler may put this process on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota(root: str | Path = "/") -> float | None:
    """The processors' worth of time that control groups allow, as `docker --cpus` sets it; None without a limit."""
    limits = [read_numbers(group / "cpu.max") for group in control_groups(Path(root))]  # "200000 100000", "max 100000"
    return min((of[0] / of[1] for of in limits if len(of) == 2 and all(of)), default=None)
