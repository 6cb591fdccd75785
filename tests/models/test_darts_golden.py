"""The numbers of the published DARTS networks and supernet, reproduced in float64."""

import json
from pathlib import Path

import numpy
import pytest
import torch
from torch.nn import functional as F

from models.network import Network
from models.supernet import SuperNet
from ops.genotype import parse_genotype
from tests.golden_stacks import fill, mixture

GOLDEN = Path(__file__).parents[1] / "golden"
NETWORKS = json.loads((GOLDEN / "darts_network.json").read_text())["cases"]
SUPERNETS = json.loads((GOLDEN / "darts_supernet.json").read_text())["cases"]
COUNTS = json.loads((GOLDEN / "counts.json").read_text())


def close(ours, theirs) -> None:
    theirs = torch.tensor(theirs, dtype=torch.float64)
    torch.testing.assert_close(torch.as_tensor(ours, dtype=torch.float64), theirs, rtol=1e-8, atol=1e-8)


def images(case) -> torch.Tensor:
    size = case.get("image_size", 32)
    return torch.from_numpy(
        numpy.random.default_rng(case["input_seed"]).standard_normal((case["batch"], 3, size, size))
    )


def check_gradients(named, case) -> None:
    for key, expected in case["weight_gradients"].items():
        gradient = named[key].grad.flatten()
        close(gradient.norm(), expected["norm"])
        if "first" in expected:
            close(gradient[:3], expected["first"])
        if "last" in expected:
            close(gradient[-3:], expected["last"])
    norms = [p.grad.norm() for p in named.values() if p.grad is not None]
    close(torch.stack(norms).norm(), case.get("grad_norm") or case["grad_norm_weights"])


@pytest.mark.parametrize(
    "case", NETWORKS, ids=lambda c: f"{c['name']}-{c['layers']}-{c['batch']}-{'aux' if c['auxiliary'] else 'plain'}"
)
def test_networks_give_the_published_outputs_and_gradients(case):
    genotype = parse_genotype(json.dumps(case["genotype"]))
    aux = case["auxiliary"]
    network = Network(genotype, (case["layers"],), case["channels"], case["classes"], "plain", aux=aux).double()
    named = fill(network, genotype)
    assert network.num_parameters - network.num_aux_parameters == case["parameters"]
    assert network.num_aux_parameters == case["aux_parameters"]
    close(network.eval()(images(case))[0], case["eval_logits"])
    logits, of_aux = network.train()(images(case))
    close(logits, case["train_logits"])
    labels = torch.tensor(case["labels"])
    loss = F.cross_entropy(logits, labels)
    if aux:
        close(of_aux[0], case["aux_logits"])
        loss = loss + 0.4 * F.cross_entropy(of_aux[0], labels)
    close(loss, case["loss"])
    loss.backward()
    check_gradients(named, case)


@pytest.mark.parametrize("case", SUPERNETS, ids=lambda c: f"{c['layers']}-{c.get('image_size')}")
def test_the_supernet_gives_the_published_outputs_and_gradients(case):
    blocks = (case["layers"],)
    supernet = SuperNet(blocks, case["channels"], case["classes"], "plain", bn_stats="running", space="darts").double()
    named = fill(supernet)
    assert supernet.num_parameters == case["parameters"]
    alphas = [torch.tensor(case[f"alphas_{kind}"], dtype=torch.float64) for kind in ("normal", "reduce")]
    mixed = mixture(*(table.requires_grad_().softmax(1) for table in alphas))
    with torch.no_grad():
        close(supernet.eval()(images(case), mixed)[0], case["eval_logits"])
    logits, of_aux = supernet.train()(images(case), mixed)
    assert of_aux == []
    close(logits, case["train_logits"])
    loss = F.cross_entropy(logits, torch.tensor(case["labels"]))
    close(loss, case["loss"])
    loss.backward()
    for table, kind in zip(alphas, ("normal", "reduce"), strict=True):
        close(table.grad, case[f"grad_{kind}"])
    check_gradients(named, case)


@pytest.mark.parametrize("case", COUNTS["darts"], ids=lambda c: f"{c['genotype_name']}-{c['form']}")
def test_published_networks_have_the_published_number_of_parameters(case):
    stem = {"cifar": "plain", "imagenet": "imagenet"}[case["form"]]
    with torch.device("meta"):
        genotype = parse_genotype(case["genotype_name"])
        assert genotype == parse_genotype(json.dumps(case["genotype"]))
        network = Network(genotype, (case["layers"],), case["channels"], case["classes"], stem)
    assert network.num_aux_parameters == case["aux_parameters"]
    assert network.num_parameters == case["parameters"] + case["aux_parameters"]


@pytest.mark.parametrize("case", COUNTS["darts_supernet"], ids=lambda c: f"{c['channels']}x{c['layers']}")
def test_the_supernet_has_the_published_number_of_parameters(case):
    with torch.device("meta"):
        supernet = SuperNet((case["layers"],), case["channels"], case["classes"], "plain", space="darts")
    assert supernet.num_parameters == case["parameters"]
