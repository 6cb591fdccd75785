"""One encoding stands for all that describe the same network."""

from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.network import Network
from models.supernet import SuperNet
from ops.genotype import Genotype
from ops.space import SLNAS, SPACES, edges

SWAPS = st.lists(st.booleans(), min_size=2 * SLNAS.nodes, max_size=2 * SLNAS.nodes)


@st.composite
def genotypes(draw):
    cells = [[draw(st.integers(0, SLNAS.options(i) - 1)) for i in range(SLNAS.length)] for _ in range(2)]
    return Genotype.from_lists(cells)


def swapped(genotype: Genotype, swaps: list[bool]) -> Genotype:
    """The two edges of node n of cell c exchanged where ``swaps`` [5 * c + n] is true."""
    wanted, cells = iter(swaps), []
    for cell in genotype.cells:
        pairs = [pair[::-1] if next(wanted) else pair for pair in edges(cell)]
        cells.append([value for pair in pairs for edge in pair for value in edge])
    return Genotype.from_lists(cells, genotype.sharing)


def exchanged(state: dict[str, torch.Tensor], cell_of: dict[int, int], swaps: list[bool]) -> dict[str, torch.Tensor]:
    """The weights of the x and y edges exchanged in the swapped nodes. ``cell_of``: block -> its encoding."""
    found = {}
    for key, value in state.items():
        parts = key.split(".")  # blocks.{i}.nodes.{n}.{x,y}.*
        if parts[0] == "blocks" and parts[2] == "nodes" and swaps[SLNAS.nodes * cell_of[int(parts[1])] + int(parts[3])]:
            parts[4] = {"x": "y", "y": "x"}[parts[4]]
        found[".".join(parts)] = value
    return found


@given(genotypes(), SWAPS)
def test_the_canonical_form_is_the_same_for_all_swaps_and_keeps_the_edges_of_every_node(genotype, swaps):
    one = genotype.canonical()
    assert one.canonical() == one == swapped(genotype, swaps).canonical()
    for before, after in zip(genotype.cells, one.cells, strict=True):
        for pair, ordered in zip(edges(before), edges(after), strict=True):
            assert sorted(pair) == list(ordered)


def test_different_networks_stay_different():
    base = [0, 0, 1, 1] * SLNAS.nodes
    crossed = [0, 1, 1, 0, *base[4:]]  # the operations exchanged, not the edges
    assert Genotype.from_lists([base, base]).canonical() != Genotype.from_lists([crossed, base]).canonical()


def test_a_space_in_which_the_order_matters_has_no_other_encodings(monkeypatch):
    monkeypatch.setitem(SPACES, "ordered", replace(SLNAS, name="ordered", symmetric=False))
    genotype = Genotype.from_lists([[1, 1, 0, 0] * SLNAS.nodes] * 2, space="ordered")
    assert genotype.canonical() == genotype


@settings(max_examples=4, deadline=None)
@given(genotypes(), SWAPS, st.sampled_from(["network", "supernet"]))
def test_swapped_encodings_give_equal_outputs_under_swapped_weights(genotype, swaps, kind):
    torch.manual_seed(0)
    twin = swapped(genotype, swaps)
    if kind == "network":
        first, second = (Network(g, (1, 1), 4, 3).double().eval() for g in (genotype, twin))
        arguments = ((), ())
    else:
        first, second = (SuperNet((1, 1), 4, 3).double().eval() for _ in range(2))
        arguments = ((genotype,), (twin,))
    for name, tensor in first.state_dict().items():
        if name.endswith(("running_mean", "running_var", "weight", "bias")):
            tensor.copy_(torch.rand(tensor.shape, dtype=torch.float64) + (0.5 if "var" in name else -0.4))
    reductions = {i: int(block.plan.is_reduction) for i, block in enumerate(first.blocks)}
    second.load_state_dict(exchanged(first.state_dict(), reductions, swaps))
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        outputs = [net(images, *more)[0] for net, more in zip((first, second), arguments, strict=True)]
    assert outputs[0].std() > 1e-6
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-11)
