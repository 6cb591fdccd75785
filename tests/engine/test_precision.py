"""Mixed precision: the order of calls, what is refused, what is counted."""

import math
import sys
from contextlib import nullcontext
from types import ModuleType

import pytest
import torch
from torch import nn

from engine import setup
from engine.finite import NotFiniteError
from engine.passes import Learner, train_pass
from engine.precision import Apex, Float16, Precision, choose_precision
from engine.tasks.classification import Classification, ClassificationMeter
from tests.harness import metrics, only_run, start
from tests.quiet import Batches, constant, quiet_run
from utils.system.errors import UsageError

CPU = torch.device("cpu")
SMALL = ["--image_size", "16", "--train_images", "480", "--no-tensorboard"]  # three batches
gpu = pytest.mark.gpu
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine")


class Scaler:
    """Stands in for GradScaler: scales by 8, skips the steps it is told to, and records the order of calls."""

    def __init__(self, overflows=()):
        self.calls, self.overflows, self.steps = [], set(overflows), 0

    def scale(self, loss):
        self.calls.append("scale")
        return loss * 8

    def unscale_(self, optimizer):
        self.calls.append("unscale")
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad /= 8

    def step(self, optimizer):
        self.calls.append("step")
        if self.steps not in self.overflows:
            optimizer.step()
        self.steps += 1

    def update(self):
        self.calls.append("update")

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


def line_fit():
    model = nn.Linear(3, 1)
    return model, torch.optim.SGD(model.parameters(), 0.1)


def test_gradients_are_unscaled_once_before_they_are_clipped():
    torch.manual_seed(0)
    model, optimizer = line_fit()
    before = [p.detach().clone() for p in model.parameters()]
    scaler = Scaler()
    precision = Float16(CPU, scaler)
    precision.backward(100 * model(torch.ones(4, 3)).mean(), optimizer)
    precision.step(optimizer, clip=1.0)
    assert scaler.calls == ["scale", "unscale", "step", "update"]
    moved = torch.cat([(p - q).flatten() for p, q in zip(model.parameters(), before, strict=True)])
    assert moved.norm().item() == pytest.approx(0.1, rel=1e-4)  # lr times the clipped norm of 1


def test_skipped_steps_are_counted_and_survive_a_checkpoint():
    model, optimizer = line_fit()
    precision = Float16(CPU, Scaler(overflows={0, 2}))
    for _ in range(4):
        optimizer.zero_grad()
        precision.backward(model(torch.ones(4, 3)).mean(), optimizer)
        precision.step(optimizer, clip=None)
    assert precision.skipped == 2
    again = Float16(CPU, Scaler())
    again.load_state_dict(precision.state_dict())
    assert (again.skipped, again.scaler.steps) == (2, 4)


def fake_apex(calls):
    """A stand-in with the functions of apex.amp that we call; it only writes down their order."""

    class Scaled:
        def __init__(self, loss, _optimizer):
            self.loss = loss

        def __enter__(self):
            calls.append("scale")
            return self.loss

        def __exit__(self, *_):
            calls.append("unscale")

    amp = ModuleType("apex.amp")
    amp.initialize = lambda model, optimizer, opt_level, verbosity: calls.append(f"initialize {opt_level}")
    amp.scale_loss = Scaled
    amp.master_params = lambda optimizer: calls.append("masters") or optimizer.param_groups[0]["params"]
    amp.state_dict = lambda: {"scale": 3.0}
    amp.load_state_dict = lambda state: calls.append(f"load {state}")
    return amp


def test_our_wrapper_of_apex_calls_our_own_fake_of_it_in_order():
    calls = []
    model, optimizer = line_fit()
    precision = Apex(fake_apex(calls), "O2")
    precision.prepare(model, optimizer)
    precision.backward(model(torch.ones(4, 3)).mean(), optimizer)
    precision.step(optimizer, clip=1.0)
    precision.load_state_dict(precision.state_dict())
    assert calls == ["initialize O2", "scale", "unscale", "masters", "load {'scale': 3.0}"]


def test_apex_is_refused_where_it_is_installed_but_there_is_no_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "apex", ModuleType("apex"))
    monkeypatch.setitem(sys.modules, "apex.amp", fake_apex([]))
    with pytest.raises(UsageError, match=r"needs an NVIDIA GPU.*amp_backend torch"):
        choose_precision("auto", CPU, backend="apex")


@pytest.mark.parametrize(
    ("asked", "options", "says"),
    [
        ("fp16", {}, "fp32 or bf16"),
        ("auto", {"opt_level": "O3"}, "O1 or O2"),
        ("auto", {"opt_level": "O1"}, "needs a GPU"),
        ("bf16", {"opt_level": "O1"}, "both choose"),
        ("auto", {"backend": "apex"}, "amp_backend torch"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(asked, options, says):
    with pytest.raises(UsageError, match=says) as refusal:
        choose_precision(asked, CPU, **options)
    assert len(str(refusal.value).splitlines()) == 1


def test_what_a_cpu_gets():
    assert choose_precision("auto", CPU).name == "fp32"
    assert choose_precision("auto", CPU, opt_level="O0").name == "fp32"
    assert choose_precision("bf16", CPU).name == "bf16"


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_bfloat16_trains_on_a_cpu_near_float32(kind, tmp_path):
    for precision in ("fp32", "bf16"):
        flags = ["--precision", precision, "--epochs", "1", *SMALL]
        assert start(kind, tmp_path / precision, *flags) == 0
    tag = {"search": "shared/loss", "retrain": "train/loss"}[kind]
    full, half = (metrics(only_run(tmp_path / p, kind))[0][tag] for p in ("fp32", "bf16"))
    assert full != half
    assert full == pytest.approx(half, rel=0.05)


def batches(n, bad):
    class Batch:
        labels = torch.tensor([0, 1])

        def __init__(self, step):
            self.images = torch.full((2, 3), float("nan") if step in bad else 1.0)

    return [Batch(step) for step in range(n)]


class OneHead(nn.Linear):
    def forward(self, images):
        return super().forward(images), []


def run(precision, bad, every=2):
    model = OneHead(3, 2)
    learner = Learner(model, model, torch.optim.SGD(model.parameters(), 0.0), constant(0.0), precision)
    options = {"arguments": [()] * 60, "meter": ClassificationMeter(CPU), "draws": "test"}
    state = quiet_run(learner, every)
    with state.stoppable():
        train_pass(learner, Batches(batches(60, bad)), Classification.search(), run=state, **options)


def test_a_loss_that_stays_bad_stops_the_run_at_its_first_bad_step():
    with pytest.raises(NotFiniteError) as stop:
        run(Precision(), bad={7})
    assert stop.value.step == 7
    patient = Float16(CPU, Scaler(overflows=range(60)))
    run(patient, bad={3, 10, 11, 12})  # overflows now and then are what scaling is for
    with pytest.raises(NotFiniteError) as stop:
        run(Float16(CPU, Scaler(overflows=range(60))), bad=set(range(31, 60)))
    assert stop.value.step == 31


@pytest.mark.parametrize("kind", ["search", "retrain"])
def test_a_diverged_run_ends_in_one_line_with_the_genotype_and_the_details_are_in_the_log(kind, tmp_path, capsys):
    assert start(kind, tmp_path, "--epochs", "1", *SMALL, "--child_lr_max", "1e12", "--report_freq", "1") == 1
    [error] = capsys.readouterr().err.splitlines()
    folder = only_run(tmp_path, kind)
    for part in ("not finite since step", "genotype [[", str(folder)):
        assert part in error
    assert "Traceback" in (folder / "log.txt").read_text()
    assert not list(folder.glob("*.pt"))


def test_the_learning_rate_does_not_depend_on_skipped_steps(tmp_path, monkeypatch):
    """The whole first epoch and two later steps are skipped; every step still has the rate of its epoch."""
    rates = []

    class Recording(Scaler):
        def step(self, optimizer):
            rates.append(optimizer.param_groups[0]["lr"])
            super().step(optimizer)

    skipped = {*range(3), 4, 7}
    precision = Float16(CPU, Recording(skipped))
    monkeypatch.setattr(precision, "autocast", nullcontext)  # a CPU is slow in half precision; the scaler is the point
    monkeypatch.setattr(setup, "choose_precision", lambda *_, **__: precision)
    assert start("retrain", tmp_path, "--epochs", "3", *SMALL) == 0
    assert precision.skipped == len(skipped)
    of_epoch = [0.025 * (1 + math.cos(math.pi * epoch / 3)) / 2 for epoch in range(3)]
    assert rates == pytest.approx([lr for lr in of_epoch for _ in range(3)])


@gpu
@needs_gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_on_a_gpu(precision, tmp_path):
    for kind in ("search", "retrain"):
        assert start(kind, tmp_path, "--precision", precision, "--epochs", "1", "--device", "cuda") == 0
