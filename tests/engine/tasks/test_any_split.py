"""A measure is one of the data: any split of the images into batches and processes gives the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from data.loaders import Batch
from engine.passes import Learner, train_step
from engine.precision import Precision
from engine.tasks import TASKS
from models.dense_heads import Detector
from models.heads import Features

CPU, N = torch.device("cpu"), 6
NAMES = {"classify": [f"class {i}" for i in range(12)], "segment": list("abcd"), "detect": list("abc")}
NEEDED = {"classify": (), "segment": (), "detect": ("torchmetrics", "pycocotools")}


class Replayed(nn.Module):
    """Gives for images, which are their own numbers, what was stored for them, times a weight."""

    def __init__(self, stored):
        super().__init__()
        self.weight, self.stored = nn.Parameter(torch.ones((), dtype=torch.float64)), stored

    def forward(self, images):
        rows = images.flatten(1)[:, 0].long()
        if isinstance(self.stored, torch.Tensor):
            return self.stored[rows] * self.weight, []
        return self.stored._replace(
            cls_logits=self.stored.cls_logits[rows] * self.weight,
            bbox_regression=self.stored.bbox_regression[rows] * self.weight,
            bbox_ctrness=self.stored.bbox_ctrness[rows] * self.weight,
        ), []


class Parts:
    """A loader of batches of some sizes; the images are their numbers."""

    device = CPU

    class preset:
        image_size = 8

    def __init__(self, targets, sizes):
        numbers = torch.arange(N, dtype=torch.float64)[:, None, None, None].expand(-1, 1, 64, 64)
        self.batches = [Batch(*pair) for pair in zip(numbers.split(sizes), targets.split(sizes), strict=True)]

    def set_epoch(self, epoch):
        pass

    def __iter__(self):
        return iter(self.batches)


def made_up(name):
    """Outputs and targets of N images, as unequal in what counts as can be: boxes, pixels, sizes."""
    torch.manual_seed(0)
    if TASKS[name].targets == "labels":
        return 3 * torch.randn(N, 12, dtype=torch.float64), torch.randint(12, (N,))
    if name == "segment":
        ids = torch.randint(4, (N, 8, 8))
        for i in range(N):
            ids[i, : i + 3] = 255  # the last one has no pixel that counts
        return torch.randn(N, 4, 8, 8, dtype=torch.float64), ids
    features = {8: torch.randn(N, 8, 8, 8), 16: torch.randn(N, 16, 4, 4)}
    detector = Detector({stride: x.shape[1] for stride, x in features.items()}, 3)
    with torch.no_grad():
        outputs = detector(Features(features[16], [], features))
    rows = torch.full((N, 5, 5), -1.0)
    for i in range(N):
        for k in range(i):  # the first one has no box
            corner = 3.0 * torch.tensor([k, i])
            rows[i, k] = torch.cat([corner, corner + 20 + 4 * k, torch.tensor([float(k % 3)])])
    return outputs._replace(cls_logits=outputs.cls_logits + 5), rows


SPLITS = st.lists(st.integers(0, 3), min_size=1, max_size=8).map(
    lambda sizes: [*sizes, N - sum(sizes)] if sum(sizes) <= N else [1] * N
)


@pytest.mark.parametrize("name", TASKS)
@settings(max_examples=25, deadline=None)
@given(sizes=SPLITS, processes=st.integers(1, 4), seed=st.integers(0, 99))
def test_the_metrics_of_an_epoch_and_of_a_score(name, sizes, processes, seed):
    (outputs, targets), task = made_up(name), TASKS[name].retrain()
    heads = [outputs, *([outputs.flip(0)] if task.targets == "labels" else [])]  # the other tasks have no auxiliary one

    def add(meter, outputs, *aux, targets):
        for loss in (task.loss(outputs, aux, targets), task.validation_loss(outputs, targets)):
            meter.update(loss, outputs, aux, targets)

    whole, *meters = [task.meter(CPU, len(heads) - 1) for _ in range(1 + processes)]
    add(whole, *heads, targets=targets)
    owners = torch.randint(processes, (len(sizes),), generator=torch.Generator().manual_seed(seed)).tolist()
    for owner, *parts, labels in zip(owners, *(x.split(sizes) for x in heads), targets.split(sizes), strict=True):
        add(meters[owner], *parts, targets=labels)
    metrics = meters[0].read(lambda sums: sum(meter.sums for meter in meters))
    assert metrics == pytest.approx(whole.read(), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_pass_goes_on_from_its_sums_and_leaves_out_those_of_another_layout(name):
    (outputs, targets), task = made_up(name), TASKS[name].retrain()
    whole, rest = task.meter(CPU), task.meter(CPU)
    whole.update(task.validation_loss(outputs, targets), outputs, [], targets)
    rest.load(whole.sums.tolist())
    assert rest.read() == whole.read()
    rest.load(whole.sums.tolist()[1:])
    assert rest.read() == whole.read()


@pytest.mark.parametrize("name", NAMES)
def test_the_measures_of_a_finished_network(name):
    for package in NEEDED[name]:
        pytest.importorskip(package)
    (outputs, targets), task = made_up(name), TASKS[name].retrain()
    network = Replayed(outputs if name == "detect" else outputs.float())

    def measured(sizes):
        generator = torch.Generator().manual_seed(0)
        return task.measures(network, Parts(targets, sizes), NAMES[name], generator)

    def flat(measures):
        """Every number by where it stands."""
        if not isinstance(measures, dict | list):
            return {(): -1 if measures is None else measures}
        pairs = measures.items() if isinstance(measures, dict) else enumerate(measures)
        return {(key, *rest): number for key, value in pairs for rest, number in flat(value).items()}

    whole = flat(measured([N]))
    assert all(flat(measured(sizes)) == pytest.approx(whole, rel=1e-5) for sizes in ([1] * N, [4, 2], [1, 5]))


class NothingRead(TorchDispatchMode):
    """Refuses what makes the host wait for a device: reading a number, or finding how many places are not zero."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket not in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["classify", "segment"])  # the matching of boxes does wait
def test_a_step_waits_for_no_device(name):
    (outputs, targets), task = made_up(name), TASKS[name].retrain()
    meter = task.meter(CPU)
    with NothingRead():
        for loss in (task.loss(outputs, [], targets), task.validation_loss(outputs, targets)):
            meter.update(loss, outputs, [], targets)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [[3, 3], [1, 5], [2, 1, 3]])
def test_a_step_of_several_processes_is_that_of_one(name, sizes):
    """Gradients are averaged over processes: so each divides by the mean of all counts, as DETR does."""
    (outputs, targets), task = made_up(name), TASKS[name].retrain()
    parts = [task.loss(x, [], y) for x, y in zip(outputs.split(sizes), targets.split(sizes), strict=True)]
    mean = sum(part.count for part in parts) / len(parts)

    def step(batch, mean_of_counts):
        network = Replayed(outputs)
        optimizer = torch.optim.SGD(network.parameters(), 1.0)
        learner = Learner(network, network, optimizer, None, Precision(), mean=mean_of_counts)
        train_step(learner, batch, task, (), task.meter(CPU))
        return 1 - network.weight.item()

    whole = step(*Parts(targets, [N]), lambda count: count)
    moves = [step(batch, lambda count: mean) for batch in Parts(targets, sizes)]
    assert sum(moves) / len(moves) == pytest.approx(whole, rel=1e-5)
    assert whole != 0
