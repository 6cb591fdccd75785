"""--advise: what is faster is named, noise is not, and the run that asks for it is the same run."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from data.loaders import Batch
from engine import advice
from engine.advice import NOW, advise, sentences, take_turns
from engine.precision import Precision
from engine.tasks.classification import Classification
from tests.harness import SMALL, finished, result_of, same_run
from utils.runs.clock import DATA, Clock

CPU = torch.device("cpu")
TIME = SimpleNamespace(now=0.0)


@pytest.fixture
def ticking(monkeypatch):
    """Time passes only where the network and the loader say so; no threads are tried unless a test names them."""
    monkeypatch.setattr(advice, "time", SimpleNamespace(perf_counter=lambda: TIME.now))
    monkeypatch.setattr(advice, "_threads", list)


class Napping(nn.Module):
    """A network of one layer that draws a random number, and takes longer where ``slow()``."""

    slow = staticmethod(lambda: False)

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.aux_heads = nn.Linear(3, 2), nn.ModuleList()

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 3) -> (N, 2)"""
        TIME.now += 4 if self.slow() else 1
        torch.rand(1)
        return self.layer(images), []


class Images:
    """Three batches, which a worker reads at once and this process slowly."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Every epoch is the same."""

    def __iter__(self):
        for _ in range(3):
            TIME.now += 0 if self.workers else 5
            yield Batch(torch.ones(4, 3), torch.tensor([0, 1, 0, 1]))

    def read_by(self, workers: int):
        return None if self.workers is None else Images(workers)


def training(processes: int = 1) -> SimpleNamespace:
    torch.manual_seed(3)
    return SimpleNamespace(
        model=Napping(),
        device=CPU,
        heads=0,
        precision=Precision(),
        compiled=False,
        clock=Clock(),
        stop=SimpleNamespace(check=lambda: None),
        world=SimpleNamespace(size=processes),
        log=SimpleNamespace(line=[].append),
    )


def advised(run, loader=None, workers: int = 0) -> list[str]:
    return advise(run, Classification.search(), loader or Images(), [()], clip=None, workers=workers)


def test_a_precision_that_is_faster_is_named(ticking, monkeypatch):
    monkeypatch.setattr(Napping, "slow", lambda _self: not torch.is_autocast_enabled("cpu"))
    [said] = advised(training())
    assert said == (
        "--precision bf16 would have helped here: a training step takes 1e+03 ms with it and 4e+03 ms without "
        "(4 times as fast, medians of 7 in turn)."
    )


def test_a_number_of_threads_that_is_faster_is_named_and_afterwards_there_are_as_many_as_before(ticking, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(Napping, "slow", lambda _self: torch.get_num_threads() != before + 1)
    monkeypatch.setattr(advice, "_threads", lambda: [before + 1, before + 2])
    [said] = advised(training())
    assert said.startswith(f"OMP_NUM_THREADS={before + 1} would have helped")
    assert torch.get_num_threads() == before


def test_workers_are_named_where_data_was_waited_for_and_only_there(ticking, monkeypatch):
    monkeypatch.setattr(advice, "_precisions", lambda _training: [])
    monkeypatch.setattr(advice, "_cores", lambda: [0, 1, 2])
    waited, busy = training(), training()
    waited.clock.add({DATA: 100.0})
    busy.clock.add({"network": 100.0})
    [said] = advised(waited, Images(workers=0))
    assert said.startswith("--workers 3 would have helped here: a training step with the wait for its batch takes ")
    for run, loader in ((busy, Images(workers=0)), (waited, Images())):
        [said] = advised(run, loader)
        assert "no switch" in said


def test_nothing_of_the_run_changes(ticking):
    run = training()
    before, state = {k: v.clone() for k, v in run.model.state_dict().items()}, torch.get_rng_state()
    assert advised(run)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in run.model.state_dict().items())
    assert all(p.grad is None for p in run.model.parameters())


def test_several_processes_measure_nothing():
    run = training(processes=2)
    run.model = None
    assert advised(run) == []


def test_what_goes_wrong_is_a_warning_and_no_end():
    run, said = training(), []
    run.model, run.log.line = nn.Linear(1, 1), said.append
    assert advised(run) == []
    assert said[0].startswith("warning: --advise could not measure: ")


@pytest.mark.parametrize(
    ("found", "named"),
    [
        ([0.5, 0.6, 0.7], True),
        ([0.5] * 6 + [9.0], True),  # one of seven may be late
        ([0.5] * 5 + [9.0] * 2, False),
        ([0.5, 0.6, 1.0], False),  # as slow once as the other is at its fastest
        ([0.97, 0.98, 0.99], False),  # too little
        ([2.0, 2.0, 2.0], False),
    ],
)
def test_only_what_is_faster_in_every_turn_and_by_enough_is_said(found, named):
    said = list(sentences({NOW: [1.0, *[1.01] * (len(found) - 2), 1.3], "--precision bf16": found}, "a step"))
    assert bool(said) is named


def test_of_one_switch_the_best_value_is_said():
    times = {NOW: [9.0] * 3, "OMP_NUM_THREADS=1": [5.0] * 3, "OMP_NUM_THREADS=2": [3.0] * 3, "--compile": [1.0] * 3}
    assert [text.split()[0] for text in sentences(times, "a step")] == ["--compile", "OMP_NUM_THREADS=2"]


def test_every_way_gets_as_many_turns_and_one_to_warm_up():
    order = []
    times = take_turns({name: lambda name=name: order.append(name) or 1.0 for name in (NOW, "b")}, 3)
    assert order == [NOW, "b", "b", NOW, NOW, "b", "b", NOW]
    assert times == {NOW: [1.0] * 3, "b": [1.0] * 3}


def test_a_way_that_is_far_slower_is_given_up_after_its_first_turn():
    called = []
    assert list(take_turns({NOW: lambda: 1.0, "b": lambda: called.append("b") or 9.0}, 3)) == [NOW]
    assert called == ["b"]


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_a_run_that_asks_for_advice_is_the_same_run(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(advice, "ROUNDS", 1)
    few = [*SMALL, "--epochs", "1", "--train_images", "400"]
    plain, asked = (finished(kind, tmp_path / name, *few, *flags) for name, flags in (("a", []), ("b", ["--advise"])))
    same_run(plain, asked, kind)
    assert "advice" not in result_of(plain)
    assert result_of(asked)["advice"]
    ours, other = result_of(plain), result_of(asked)
    changing = {"advice", "time_s", "derive_s"}
    assert {k: v for k, v in ours.items() if k not in changing} == {k: v for k, v in other.items() if k not in changing}
