"""Supernet and network: sizes, gradients, scoring, counts."""

import pytest
import torch

from controller.sampling import uniform
from models.network import Network
from models.spec import NetworkSpec, SizeError
from models.staged import STEMS
from models.stems import build_stems, stem_size
from models.supernet import BN_STATS, SuperNet
from ops.genotype import Genotype, num_cells
from ops.space import SLNAS
from tests.genes import source

STAGES = [(1,), (1, 1), (1, 1, 1)]
SIZES = [*range(20, 65), 224]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def drawn(seed: int, cells: int = 2, sharing: str = "type") -> Genotype:
    return uniform(1, cells, sharing, source(seed))[0]


def constant(op: int) -> Genotype:
    return Genotype.from_lists([[0, op, 1, op] * SLNAS.nodes] * 2)


def train_once(forward, size: int) -> None:
    logits, aux = forward(torch.randn(2, 3, size, size))
    loss = sum(x.square().sum() for x in (logits, *aux))
    assert torch.isfinite(loss)
    loss.backward()


@pytest.mark.parametrize("stem", sorted(set(STEMS)))
def test_stems_give_two_maps_of_the_promised_side_for_every_size(stem):
    stems = build_stems(stem, 2, "conv")
    for size in SIZES:
        side = stem_size(stem, size)
        for state in stems(torch.randn(2, 3, size, size)):
            assert state.shape == (2, 2, side, side)


@pytest.mark.parametrize("stem", sorted(set(STEMS)))
@pytest.mark.parametrize("blocks", STAGES, ids=str)
def test_every_size_trains_or_is_refused(stem, blocks):
    spec, sides = NetworkSpec(blocks, 2, 3, stem), set()
    supernet = SuperNet.of(spec)
    for size in SIZES:
        side = stem_size(stem, size)
        if side < 2 ** len(blocks):
            with pytest.raises(SizeError, match=f"image size {size} is too small"):
                spec.require_size(size)
            continue
        spec.require_size(size)
        spec.require_batch(size, 2)
        if side % 2 ** len(blocks) in sides:
            continue  # behind the stem only what stages that halve make of the side of its maps matters
        sides.add(side % 2 ** len(blocks))
        genotype = drawn(size)
        train_once(lambda images, genotype=genotype: supernet(images, genotype), size)
        if len(blocks) == 3:
            train_once(Network(genotype, blocks, 2, 3, stem=stem), size)


@pytest.mark.parametrize("stem", sorted(set(STEMS)))
def test_the_smallest_size_that_a_refusal_names_is_accepted(stem):
    for blocks in STAGES:
        spec = NetworkSpec(blocks, 2, 3, stem)
        with pytest.raises(SizeError) as error:
            spec.require_size(1)
        needed = int(str(error.value).split("at least ")[1].split()[0])
        spec.require_size(needed)
        with pytest.raises(SizeError):
            spec.require_size(needed - 1)


@pytest.mark.parametrize("size", [8, 16, 17, 32, 44, 45, 64])
def test_a_batch_of_one_trains_or_is_refused(size):
    blocks, halving = (0, 1), Genotype.from_lists([[0, 0, 1, 0] + [n for i in range(2, 6) for n in (i, 0, i, 3)]] * 2)
    supernet = SuperNet(blocks, 2, 3)
    if size > 44:
        supernet.spec.require_batch(size, 1)
        for genotype in [halving, *map(drawn, range(5))]:
            supernet(torch.randn(1, 3, size, size), genotype)[0].sum().backward()
    else:
        with pytest.raises(SizeError, match="batch of 1"):
            supernet.spec.require_batch(size, 1)
        with pytest.raises(ValueError, match="more than 1 value"):  # with good reason
            supernet(torch.randn(1, 3, size, size), halving)


@pytest.mark.parametrize(("sharing", "blocks"), [("type", (1, 1)), ("stage", (0, 1)), ("block", (1, 0))])
@pytest.mark.parametrize("antialias", ["none", "conv", "all"])
def test_supernet_equals_the_network_that_inherits_from_it(sharing, blocks, antialias):
    genotype = drawn(5, num_cells(sharing, blocks), sharing)
    supernet = SuperNet(blocks, 4, 3, sharing=sharing, antialias=antialias).double()
    network = supernet.inherit(genotype).train()
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    (ours, our_aux), (theirs, their_aux) = supernet.train()(images, genotype), network(images)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_aux, their_aux)
    assert len(our_aux) == 1


def test_norms_of_the_cells_can_go_without_scale_and_shift():
    plain, supernet = (SuperNet((1, 1), 4, 3, bn_affine=affine).double() for affine in (True, False))
    norms = {name: m for name, m in plain.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    missing = {f"{name}.{what}" for name in norms if name.startswith("blocks") for what in ("weight", "bias")}
    assert set(plain.state_dict()) - set(supernet.state_dict()) == missing
    genotype, images = drawn(5), torch.randn(4, 3, 32, 32, dtype=torch.float64)
    inherited = supernet.inherit(genotype).train()  # its scales are 1 and its shifts 0
    torch.testing.assert_close(supernet(images, genotype)[0], inherited(images)[0])
    again = SuperNet.from_arguments(supernet.arguments()).double()
    again.load_state_dict(supernet.state_dict())
    assert torch.equal(again(images, genotype)[0], supernet(images, genotype)[0])


@pytest.mark.parametrize(("sharing", "blocks"), [("type", (1, 1)), ("block", (1, 1))])
def test_only_sampled_operations_get_gradients(sharing, blocks):
    genotype = drawn(7, num_cells(sharing, blocks), sharing)
    supernet = SuperNet(blocks, 4, 3, sharing=sharing)
    train_once(lambda images: supernet(images, genotype), 32)
    for name, parameter in supernet.named_parameters():
        parts = name.split(".")
        if parts[0] == "blocks" and parts[2] == "nodes":
            plan = supernet.blocks[int(parts[1])].plan
            cell = genotype.cell(plan.stage, plan.index, plan.is_reduction)
            sampled = cell[4 * int(parts[3]) + (1 if parts[4] == "x" else 3)] == int(parts[5])
            assert (parameter.grad is not None) == sampled, name


@pytest.mark.parametrize("bn_affine", [True, False])
@pytest.mark.parametrize("bn_stats", BN_STATS)
def test_scoring_changes_no_buffer_and_depends_on_nothing_scored_before(bn_stats, bn_affine):
    supernet = SuperNet((1,), 4, 3, bn_stats=bn_stats, bn_affine=bn_affine).train()
    images, calibration = torch.randn(6, 3, 24, 24), [torch.randn(5, 3, 24, 24) + 1 for _ in range(2)]
    for seed in range(3):
        supernet(images, drawn(seed))
    before = {key: value.clone() for key, value in supernet.state_dict().items()}

    @torch.no_grad()
    def score(genotype: Genotype) -> torch.Tensor:
        with supernet.scoring(genotype, calibration):
            return supernet(images, genotype)[0]

    first = score(drawn(1))
    for seed in (2, 3, 4):
        score(drawn(seed))
    assert torch.equal(score(drawn(1)), first)
    assert supernet.training
    after = supernet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_recalibrated_statistics_are_those_of_the_calibration_images():
    supernet = SuperNet((1,), 4, 3, bn_stats="recalibrate")
    images, genotype = torch.randn(6, 3, 24, 24), drawn(1)
    with torch.no_grad(), supernet.scoring(genotype, [images]):
        one_by_one = torch.cat([supernet(images[i : i + 1], genotype)[0] for i in range(6)])
        together = supernet(images, genotype)[0]
    torch.testing.assert_close(one_by_one, together, rtol=1e-4, atol=1e-6)


def test_paths_drop_in_training_only_and_none_at_probability_zero():
    network, images = Network(drawn(3), (1,), 4, 3), torch.randn(4, 3, 16, 16)
    plain = network.train()(images)[0]
    assert torch.equal(network(images, 0.0)[0], plain)
    assert not torch.equal(network(images, 0.5)[0], plain)
    network.eval()
    assert torch.equal(network(images, 0.5)[0], network(images)[0])


@pytest.mark.parametrize("name", ["shuffle_3x3", "shuffle_5x5", "avg_pool_3x3", "max_pool_3x3", "conv_1x1"])
def test_macs_are_those_counted_by_hand(name):
    op = SLNAS.operations.index(name)
    c, k, big, small = 4, 10, 8 * 8, 4 * 4  # one reduction block of 4 -> 8 channels, 8x8 -> 4x4 pixels
    depthwise = {"shuffle_3x3": 9, "shuffle_5x5": 25}.get(name, 0)
    shuffle = 2 * depthwise * c * big + c * c * small + c * c * big + c * c * small
    pooled_first, convolved_first = 2 * c * c * small, 2 * c * c * big
    others = {"avg_pool_3x3": pooled_first, "max_pool_3x3": convolved_first, "conv_1x1": convolved_first}
    edge = others.get(name, shuffle)
    stems = 3 * c * (9 + 25) * big
    output = 2 * (5 * c) * (5 * c // 16) + 5 * c * 2 * c * small
    expected = stems + 10 * edge + 5 * (2 * c * c * small) + output + 2 * c * k
    assert Network(constant(op), [0], c, k).macs(8) == expected


def test_parameters_add_up():
    blocks = (1, 1)
    networks = [Network(constant(op), blocks, 4, 3, stem="quarter") for op in range(len(SLNAS.operations))]
    edges = [sum(p.numel() for key, p in n.named_parameters() if ".nodes." in key) for n in networks]
    [shared] = {n.num_parameters - e for n, e in zip(networks, edges, strict=True)}
    assert SuperNet(blocks, 4, 3).num_parameters == shared + sum(edges)
    for network in networks:
        bare = Network(network.genotype, blocks, 4, 3, stem="quarter", aux=False)
        assert bare.num_parameters == network.num_parameters - network.num_aux_parameters
        assert network.num_aux_parameters == 8 * 3


@pytest.mark.parametrize(("sharing", "blocks"), [("type", (1, 0)), ("stage", (0, 1)), ("block", (1, 0))])
def test_arguments_rebuild_the_network(sharing, blocks):
    network = Network(
        drawn(2, num_cells(sharing, blocks), sharing), blocks, 4, 7, "quarter", antialias="all", aux=False
    ).eval()
    twin = Network.from_arguments(network.arguments()).eval()
    assert twin.arguments() == network.arguments()
    twin.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 20, 20)
    assert torch.equal(network(images)[0], twin(images)[0])
