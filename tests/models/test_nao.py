"""Networks of NAO and ENAS: counts of the published ones, and what a network computes, written out independently."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from models.cost import main
from models.folding import folded
from models.network import Network
from models.spec import NetworkSpec
from models.supernet import SuperNet
from ops.genotype import Genotype
from ops.named import NAMED
from ops.space import edges
from tests.plain_layers import batch_norm, halved, of, projected, separable
from utils.system.errors import UsageError

COUNTS = json.loads((Path(__file__).parents[1] / "golden" / "counts.json").read_text())


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("row", COUNTS["nao"], ids=lambda row: f"{row['name']}-{row['form']}-{row['channels']}")
def test_the_command_counts_as_published(row, capsys):
    assert [*NAMED[row["name"]].cells[0], *NAMED[row["name"]].cells[1]] == list(map(int, row["arc"].split()))
    flags = {
        "child_out_filters": row["channels"],
        "layers": row["layers_per_stage"],
        "num_class": row["classes"],
        "image_size": {"cifar": 32, "imagenet": 224}[row["form"]],
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    assert main(["--space", "nao", "--arch", row["name"], *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["parameters"], found["aux_parameters"]) == (row["parameters"], row["aux_parameters"])


def test_naonet_is_the_one_that_was_found_with_shared_weights():
    assert NAMED["NAONet"] == NAMED["NAONet-B"]


def operation(op, x, layers, stride):
    """An operation of NAO, by number; those of ENAS are the first five."""
    if op < 2:
        return separable(x, *layers, stride=stride)
    if op in (2, 14, 15):
        side = 5 if op == 15 else 3
        inside = F.avg_pool2d(torch.ones_like(x), side, stride, side // 2)
        return F.avg_pool2d(x, side, stride, side // 2) / inside
    if op in (3, 11, 12):
        side = 5 if op == 12 else 3
        return F.max_pool2d(x, side, stride, side // 2)
    if op in (4, 5):
        return x if stride == 1 else halved(x, *layers)
    if op in (10, 13):
        x = F.pad(x, (0, 1, 0, 1))
        return F.max_pool2d(x, 2, stride) if op == 10 else F.avg_pool2d(x, 2, stride)
    strides = {6: [stride], 7: [stride]}.get(op, [(1, stride), (stride, 1)])
    for step, (kernel, scale, shift) in zip(strides, (layers[:3], layers[3:]), strict=False):
        border = [side // 2 for side in kernel.shape[-2:]]
        x = batch_norm(F.conv2d(F.relu(x), kernel, None, step, border), scale, shift)
    return x


def calibrated(x, like, layers):
    """A state as a cell reads it, by its size and the weights that there are for it."""
    if not layers:
        return x
    return projected(x, *layers) if x.shape[-1] == like.shape[-1] else halved(F.relu(x), *layers)


def plain_cell(weights, key, cell, s0, s1, reduces):
    """The output of a cell of the network."""
    states = [calibrated(s0, s1, of(weights, f"{key}.pre0")), calibrated(s1, s1, of(weights, f"{key}.pre1"))]
    if further := of(weights, f"{key}.further"):
        states[1] = projected(states[1], *further)
    for n in range(5):
        node = 0
        for side, state, op in zip("xy", cell[4 * n : 4 * n + 4 : 2], cell[4 * n + 1 : 4 * n + 4 : 2], strict=True):
            layers = of(weights, f"{key}.nodes.{n}.{side}")
            node = node + operation(op, states[state], layers, 2 if reduces and state < 2 else 1)
        states.append(node)
    loose = [s for s in range(7) if s not in cell[0::2]]
    ends = [halved(states[s], *of(weights, f"{key}.halve.{s}")) if reduces and s < 2 else states[s] for s in loose]
    return torch.cat(ends, 1)


def plain_network(weights, genotype, x, cells, reductions):
    """The logits of a network and of its auxiliary head, from the weights alone."""
    if "stems.1.1.weight" in weights:
        first, *layers = of(weights, "stems.0")
        s0 = F.relu(batch_norm(F.conv2d(x, first, None, 2, 1), *layers[:2]))
        s0 = batch_norm(F.conv2d(s0, layers[2], None, 2, 1), *layers[3:])
        kernel, *norm = of(weights, "stems.1")
        s1 = batch_norm(F.conv2d(F.relu(s0), kernel, None, 2, 1), *norm)
    else:
        kernel, *norm = of(weights, "stems.0")
        s0 = s1 = batch_norm(F.conv2d(x, kernel, None, 1, 1), *norm)
    aux, is_enas = None, genotype.space == "enas"
    for i in range(cells):
        reduces = i in reductions
        out = plain_cell(weights, f"blocks.{i}", genotype.cells[int(reduces)], s0, s1, reduces)
        s0, s1 = s1, out
        if i == reductions[1] + is_enas:
            aux = s1
    logits = (F.relu(s1) if is_enas else s1).mean((2, 3)) @ weights["head.weight"].T + weights.get("head.bias", 0)
    return logits, plain_auxiliary(aux, *of(weights, "aux_heads.0"))


def plain_auxiliary(x, first, scale_1, shift_1, second, scale_2, shift_2, matrix, bias=0):
    assert x.shape[-2:] == (8, 8)  # of images of 32 pixels
    x = F.relu(batch_norm(F.conv2d(F.avg_pool2d(F.relu(x), 5, 3), first), scale_1, shift_1))
    x = F.relu(batch_norm(F.conv2d(x, second), scale_2, shift_2))
    return x.flatten(1) @ matrix.T + bias


UNREAD = ((0, 1, 0, 4) + (2, 0, 2, 2) + (3, 4, 3, 3) + (2, 0, 0, 4) + (0, 3, 0, 4),) * 2  # nothing reads input 1
SHAPES = {"enas": ((3,), 5, (1, 3)), "nao": ((1,), 5, (1, 3))}


def named(name: str) -> Genotype:
    return Genotype(NAMED[name].cells, space=NAMED[name].space)


@pytest.mark.parametrize(
    "genotype",
    [
        named("ENAS"),
        Genotype(UNREAD, space="enas"),
        named("NAONet-A"),
        named("NAONet-B"),
        Genotype(UNREAD, space="nao"),
    ],
    ids=["ENAS", "enas-unread", "NAONet-A", "NAONet-B", "nao-unread"],
)
def test_a_network_computes_what_the_method_says(genotype):
    blocks, cells, reductions = SHAPES[genotype.space]
    network = Network.of(genotype, NetworkSpec(blocks, 4, 3, "plain", space=genotype.space)).double().train()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    weights = dict(network.named_parameters())
    with torch.no_grad():
        logits, (aux,) = network(x)
        expected, expected_aux = plain_network(weights, genotype, x, cells, reductions)
    torch.testing.assert_close(logits, expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(aux, expected_aux, rtol=1e-8, atol=1e-8)


def test_the_space_has_no_supernet():
    with pytest.raises(UsageError, match="no supernet"):
        SuperNet.of(NetworkSpec(blocks=(1,), filters=4, num_classes=3, stem="plain", space="nao"))


@pytest.mark.parametrize("name", ["ENAS", "NAONet-A"])
def test_large_images_pass_the_chained_stems(name):
    genotype = named(name)
    blocks, cells, reductions = SHAPES[genotype.space]
    spec = NetworkSpec(blocks, 4, 3, "imagenet", space=genotype.space)
    network = Network.of(genotype, spec).double().train()
    x = torch.randn(2, 3, 250, 250, dtype=torch.float64)  # behind the stems 63 and 32 pixels, then 16 and 8
    weights = dict(network.named_parameters())
    with torch.no_grad():
        aux_map = network.features(x, genotype).for_aux[0]
        assert aux_map.shape[-1] == 8
        logits, (aux,) = network(x)
        expected, _ = plain_network(weights, genotype, x, cells, reductions)
    torch.testing.assert_close(logits, expected, rtol=1e-8, atol=1e-8)
    assert aux.shape == logits.shape


@pytest.mark.parametrize("name", ["ENAS", "NAONet-A", "NAONet-B"])
def test_a_network_is_evaluated_with_its_norms_folded(name):
    genotype = named(name)
    network = Network.of(genotype, NetworkSpec(SHAPES[genotype.space][0], 4, 3, "plain", space=genotype.space)).double()
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        network.train()(x)  # statistics other than 0 and 1
        torch.testing.assert_close(folded(network)(x)[0], network.eval()(x)[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "steady"), [("ENAS", True), ("NAONet-B", False)])
def test_identities_drop_where_the_method_says(name, steady):
    genotype = named(name)
    network = Network.of(genotype, NetworkSpec(SHAPES[genotype.space][0], 4, 3, "plain", space=genotype.space))
    for cell in network.blocks:
        encoding = genotype.cells[int(cell.plan.is_reduction)]
        stay = [cell.stays(cell.layer(0, 0, edge), edge) for pair in edges(encoding) for edge in pair]
        assert stay == [steady and op == 4 for op in encoding[1::2]]
    cell = network.train().blocks[0]
    s0 = s1 = torch.randn(2, 12, 8, 8)
    keep = torch.zeros(10, 2, 1, 1, 1)  # every path drops
    _, out = cell(s0, s1, genotype.cells[0], keep=keep)
    assert (out.abs().sum() > 0) == any(4 in genotype.cells[0][4 * n + 1 : 4 * n + 4 : 2] for n in range(5)) * steady


def test_a_stack_needs_two_images_for_its_auxiliary_head():
    spec = NetworkSpec((1,), 4, 3, "plain", space="nao")
    spec.require_batch(32, 2)
    with pytest.raises(UsageError, match="batch of 1"):
        spec.require_batch(32, 1)
