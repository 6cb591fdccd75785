"""What networks and supernet of DARTS promise beyond the published numbers."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from controller.sampling import uniform
from models.mixture import COLUMNS
from models.network import Network
from models.plan import plan_darts as plan
from models.spec import NetworkSpec, SizeError
from models.supernet import BN_STATS, SuperNet
from ops.genotype import Genotype, parse_genotype
from ops.space import DARTS, Edge, edges
from tests.golden_stacks import EDGES, mixture
from utils.system.errors import UsageError


def table(seed: int) -> torch.Tensor:
    drawn = torch.randn(EDGES, len(COLUMNS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.softmax(1).requires_grad_()


def one_path(encoding) -> torch.Tensor:
    """The table whose mixture is this path."""
    weights = torch.zeros(EDGES, len(COLUMNS), dtype=torch.float64)
    for n, pair in enumerate(edges(encoding)):
        for edge in pair:
            weights[n * (n + 3) // 2 + edge.input, 1 + edge.op] += 1
    return weights


def supernet(layers: int = 3, bn_stats: str = "batch") -> SuperNet:
    torch.manual_seed(0)
    return SuperNet((layers,), 4, 10, "plain", bn_stats=bn_stats, space="darts").double()


def images(side: int = 16, n: int = 4) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


@pytest.mark.parametrize(("training", "bn_stats"), [*((True, kind) for kind in BN_STATS), (False, "running")])
@torch.no_grad()
def test_the_mixture_of_one_operation_an_edge_is_its_path(training, bn_stats):
    net = supernet(bn_stats=bn_stats).train(training)
    for genotype in uniform(2, 2, "type", torch.Generator().manual_seed(1), "darts"):
        mixed = mixture(*map(one_path, genotype.cells))
        torch.testing.assert_close(net(images(8), mixed)[0], net(images(8), genotype)[0], rtol=1e-9, atol=1e-9)


def in_words(cell, states, weights):
    """The mixture as its definition says it: every operation on its own, times its weight, then the sum."""
    rows = iter(weights)
    for n in range(DARTS.nodes):
        node = 0
        for state in range(n + 2):
            row = next(rows)
            for op, weight in enumerate(row[1:]):
                node = node + weight * cell.layer(n, 0, Edge(state, op))(states[state])
        states.append(node)


def test_mixing_in_place_gives_what_the_definition_gives_with_all_gradients(monkeypatch):
    net, tables = supernet(), [table(0), table(1)]
    labels = torch.tensor([1, 2, 3, 4])

    def gradients():
        loss = F.cross_entropy(net(images(), mixture(*tables))[0], labels)
        return loss, torch.autograd.grad(loss, [*tables, *net.parameters()])

    ours = gradients()
    monkeypatch.setattr("models.mixture.MixedCell._mix", in_words)
    theirs = gradients()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert (ours[1][0][:, 0] == 0).all(), "none adds nothing"


def test_the_mixture_can_be_differentiated_twice():
    torch.manual_seed(0)
    net = SuperNet((3,), 2, 3, "plain", space="darts").double()
    tables = [table(0), table(1)]
    loss = F.cross_entropy(net(images(8, 2), mixture(*tables))[0], torch.tensor([0, 1]))
    of_weights = torch.autograd.grad(loss, list(net.parameters()), create_graph=True)
    sum((g * g).sum() for g in of_weights).backward()
    assert all(t.grad.isfinite().all() and t.grad[:, 1:].any() for t in tables)


def test_a_mixture_runs_in_mixed_precision():
    net = supernet().float()
    with torch.autocast("cpu", torch.bfloat16):
        logits, _ = net(images().float(), mixture(table(0).detach().float(), table(1).detach().float()))
    assert logits.isfinite().all()


@pytest.mark.parametrize("layers", [1, 2, 3, 5, 8, 20])
def test_reductions_stand_at_a_third_and_two_thirds(layers):
    plans = plan(NetworkSpec((layers,), 4, 10, "plain", space="darts"), parse_genotype("DARTS_V2"))
    assert [p.index for p in plans if p.is_reduction] == sorted({layers // 3, 2 * layers // 3})
    assert [p.index for p in plans if p.feeds_aux] == [2 * layers // 3]
    for before, after in pairwise(plans):
        assert after.reads[1] == before.out_width
        assert after.halved == before.is_reduction


@pytest.mark.parametrize("side", [8, 16, 28, 30, 32, 40, 64])
@pytest.mark.parametrize("name", ["DARTS_V2", "NASNet", "AmoebaNet"])
def test_networks_take_images_of_any_size(name, side):
    network = Network(parse_genotype(name), (3,), 4, 10, "plain")
    logits, [aux] = network(torch.randn(2, 3, side, side), 0.3)
    (logits.sum() + aux.sum()).backward()
    assert logits.shape == aux.shape == (2, 10)
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("side", [65, 96, 224])
def test_networks_take_large_images_behind_their_stem(side):
    network = Network(parse_genotype("DARTS_V1"), (4,), 4, 10, "imagenet")
    logits, [aux] = network(torch.randn(2, 3, side, side))
    assert logits.shape == aux.shape == (2, 10)


def test_identities_never_drop():
    identity = DARTS.operations.index("skip_connect")
    network = Network(Genotype(((0, identity, 1, identity) * 4,) * 2, space="darts"), (4,), 4, 10, "plain", aux=False)
    cell, states = network.blocks[0].eval(), [torch.randn(2, 12, 8, 8) for _ in range(2)]
    assert not cell.plan.is_reduction
    encoding, none_kept = network.genotype.cells[0], torch.zeros(8, 2, 1, 1, 1)
    assert torch.equal(cell(*states, encoding, keep=none_kept)[1], cell(*states, encoding)[1])
    pools = (0, 0, 1, 0) * 4
    cell = Network(Genotype((pools, pools), space="darts"), (4,), 4, 10, "plain", aux=False).blocks[0]
    assert not cell(*states, pools, keep=none_kept)[1].any()


def test_a_single_image_leaves_nothing_to_the_last_norm_of_the_auxiliary_head():
    spec = NetworkSpec((3,), 4, 10, "plain", space="darts")
    with pytest.raises(SizeError, match="batch of 1"):
        spec.require_batch(32, 1)
    spec.require_batch(32, 2)


def test_networks_inherit_no_weights_from_this_supernet_and_take_no_other_stem():
    with pytest.raises(UsageError, match="other weights"):
        supernet().inherit(parse_genotype("DARTS_V2"))
    with pytest.raises(UsageError, match="plain or imagenet"):
        Network(parse_genotype("DARTS_V2"), (3,), 4, 10, "full")
