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

from data.presets import large
from data.workers import read_batches
from tests.numbers_to_read import EXPECTED, KEYS, Numbers, total
from utils.system.errors import ReadingError

ROOT = Path(__file__).resolve().parents[2]
LARGE = large(65)


def read(numbers, count=2):
    """What is read with so many workers."""
    return [batch[0].item() for batch in read_batches(numbers, KEYS, total, workers=count)]


@pytest.fixture
def impatient(monkeypatch):
    """The loader asks five times a second whether workers live, instead of every five seconds."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.2,))


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def bus_error():
    os.kill(os.getpid(), signal.SIGBUS)


@pytest.mark.parametrize("fault", [kill, bus_error])
def test_a_worker_that_dies_ends_reading_in_one_line_with_what_helps(fault, impatient):
    before, batches = signal.getsignal(signal.SIGCHLD), []

    def consume():
        for batch in read_batches(Numbers(fault), KEYS, total, workers=2):
            batches.append(batch[0].item())
            assert signal.getsignal(signal.SIGCHLD) == before, "torch's handler would raise in the middle of a step"

    with pytest.raises(ReadingError) as error:
        consume()
    assert batches == EXPECTED[: len(batches)]
    assert str(error.value).startswith("a worker that reads images has died: fewer --workers")
    assert "--shm-size" in str(error.value)


def test_shared_memory_that_cannot_be_had_is_found_in_the_worker(monkeypatch):
    def share(self):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", share)  # workers are forked: they see it too
    with pytest.raises(ReadingError, match=r"unable to allocate shared memory.*--shm-size"):
        read(Numbers())


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


GROUP = """
    import itertools, multiprocessing, os, signal, sys, time
    sys.path.insert(0, {root!r})
    from tests.numbers_to_read import EXPECTED, KEYS, Numbers, total
    from data.workers import read_batches

    if __name__ == "__main__":
        multiprocessing.set_start_method({method!r})
        got = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, frame: got.append(number))
        batches = read_batches(Numbers(), KEYS, total, workers=1)
        found = [next(batches)[0].item()]
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.killpg(0, number)
        time.sleep(0.2)
        found += [batch[0].item() for batch in itertools.islice(batches, len(KEYS) - 2)]
        assert found == EXPECTED[:-1], found
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
@pytest.mark.parametrize("method", ["fork", "spawn"])
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
