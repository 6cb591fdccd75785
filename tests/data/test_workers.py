"""Workers that read images: signals to the whole group, deaths, and shared memory that is too little.

A file of its own, since it starts processes in sessions of their own and sends them real signals.
"""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from data import workers
from data.images import DataError, Images
from data.loaders import make_loader
from data.presets import large
from data.workers import Batches, Reader
from tests.numbers_to_read import EXPECTED, KEYS, Numbers, total
from utils.system.errors import ReadingError

ROOT = Path(__file__).resolve().parents[2]
LARGE = large(65)


def read(numbers, count=2, **options):
    """What a reader with workers yields, and what it says."""
    said = []
    reader = Reader(count, note=said.append, **options)
    return [batch[0].item() for batch in reader.read(Batches(numbers, total), KEYS, 100)], said


@pytest.fixture
def impatient(monkeypatch):
    """The loader asks five times a second whether workers live, instead of every five seconds."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.2,))


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def bus_error():
    os.kill(os.getpid(), signal.SIGBUS)


def test_a_worker_that_is_killed_costs_no_batch_and_is_reported(tmp_path, impatient):
    before = signal.getsignal(signal.SIGCHLD)
    found, said = read(Numbers(kill, once=tmp_path / "killed"))
    assert found == EXPECTED
    [line] = said
    assert "was killed by SIGKILL" in line
    assert signal.getsignal(signal.SIGCHLD) == before, "torch's handler would raise in the middle of a step"


def test_a_worker_that_is_killed_again_and_again_ends_in_one_line(impatient):
    with pytest.raises(ReadingError) as error:
        read(Numbers(kill), 1)
    assert "3 times in a row" in str(error.value)
    assert "--workers" in str(error.value)


def test_a_bus_error_is_too_little_shared_memory_and_reading_goes_on_without_workers(impatient):
    found, said = read(Numbers(bus_error))
    assert found == EXPECTED
    [line] = said
    assert "shared memory" in line
    assert "without workers" in line


def test_shared_memory_that_cannot_be_had_is_found_in_the_worker(monkeypatch):
    def share(self):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", share)  # workers are forked: they see it too
    found, said = read(Numbers())
    assert found == EXPECTED
    assert len(said) == 1


def test_a_mount_without_room_for_the_batches_that_wait_means_no_workers(tmp_path, monkeypatch):
    class Small:
        f_bavail, f_frsize = 7, 100

    monkeypatch.setattr(workers.os, "statvfs", lambda path: Small if path == str(tmp_path) else None)
    for processes, fits in ((1, True), (2, False)):  # 2 workers with 2 batches of 100 bytes each, of 700 in all
        said = []
        reader = Reader(2, processes=processes, note=said.append, shared=str(tmp_path))
        assert [batch[0].item() for batch in reader.read(Batches(Numbers(), total), KEYS, 100)] == EXPECTED
        assert reader.workers == (2 if fits else 0)
        assert len(said) == (not fits)
    assert len(list(reader.read(Batches(Numbers(), total), KEYS, 100))) == len(KEYS)
    assert len(said) == 1, "it is said once"


def fail():
    raise IndexError("several\nlines, index out of range")


@pytest.mark.parametrize("count", [0, 1])
def test_no_exception_of_a_worker_arrives_as_a_traceback(count):
    class Broken(Numbers):
        def __getitem__(self, number):
            fail()

    with pytest.raises(ReadingError) as error:
        read(Broken(), count)
    assert str(error.value) == "reading a batch failed: IndexError: several lines, index out of range"


def test_a_file_that_cannot_be_decoded_is_named(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    images = Images(torch.zeros(4, dtype=torch.long), LARGE.decoded_size, paths=(tmp_path / "bad.png",) * 4)
    options = {"batch_size": 2, "device": torch.device("cpu"), "seed": 0, "stream": "s"}
    loader = make_loader(images, LARGE, augment=False, shuffle=False, workers=1, **options)
    with pytest.raises(DataError) as error:
        list(loader)
    assert "bad.png" in str(error.value)


GROUP = """
    import itertools, multiprocessing, os, signal, sys, time
    sys.path.insert(0, {root!r})
    from tests.numbers_to_read import EXPECTED, KEYS, Numbers, total
    from data.workers import Batches, Reader

    if __name__ == "__main__":
        multiprocessing.set_start_method({method!r})
        got = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, frame: got.append(number))
        numbers, said = Numbers(), []
        batches = Reader(1, note=said.append).read(Batches(numbers, total), KEYS, 100)
        found = [next(batches)[0].item()]
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.killpg(0, number)
        time.sleep(0.2)
        found += [batch[0].item() for batch in itertools.islice(batches, len(KEYS) - 2)]
        assert found == EXPECTED[:-1], found
        assert not said, said
        assert len(got) == 3
        print("pids", *[child.pid for child in multiprocessing.active_children()], flush=True)
        time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks for processes in /proc")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_ignore_signals_to_the_group_and_end_with_their_parent(method, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(GROUP).format(root=str(ROOT), method=method))
    child = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        words = child.stdout.readline().split()
        assert words[:1] == ["pids"]
        pids = [int(word) for word in words[1:]]
        assert pids
        assert all(alive(pid) for pid in pids)
    finally:
        child.kill()  # the parent alone: nobody tells the workers
        child.wait()
    end = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.1)
    assert not [pid for pid in pids if alive(pid)]
