"""Where the time of a run goes: the parts sum to the whole, and what is slowed down shows under its own part."""

import json
import signal
import time
from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.loaders import TensorLoader
from engine.progress import duration, epoch_line
from tests.harness import SMALL, finished, only_run, result_of, start, stop_after
from utils.runs.clock import CONTROLLER, DATA, EVALUATION, NETWORK, PARTS, REST, Clock, percent

FEW = [*SMALL, "--epochs", "1", "--train_images", "400"]
NAP = 0.05  # seconds for a batch


class Ticking:
    """A clock that goes on only where it is told to."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


WORK = st.recursive(
    st.integers(1, 1000), lambda work: st.lists(st.tuples(st.sampled_from(list(PARTS)), work), max_size=4), max_leaves=9
)


def do(work, clock: Clock, now: Ticking, part: str, expected: dict[str, float]) -> None:
    """Let time pass as ``work`` says: so long in this part, or pieces in parts of their own with a second between."""
    if isinstance(work, int):
        now.time += work
        expected[part] += work
        return
    for inner, piece in work:
        with clock.part(inner):
            do(piece, clock, now, inner, expected)
        do(1, clock, now, part, expected)


@given(WORK)
def test_every_second_counts_once_and_in_the_innermost_part(work):
    now, expected = Ticking(), dict.fromkeys(PARTS, 0.0)
    clock = Clock(now)
    do(work, clock, now, REST, expected)
    assert clock.seconds() == expected
    assert sum(clock.seconds().values()) == now.time - 100
    assert sum(percent(expected).values()) == pytest.approx(100 if sum(expected.values()) else 0)


def test_a_part_that_raises_is_left_and_its_time_stays():
    now = Ticking()
    clock = Clock(now)
    with suppress(KeyError), clock.part(DATA):
        now.time += 2
        raise KeyError
    now.time += 3
    assert (clock.seconds()[DATA], clock.seconds()[REST]) == (2, 3)


def test_waiting_for_a_batch_is_data_and_what_is_done_with_it_is_not():
    now = Ticking()
    clock = Clock(now)

    def batches():
        for number in range(3):
            now.time += 10
            yield number
        now.time += 5

    seen = []
    with clock.part(NETWORK):
        for batch in clock.waiting(batches()):
            seen.append(batch)
            now.time += 1
    assert seen == [0, 1, 2]
    assert (clock.seconds()[DATA], clock.seconds()[NETWORK]) == (35, 3)


@pytest.fixture
def ends(monkeypatch):
    """When the clock of the last run was started, and when it was last read."""
    found, start_clock, read = {}, Clock.__init__, Clock.seconds

    def starts(self, *options):
        start_clock(self, *options)
        found["began"] = time.perf_counter()

    def reads(self):
        seconds = read(self)
        found["ended"] = time.perf_counter()
        return seconds

    monkeypatch.setattr(Clock, "__init__", starts)
    monkeypatch.setattr(Clock, "seconds", reads)
    return found


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_parts_sum_to_the_run_and_a_slow_loader_shows_under_data(kind, tmp_path, monkeypatch, ends):
    naps, original = [0], TensorLoader.__iter__

    def slowly(self):
        for batch in original(self):
            time.sleep(NAP)
            naps[0] += 1
            yield batch

    monkeypatch.setattr(TensorLoader, "__iter__", slowly)
    before = time.perf_counter()
    folder = finished(kind, tmp_path, *FEW)
    elapsed, seconds = time.perf_counter() - before, result_of(folder)["time_s"]
    assert sum(seconds.values()) == pytest.approx(ends["ended"] - ends["began"], abs=0.1)
    assert set(seconds) == set(PARTS)
    assert all(value >= 0 for value in seconds.values())
    assert 0.3 * elapsed <= sum(seconds.values()) <= elapsed, "all but reading flags and the last files"
    measured = 2 * 3 if kind == "retrain" else 0  # batches for the measures at the end: evaluation
    assert seconds[DATA] >= NAP * (naps[0] - measured) > 0
    assert seconds[NETWORK] + seconds[CONTROLLER] + seconds[EVALUATION] > 0.01
    found = json.loads((folder / "report.json").read_text())["cost"]["percent"]
    assert sum(found.values()) == pytest.approx(100)
    assert f"| time, data (%) | {found[DATA]:.4g} |" in (folder / "report.md").read_text()


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_a_run_that_goes_on_adds_to_what_its_earlier_part_took(kind, tmp_path, monkeypatch, ends):
    with monkeypatch.context() as patch:
        stop_after(patch, 3, signal.SIGTERM)
        assert start(kind, tmp_path, *FEW) == 128 + signal.SIGTERM
    folder = only_run(tmp_path, kind)
    first = torch.load(folder / "checkpoint.pt", weights_only=True)["notes"]["seconds"]
    assert sum(first.values()) > 0
    assert start(kind, tmp_path, *FEW, "--resume", str(folder)) == 0
    both = result_of(folder)["time_s"]
    assert all(both[part] >= first[part] for part in PARTS)
    second = ends["ended"] - ends["began"]
    assert sum(both.values()) == pytest.approx(sum(first.values()) + second, abs=0.1)


def test_an_epoch_line_says_what_how_well_how_fast_and_how_long():
    record = {
        "shared/loss": 1.25,
        "shared/top1": 40.0,
        "shared/lr": 0.1,
        "valid/loss": 2.0,
        "valid/top1": 51.5,
        "time/images_per_s": 812.3,
        "time/epoch_s": 60.0,
    }
    line = epoch_line(3, 10, record, 6 * 60.0, "top1", " %")
    assert line == "epoch 3 of 10  shared/loss 1.2500  valid/top1 51.50 %  812 images/s  6 min left"
    shown = [duration(seconds) for seconds in (0, 99, 100, 5940, 6000, 172_799, 200_000)]
    assert shown == ["0 s", "99 s", "2 min", "99 min", "1 h 40 min", "2 d 00 h", "2 d 07 h"]
