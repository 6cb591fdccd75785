"""The training step, the meter, the losses and drop path."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.loaders import Batch
from engine.finite import FiniteWatch, NotFiniteError
from engine.passes import Learner, evaluate, train_pass
from engine.precision import Precision
from engine.tasks.classification import Classification, ClassificationMeter, retrain_loss, search_loss
from ops.layers import keep_masks
from tests.quiet import Batches, constant, quiet_run

CPU = torch.device("cpu")
TASK = Classification.search()


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, images: Tensor, _step: int = 0) -> tuple[Tensor, list[Tensor]]:
        return self.a(images), [self.b(images)]


def batches(sizes=(5, 2, 1)) -> list[Batch]:
    torch.manual_seed(1)
    return [Batch(torch.randn(n, 4), torch.randint(3, (n,))) for n in sizes]


def test_meter_equals_the_mean_over_all_images_at_once():
    model, meter = TwoHeads(), ClassificationMeter(CPU, 1)
    averages = evaluate(model, batches(), TASK, precision=Precision(), meter=meter)
    images, labels = (torch.cat([getattr(b, name) for b in batches()]) for name in ("images", "labels"))
    logits, [aux] = model(images)
    assert averages["loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
    assert averages["top1"] == 100 * sum(logits.argmax(1) == labels).item() / 8
    assert averages["aux0_top1"] == 100 * sum(aux.argmax(1) == labels).item() / 8
    assert averages == meter.read(), "reading changes nothing"


def test_a_process_without_images_adds_nothing_to_the_sums():
    model, meters = TwoHeads(), [ClassificationMeter(CPU, 1) for _ in range(2)]
    for meter, sizes in zip(meters, ((3,), (0, 3)), strict=True):
        [whole] = batches((3,))
        split = zip(whole.images.split(sizes), whole.labels.split(sizes), strict=True)
        evaluate(model, [Batch(*part) for part in split], TASK, precision=Precision(), meter=meter)
    assert meters[0].read() == meters[1].read()


def test_meter_of_nothing_is_no_zero():
    with pytest.raises(ValueError, match="no image"):
        ClassificationMeter(CPU).read()


@pytest.mark.parametrize("done", [0, 2])  # steps of the pass before it was interrupted
def test_an_epoch_is_sgd_written_out(done):
    model, twin, meter = TwoHeads(), TwoHeads(), ClassificationMeter(CPU, 1)
    learner = Learner(model, model, torch.optim.SGD(model.parameters(), 0.1), constant(0.1), Precision(), clip=0.5)
    run = quiet_run(learner)
    run.position.step = done
    with run.stoppable():
        loader = Batches([None] * done + batches())
        train_pass(learner, loader, TASK, arguments=[()] * len(loader), meter=meter, run=run, draws="test")
    losses = []
    for batch in batches():
        loss = search_loss(*twin(batch.images), batch.labels) / len(batch.labels)
        losses.append(loss.item() * len(batch.labels))
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        with torch.no_grad():
            for parameter, gradient in zip(twin.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient * min(1.0, 0.5 / (norm.item() + 1e-6))
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert run.position.step == done + 3
    assert meter.read()["loss"] == pytest.approx(sum(losses) / 8, rel=1e-6)


def test_evaluation_builds_no_graph_and_leaves_the_gradients_of_training_alone():
    model, seen = TwoHeads(), []
    logits, [aux] = model(batches()[0].images)
    (logits.sum() + aux.sum()).backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    model.register_forward_hook(lambda _model, _inputs, outputs: seen.extend([outputs[0], *outputs[1]]))
    evaluate(model, batches(), TASK, precision=Precision(), meter=ClassificationMeter(CPU, 1))
    assert len(seen) == 6
    assert not any(output.requires_grad for output in seen)
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), before, strict=True))


def test_a_loss_that_is_not_finite_is_named_by_its_step():
    watch = FiniteWatch()
    for step, loss in enumerate((1.0, 2.0, math.nan, 1.0)):
        watch.add(step, torch.tensor(loss))
    with pytest.raises(NotFiniteError) as error:
        watch.check()
    assert error.value.step == 2
    assert FiniteWatch().check() is None


def test_patience_counts_steps_in_a_row_over_several_reads():
    watch = FiniteWatch(patience=3)
    for step, loss in enumerate((math.inf, math.nan, 1.0, math.nan, math.inf)):
        watch.add(step, torch.tensor(loss))
        watch.check()
    watch.add(5, torch.tensor(math.nan))
    with pytest.raises(NotFiniteError) as error:
        watch.check()
    assert error.value.step == 3


def heads(classes: int, count: int) -> tuple[Tensor, list[Tensor], Tensor]:
    torch.manual_seed(classes)
    logits, *aux = (torch.randn(6, classes, dtype=torch.float64) for _ in range(count + 1))
    return logits, aux, torch.randint(classes, (6,))


def smoothed(logits: Tensor, labels: Tensor, eps: float) -> float:
    """Cross entropy with a target of (1 - eps) on the label + eps spread over all K outputs, in plain loops."""
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        targets = [eps / len(row) + (1 - eps) * (k == label) for k in range(len(row))]
        assert sum(targets) == pytest.approx(1)
        total += sum(t * (log_sum - value) for t, value in zip(targets, row, strict=True))
    return total


@pytest.mark.parametrize("eps", [0, 0.1, 0.999])
@pytest.mark.parametrize("classes", [8, 10, 67])
def test_retraining_smooths_over_the_outputs_and_sums_the_auxiliary_losses(classes, eps):
    logits, aux, labels = heads(classes, 2)
    expected = smoothed(logits, labels, eps) + 0.4 * sum(smoothed(a, labels, eps) for a in aux)
    assert retrain_loss(logits, aux, labels, smoothing=eps).item() == pytest.approx(expected)
    assert retrain_loss(logits, [], labels, smoothing=eps).item() == pytest.approx(smoothed(logits, labels, eps))


def test_search_weighs_a_deeper_auxiliary_head_more():
    logits, aux, labels = heads(10, 3)
    ce = [smoothed(x, labels, 0) for x in (logits, *aux)]
    expected = ce[0] + 0.4 * (1 * ce[1] + 2 * ce[2] + 3 * ce[3]) / 6
    assert search_loss(logits, aux, labels).item() == pytest.approx(expected)
    assert search_loss(logits, [], labels).item() == pytest.approx(ce[0])


@pytest.mark.parametrize("p", [0.0, 0.1, 0.35, 0.5, 0.9])
def test_drop_path_keeps_the_mean_and_touches_no_input(p):
    torch.manual_seed(0)
    x = torch.ones(2000, 3, 2, 2)
    masks = keep_masks(10, 2000, p, x)
    assert masks.shape == (10, 2000, 1, 1, 1)
    kept = masks[0] * x
    assert torch.equal(x, torch.ones_like(x))
    torch.testing.assert_close(masks[masks > 0].unique(), torch.tensor([1 / (1 - p)]))
    assert masks.mean().item() == pytest.approx(1, abs=5 * math.sqrt(p / (1 - p) / 20_000))
    assert all(len(sample.unique()) == 1 for sample in kept), "a sample is kept or dropped whole"
    if p == 0:
        assert torch.equal(kept, x)
