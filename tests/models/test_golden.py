"""The numbers of the published implementation, reproduced in float64."""

import json
from pathlib import Path

import numpy
import pytest
import torch
from torch.nn import functional as F

from models.network import Network
from ops.genotype import Genotype
from tests.golden_weights import fill

GOLDEN = Path(__file__).parents[1] / "golden"
OUTPUTS = json.loads((GOLDEN / "network_outputs.json").read_text())
COUNTS = json.loads((GOLDEN / "parameter_counts.json").read_text())


def close(ours, theirs) -> None:
    torch.testing.assert_close(
        torch.as_tensor(ours, dtype=torch.float64),
        torch.tensor(theirs, dtype=torch.float64),
        rtol=1e-8,
        atol=1e-8,
    )


@pytest.mark.parametrize("case", OUTPUTS, ids=lambda c: f"{c['blocks']}x{c['filters']}@{c['image_size']}")
def test_outputs_and_gradients(case):
    network = Network(Genotype.from_lists(case["arch"]), case["blocks"], case["filters"], case["num_classes"]).double()
    layers = fill(network)
    size = case["image_size"]
    images = torch.from_numpy(numpy.random.default_rng(0).standard_normal((2, 3, size, size)))
    labels = torch.tensor(case["labels"])
    logits, aux = network.eval()(images)
    close(logits, case["eval_logits"])
    for ours, theirs in zip(aux, case["eval_aux"], strict=True):
        close(ours, theirs)
    logits, aux = network.train()(images)
    close(logits, case["train_logits"])
    for ours, theirs in zip(aux, case["train_aux"], strict=True):
        close(ours, theirs)
    loss = F.cross_entropy(logits, labels) + 0.4 * sum(F.cross_entropy(a, labels) for a in aux)
    loss.backward()
    close(loss.detach(), case["loss"])
    # A state that no edge reads (a skip, a stem) leaves its layer without a gradient.
    norms = [p.grad.norm() for p in network.parameters() if p.grad is not None]
    close(torch.stack(norms).norm(), case["grad_norm"])
    for key, norm in case["weight_grad_norms"].items():
        close(layers[key].weight.grad.norm(), norm)


@pytest.mark.parametrize("case", COUNTS + OUTPUTS, ids=lambda c: f"{c['blocks']}x{c['filters']}")
def test_parameter_counts(case):
    with torch.device("meta"):
        network = Network(Genotype.from_lists(case["arch"]), case["blocks"], case["filters"], case["num_classes"])
    dead = 2 * (case["filters"] * 2 ** (len(case["blocks"]) - 1)) ** 2
    assert network.num_parameters == case["parameters"] - dead
    if "unused_last_skip" in case:
        assert dead == case["unused_last_skip"]
        assert network.num_aux_parameters == case["aux_parameters"]
