"""Scoring many genotypes at once gives what scoring each for itself gives, to the last bit, with less work."""

import math
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from controller.sampling import uniform
from data.loaders import Batch
from engine import scoring
from engine.finite import ScoreError, require_finite
from engine.passes import evaluate
from engine.precision import BFloat16, Precision
from engine.scoring import Scorer
from engine.tasks import Task
from engine.tasks.classification import Classification
from models.supernet import BN_STATS, SuperNet
from utils.system.errors import UsageError

CPU, TASK = torch.device("cpu"), Classification.search()
DRAWN = uniform(5, 2, "type", torch.Generator().manual_seed(4))
GENOTYPES = [*DRAWN, *(replace(a, cells=(a.cells[0], b.cells[1])) for a, b in zip(DRAWN[:2], DRAWN[2:], strict=False))]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def batches(sizes=(6, 5, 4)) -> list[Batch]:
    return [Batch(torch.randn(n, 3, 20, 20), torch.randint(3, (n,))) for n in sizes]


def trained(bn_stats: str = "batch") -> SuperNet:
    """A supernet whose running statistics, where it keeps some, are no fresh ones."""
    supernet = SuperNet((1, 1), 4, 3, bn_stats=bn_stats).train()
    for genotype in GENOTYPES:
        supernet(torch.randn(6, 3, 20, 20) + 1, genotype)
    return supernet


def scorer(supernet: SuperNet, name: str = "loss", precision=None) -> Scorer:
    calibrated = BN_STATS[supernet.bn_stats].calibrated
    calibration = [torch.randn(5, 3, 20, 20) + 1 for _ in range(2)] if calibrated else []
    precision = precision or Precision()
    return Scorer(supernet, TASK, *TASK.choose_score(name), precision, calibration)


def alone(s: Scorer, genotype, shown) -> dict[str, float]:
    """One genotype from the images on, by the engine."""
    mode, meter = s.supernet.scoring(genotype, s.calibration), TASK.meter(CPU, 1)
    return evaluate(s.supernet, shown, TASK, arguments=(genotype,), statistics=mode, precision=s.precision, meter=meter)


def without_score(found: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in metrics.items() if name != "score"} for metrics in found]


@pytest.fixture
def one_by_one(monkeypatch):
    """Batches are run one by one, which gives what the engine gives to the last bit."""
    monkeypatch.setattr(scoring, "TOGETHER", 0)


@pytest.mark.parametrize("bn_stats", BN_STATS)
def test_scores_together_are_those_of_each_alone_however_much_is_held(bn_stats, one_by_one, monkeypatch):
    s, shown = scorer(trained(bn_stats)), batches()
    before = {key: value.clone() for key, value in s.supernet.state_dict().items()}
    expected = [alone(s, genotype, shown) for genotype in GENOTYPES]
    for held in (0, 3000, 2**28):
        monkeypatch.setattr(scoring, "HELD", held)
        found = s.metrics(GENOTYPES, shown)
        assert without_score(found) == expected, held
        assert [metrics["score"] for metrics in found] == [100 * math.exp(-metrics["loss"]) for metrics in found]
    assert s.supernet.training
    after = s.supernet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize("bn_stats", BN_STATS)
def test_batches_side_by_side_give_what_they_give_one_by_one(bn_stats, monkeypatch):
    s, sizes = scorer(trained(bn_stats).double()), []
    s = replace(s, calibration=[images.double() for images in s.calibration])
    shown = [batch._replace(images=batch.images.double()) for batch in batches()]
    expected = [alone(s, genotype, shown) for genotype in GENOTYPES]
    s.supernet.blocks[0].out.register_forward_hook(lambda _module, _inputs, output: sizes.append(len(output)))
    for together, runs in ((20_000, {11, 4}), (2**23, {15})):  # two batches and one, or all three
        monkeypatch.setattr(scoring, "TOGETHER", together)
        sizes.clear()
        for metrics, other in zip(s.metrics(GENOTYPES, shown), expected, strict=True):
            assert metrics == pytest.approx({**other, "score": metrics["score"]}, rel=1e-12)
        assert set(sizes) == (runs | {5} if s.calibration else runs), "5 images each are for calibration"
    assert not any("forward" in vars(module) for module in s.supernet.modules())


def test_batches_of_norms_over_all_processes_are_run_one_by_one():
    supernet = trained()
    nn.SyncBatchNorm.convert_sync_batchnorm(supernet)
    assert not supernet.tells_batches_apart
    s = scorer(supernet)
    assert [len(group) for group in s._together(batches())] == [1, 1, 1]


def test_scores_in_mixed_precision_are_those_of_each_alone(one_by_one):
    s, shown = scorer(trained(), precision=BFloat16(CPU)), batches((6,))
    assert without_score(s.metrics(GENOTYPES, shown)) == [alone(s, genotype, shown) for genotype in GENOTYPES]


def test_a_score_on_several_batches_is_of_the_mean_over_their_images():
    s, shown = scorer(trained(), "top1"), batches()
    together = s.metrics(GENOTYPES, shown)
    apart = [s.metrics(GENOTYPES, [batch]) for batch in shown]
    for i, metrics in enumerate(together):
        for name in ("loss", "score"):
            mean = sum(part[i][name] * len(b.labels) for part, b in zip(apart, shown, strict=True)) / 15
            assert metrics[name] == pytest.approx(mean)


@pytest.mark.parametrize("bn_stats", BN_STATS)
def test_stems_run_once_a_batch_for_all_genotypes(bn_stats, one_by_one):
    s, runs, calls = scorer(trained(bn_stats)), [], []
    s.supernet.stems[0].register_forward_hook(lambda *_: runs.append(1))
    s.metrics(GENOTYPES, batches(), lambda: calls.append(1))
    assert len(calls) == 3 * len(GENOTYPES)
    calibrations = 2 if s.calibration else 0
    assert len(runs) == 3 + 2 * calibrations, "of calibration: once for the stems, once for what follows"


def test_nothing_is_run_for_no_genotype_and_a_stop_leaves_training_mode():
    s = scorer(trained())
    assert s.metrics([], [None]) == []

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        s.metrics(GENOTYPES, batches(), stop)
    assert s.supernet.training


def test_scores_are_never_negative_and_rise_as_losses_fall():
    for score in TASK.scores().values():
        values = {"loss": [50.0, 2.3, 0.1, 0.0], "top1": [0.0, 10.0, 99.0, 100.0]}[score.metric]
        found = [score.of(value) for value in values]
        assert found == sorted(set(found))
        assert 0 <= found[0] < found[-1] == 100
    probabilities = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]]).log()
    loss = TASK.validation_loss(probabilities, torch.tensor([0, 1])).mean.item()
    assert TASK.scores()["loss"].of(loss) == pytest.approx(100 * math.sqrt(0.5 * 0.8))


class Distance(Task):
    name: ClassVar = "distance"
    measure: ClassVar = "closeness"


def test_a_task_is_scored_by_its_measure_or_by_loss_and_by_nothing_that_it_lacks():
    assert TASK.choose_score(None)[0] == "top1"
    name, score = Distance.choose_score(None)
    assert (name, score.metric, score.of(-0.5)) == ("closeness", "closeness", -0.5)
    assert Distance.choose_score("loss")[0] == "loss"
    with pytest.raises(UsageError, match=r"--score top1.*closeness"):
        Distance.choose_score("top1")


def test_a_score_that_is_not_finite_is_named():
    assert require_finite(1.5, "epoch 2") == 1.5
    for value in (math.nan, math.inf):
        with pytest.raises(ScoreError, match="not finite in epoch 2; the last checkpoint"):
            require_finite(value, "epoch 2")
