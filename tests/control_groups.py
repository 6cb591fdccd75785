"""Files of the kernel about memory and control groups, below a folder that stands for the root of a system."""

from __future__ import annotations

from pathlib import Path


def system(root: Path, cgroup: str, files: dict[str, object], free_mb: int = 8000) -> Path:
    """Write them: ``cgroup`` is what /proc/self/cgroup says, ``files`` lie in /sys/fs/cgroup; returns the root."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:    {free_mb * 1024} kB\n")
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root
