"""Networks and supernet of the ENAS micro space: counts, loose ends, weights for each input, an independent path."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from models.cost import main
from models.network import Network
from models.spec import NetworkSpec
from models.supernet import BN_STATS, SuperNet
from ops.genotype import Genotype
from ops.named import NAMED
from ops.space import ENAS, loose_ends
from tests.plain_layers import batch_norm, halved, of, projected, searched_operation
from utils.system.errors import UsageError

COUNTS = json.loads((Path(__file__).parents[1] / "golden" / "counts.json").read_text())
SUPERNET = NetworkSpec((3,), 4, 3, "plain", space="enas")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def genotypes(space=ENAS):
    cell = [st.integers(0, space.options(position) - 1) for position in range(space.length)]
    return st.tuples(st.tuples(*cell), st.tuples(*cell)).map(lambda cells: Genotype(cells, space=space.name))


def images(batch=3, size=16) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, dtype=torch.float64)


@pytest.mark.parametrize("row", COUNTS["enas_micro"], ids=lambda row: str(row["layers"]))
def test_the_command_counts_as_published(row, capsys):
    assert NAMED["ENAS"].cells == (tuple(row["arc"][:20]), tuple(row["arc"][20:]))
    flags = ["--child_out_filters", str(row["filters"]), "--layers", str(row["layers"]), "--num_class", "10"]
    assert main(["--space", "enas", "--arch", "ENAS", *flags]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["parameters"], found["aux_parameters"]) == (row["parameters"], row["aux_parameters"])


def test_the_supernet_counts_as_published():
    with torch.device("meta"):
        supernet = SuperNet.of(NetworkSpec((6,), 20, 10, "plain", aux=False, space="enas"))
    assert supernet.num_parameters == 5_373_140


@given(genotypes())
@settings(max_examples=200, deadline=None)
def test_loose_ends_are_the_states_that_no_node_reads(genotype):
    for index, cell in enumerate(genotype.cells):
        read = [False] * (2 + ENAS.nodes)
        for n in range(ENAS.nodes):
            input_1, _, input_2, _ = cell[4 * n : 4 * n + 4]
            read[input_1] = read[input_2] = True
        assert genotype.given(index) == tuple(s for s, is_read in enumerate(read) if not is_read)
        assert genotype.given(index)[-1] == 1 + ENAS.nodes  # nothing stands behind the last node


@given(genotypes(), st.sampled_from([8, 11, 32]))
@settings(max_examples=10, deadline=None)
def test_any_genotype_trains_at_any_size_as_wide_as_planned(genotype, size):
    network = Network.of(genotype, SUPERNET)
    for cell in network.blocks:
        given = genotype.given(int(cell.plan.is_reduction))
        assert cell.plan.out_width == len(given) * cell.plan.width
    logits, aux = network.train()(torch.randn(2, 3, size, size), 0.3)
    (logits.sum() + aux[0].sum()).backward()
    assert logits.shape == aux[0].shape == (2, 3)
    assert all(p.grad is not None for p in network.parameters())


def plain_path(weights, genotype, x, layers):
    """What a path of the supernet computes, written as the method says it, from the weights alone."""
    convolution, *norm = of(weights, "stems.0")
    s0 = s1 = batch_norm(F.conv2d(x, convolution, padding=1), *norm)
    for i in range(layers + 2):
        reduces = i in (layers // 3, 2 * (layers // 3) + 1)
        pre = [of(weights, f"blocks.{i}.pre{place}") for place in (0, 1)]
        if reduces:
            states = [halved(F.relu(s1), *pre[0]), halved(s1, *pre[1])]
        else:
            states = [projected(s, *layer) if layer else s for s, layer in zip((s0, s1), pre, strict=True)]
        cell = genotype.cells[int(reduces)]
        for n in range(5):
            edges = zip("xy", cell[4 * n : 4 * n + 4 : 2], cell[4 * n + 1 : 4 * n + 4 : 2], strict=True)
            parts = [
                searched_operation(op, states[state], of(weights, f"blocks.{i}.nodes.{n}.{side}.{op}.{state}"))
                for side, state, op in edges
            ]
            states.append(parts[0] + parts[1])
        table, *norm = of(weights, f"blocks.{i}.join")
        rows = [row for row in range(7) if row not in cell[0::2]]
        joined = sum(F.conv2d(F.relu(states[row]), table[row][:, :, None, None]) for row in rows)
        s0, s1 = states[1] if reduces else s1, batch_norm(joined, *norm)
    return F.relu(s1).mean((2, 3)) @ weights["head.weight"].T


# The published cells, cells that leave the inputs unread as far as can be, and a path of the search.
PATHS = [
    Genotype(NAMED["ENAS"].cells, space="enas"),
    Genotype(((1, 1, 1, 4) + (2, 0, 2, 2) + (3, 1, 3, 3) + (4, 4, 2, 0) + (4, 0, 4, 0),) * 2, space="enas"),
    Genotype(((0, 4, 0, 4) + (0, 0, 0, 1) * 4, (0, 3, 1, 4) + (2, 1, 0, 0) * 4), space="enas"),
]


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("genotype", PATHS, ids=range(len(PATHS)))
def test_a_path_of_the_supernet_computes_what_the_method_says(genotype, layers):
    supernet = SuperNet.of(NetworkSpec((layers,), 4, 3, "plain", space="enas", aux=False)).double()
    for parameter in supernet.parameters():
        torch.nn.init.normal_(parameter)
    x = images(size=20)
    expected = plain_path(supernet.state_dict(), genotype, x, layers)
    for mode in (supernet.train(), supernet.eval()):  # the statistics of the batch, always
        torch.testing.assert_close(mode(x, genotype)[0], expected, rtol=1e-8, atol=1e-8)


def used(genotype) -> set[str]:
    """The parameters of the cells' nodes that a path trains."""
    supernet = SuperNet.of(SUPERNET)
    logits, aux = supernet(images().float(), genotype)
    (logits.sum() + aux[0].sum()).backward()
    return {name for name, p in supernet.named_parameters() if p.grad is not None and ".nodes." in name}


def test_another_input_or_side_has_other_weights():
    cell = [0, 0, 1, 1] * 5
    other = [*cell[:4], 1, *cell[5:]]  # node 1 reads input 1 in place of 0
    one, two = (used(Genotype((tuple(c), tuple(cell)), space="enas")) for c in (cell, other))
    normal = [i for i in range(5) if i not in (1, 3)]
    assert {".".join(k.split(".")[:7]) for k in one - two} == {f"blocks.{i}.nodes.1.x.0.0" for i in normal}
    assert {".".join(k.split(".")[:7]) for k in two - one} == {f"blocks.{i}.nodes.1.x.0.1" for i in normal}
    sizes = [p.numel() for p in SuperNet.of(SUPERNET).blocks[0].nodes[3]["x"][1].parameters()]
    assert sum(sizes) == 5 * 2 * (25 * 4 + 16 + 8)  # five inputs: two depthwise of 5x5, 1x1 and norms of 4 channels


def test_only_rows_of_loose_ends_are_trained():
    genotype = PATHS[1]
    supernet = SuperNet.of(SUPERNET)
    supernet(images().float(), genotype)[0].sum().backward()
    for cell in supernet.blocks:
        rows = {s for s, row in enumerate(cell.join.weight.grad) if row.abs().sum() > 0}
        assert rows <= set(loose_ends(genotype.cells[0])) == {0, 5, 6}


@pytest.mark.parametrize(("bn_stats", "affine"), [*zip(BN_STATS, [False, True, True], strict=True)])
def test_every_way_to_normalise_scores_a_path_and_leaves_no_trace(bn_stats, affine):
    supernet = SuperNet.of(replace(SUPERNET, blocks=(1,)), bn_stats=bn_stats, bn_affine=affine).double().train()
    x, genotype = images(), PATHS[0]
    supernet(x, genotype)
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    with torch.no_grad(), supernet.scoring(genotype, [images(), images()]):
        first = supernet(x, genotype)[0]
        again = supernet(supernet.stem(x), genotype)[0]
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)  # also of what the stems gave
    after = supernet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    twin = SuperNet.from_arguments(supernet.arguments()).double()
    twin.load_state_dict(after)


def test_a_network_takes_no_weights_of_the_supernet():
    with pytest.raises(UsageError, match="space enas have other weights"):
        SuperNet.of(SUPERNET).inherit(PATHS[0])
