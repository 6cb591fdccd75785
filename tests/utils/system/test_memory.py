"""What a process may still take, from files as the kernel writes them and from a real cgroup."""

import contextlib
import uuid
from pathlib import Path

import pytest
from PIL import Image

from data.datasets import find_dataset, load
from data.decoding import DataError
from tests.control_groups import system
from utils.system import memory
from utils.system.memory import UNKNOWN, available_memory, memory_share

MB = 2**20

CASES = {
    "no cgroup": ("", {}, 8000),
    "at the top as in a container": ("0::/\n", {"memory.max": 1000 * MB, "memory.current": 300 * MB}, 700),
    "unlimited": ("0::/\n", {"memory.max": "max", "memory.current": 300 * MB}, 8000),
    "limited by a parent": (
        "0::/a/b\n",
        {
            "a/b/memory.max": "max",
            "a/b/memory.current": 10 * MB,
            "a/memory.max": 500 * MB,
            "a/memory.current": 100 * MB,
        },
        400,
    ),
    "throttled before it is killed": (
        "0::/a\n",
        {"a/memory.max": 900 * MB, "a/memory.high": 600 * MB, "a/memory.current": 0},
        600,
    ),
    "files that were read do not count": (
        "0::/\n",
        {
            "memory.max": 1000 * MB,
            "memory.current": 900 * MB,
            "memory.stat": f"anon {100 * MB}\ninactive_file {700 * MB}",
        },
        800,
    ),
    "more used than allowed": ("0::/\n", {"memory.max": 100 * MB, "memory.current": 200 * MB}, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_the_tightest_limit_counts(case, tmp_path):
    cgroup, files, expected = CASES[case]
    assert available_memory(system(tmp_path, cgroup, files)) == expected * MB


def test_the_machine_may_have_less_than_the_container_allows(tmp_path):
    files = {"memory.max": 1000 * MB, "memory.current": 0}
    assert available_memory(system(tmp_path, "0::/\n", files, free_mb=200)) == 200 * MB


def test_a_system_that_tells_nothing_is_given_a_guess(tmp_path):
    assert available_memory(tmp_path) == UNKNOWN


def test_a_share_leaves_half_and_is_divided_among_the_processes_of_the_machine(tmp_path, monkeypatch):
    root = system(tmp_path, "", {}, free_mb=8000)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert memory_share(root=root) == 4000 * MB
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert memory_share(root=root) == 1000 * MB


def limited(monkeypatch, root: Path, allowed: int, processes: int = 1) -> None:
    """Put this process into a container of its own, as far as it can see."""
    root = system(root, "0::/\n", {"memory.max": allowed, "memory.current": 0})
    real = memory.available_memory
    monkeypatch.setattr(memory, "available_memory", lambda _root: real(root))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))


def toy(root: Path, side: int) -> tuple[str, int]:
    """A folder of four images: its name, and the bytes that they take when they are decoded for size 70, or small."""
    for part in ("train", "val"):
        for label in "ab":
            (root / part / label).mkdir(parents=True)
            Image.new("RGB", (side, side)).save(root / part / label / "x.png")
    return str(root), 4 * 3 * (side if side < 65 else 80) ** 2


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("fits", [True, False])
def test_images_are_kept_where_half_of_the_share_of_a_process_holds_them(fits, processes, tmp_path, monkeypatch):
    root, needed = toy(tmp_path / "set", 70)
    limited(monkeypatch, tmp_path / "root", 2 * processes * (needed + (1 if fits else 0)), processes)
    lines = []
    dataset = load(find_dataset(root, image_size=70), log=lines.append)
    assert (dataset.train.pixels is not None) == fits
    assert any("kept in memory" in line for line in lines) == fits
    assert any("no image was checked" in line and "data.check" in line for line in lines) != fits


@pytest.mark.parametrize(("side", "options"), [(70, {"cache": "ram"}), (32, {})])
def test_what_memory_cannot_hold_is_refused_and_not_killed(side, options, tmp_path, monkeypatch):
    root, needed = toy(tmp_path / "set", side)
    limited(monkeypatch, tmp_path / "root", 2 * (needed - 1), 2)
    with pytest.raises(DataError, match="of memory are left to each process"):
        load(find_dataset(root, image_size=side), log=lambda line: None, **options)


def test_a_real_cgroup_is_read(tmp_path):
    """A group of its own that no process enters: only its limit and its files are needed."""
    group = Path("/sys/fs/cgroup") / f"slnas-test-{uuid.uuid4().hex}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("this machine lets nobody make a memory cgroup")
    try:
        if (group / "memory.max").exists():  # else it is an ordinary folder
            with contextlib.suppress(OSError):
                (group / "memory.max").write_text(str(64 * MB))
                root = system(tmp_path, f"0::/{group.name}\n", {})
                (root / "sys/fs").mkdir(parents=True)
                (root / "sys/fs/cgroup").symlink_to("/sys/fs/cgroup")
                assert 0 < available_memory(root) <= 64 * MB
                return
    finally:
        group.rmdir()
    pytest.skip("this machine lets nobody limit a memory cgroup")
