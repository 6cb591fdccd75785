"""A space, a task and a strategy that stand in this file alone go through a real search and a real retraining."""

import json
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from controller import strategies
from data.mixing import WrappedLoader
from engine.tasks import TASKS, Loss, Meter, Task
from models import structures
from models.network import Network
from ops import primitives, registry, space
from ops.space import CellSpace
from tests.harness import only_run, start, weights

TOY = CellSpace("toy", operations=("conv_1x1", "soft_pool"), nodes=3, heaviest="conv_1x1")
FLAGS = ["--image_size", "16", "--no-tensorboard", "--task", "colour", "--epochs", "2", "--batch_size", "40"]


class ColourMeter(Meter):
    """The squared distance to the colour, and minus it as the measure."""

    def update(self, loss, outputs, aux, targets):
        self.sums += torch.tensor([loss.total.item(), loss.count.item(), len(targets)])

    def metrics(self, sums):
        distance, n, _ = sums.tolist()
        return {"loss": distance / n, "closeness": -distance / n}


class Coloured(WrappedLoader):
    """Images with their mean colours."""

    def __iter__(self):
        return (batch._replace(labels=batch.images.mean(dim=(2, 3))) for batch in self.loader)


class Colour(Task):
    """Predict the mean colour of an image."""

    name = retrained_as = "colour"
    head = "classify"
    measure = final_measure = measure_title = "closeness"
    result_measures = ("closeness",)
    wrap = Coloured

    def outputs(self, classes):
        return 3

    def loss(self, outputs, aux, targets):
        total = sum(F.mse_loss(x, targets, reduction="sum") for x in (outputs, *aux))
        return Loss(total, torch.tensor(float(targets.numel())))

    def validation_loss(self, outputs, targets):
        return self.loss(outputs.double(), (), targets.double())

    def meter(self, device, num_aux=0):
        return ColourMeter(device, 3)

    @torch.inference_mode()
    def measures(self, network, loader, names, generator):
        distances = [self.validation_loss(network.eval()(b.images)[0], b.labels).mean for b in loader]
        return {"closeness": -torch.stack(distances).mean().item()}


class Ladder:
    """Asks for uniform genotypes and remembers the best that it was told of."""

    def __init__(self, positions, **_options):
        self.uniform = positions.uniform
        self.asked, self.best, self.told = (), None, []

    def ask(self, n, generator, fits=None):
        self.asked = self.uniform(n, generator)
        return self.asked

    def sample(self, n, generator, fits=None):
        return self.uniform(n, generator)

    def tell(self, scores):
        self.told += scores
        if max(scores) == max(self.told):
            self.best = self.asked[scores.index(max(scores))]
        return {"reward": sum(scores) / len(scores)}

    def argmax(self):
        return self.best

    def has_moved(self):
        return bool(self.told)

    def state_dict(self):
        return {"told": self.told}

    def load_state_dict(self, state):
        self.told = state["told"]


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setitem(space.SPACES, "toy", TOY)
    monkeypatch.setitem(registry.OPERATIONS, "soft_pool", partial(primitives.PooledConv, "avg"))
    monkeypatch.setitem(structures.STRUCTURES, "toy", structures.STRUCTURES["slnas"])
    monkeypatch.setitem(TASKS, "colour", Colour)
    monkeypatch.setitem(strategies.STRATEGIES, "ladder", Ladder)


def test_a_space_a_task_and_a_strategy_of_this_file_are_searched_and_retrained(toys, tmp_path):
    assert start("search", tmp_path, *FLAGS, "--space", "toy", "--searcher", "ladder") == 0
    found = only_run(tmp_path, "search")
    document = json.loads((found / "genotypes.json").read_text())
    assert document["space"] == "toy"
    assert all(len(encoding) == 12 for c in document["candidates"] for encoding in c["cells"])
    told = torch.load(found / "checkpoint.pt", weights_only=True)["extras"]["strategy"]["told"]
    assert len(told) == 6
    assert all(score <= 0 for score in told), "minus a distance"

    assert start("retrain", tmp_path, *FLAGS, "--arch", f"{found / 'genotypes.json'}#0") == 0
    run = only_run(tmp_path, "retrain")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines[1]["train/loss"] < lines[0]["train/loss"]
    result = json.loads((run / "result.json").read_text())
    assert result["last_closeness"] == lines[1]["valid/closeness"]
    assert result["genotype"] == document["candidates"][0]["cells"]
    network = Network.from_arguments(torch.load(run / "checkpoint.pt", weights_only=True)["network"])
    assert network.spec.search_space is TOY
    assert network.head.weight.shape[0] == 3
    network.load_state_dict(weights(run))
