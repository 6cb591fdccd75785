"""Drawings of every space: looks that survive print in gray, any number of nodes, outputs of some of them."""

import pytest
from matplotlib.patches import Circle, FancyArrowPatch

from ops.draw import STYLES, draw
from ops.genotype import parse_genotype
from ops.space import DARTS, ENAS, SLNAS, SPACES, edges


@pytest.mark.parametrize("space", [SLNAS, ENAS, DARTS], ids=lambda space: space.name)
def test_families_and_members_differ_without_colour(space):
    styles = {op: STYLES[op] for op in space.known}
    assert len({(str(dashes), weight) for dashes, weight, _ in styles.values()}) == len(styles)
    dashes = {}
    for op, (dash, _, _) in styles.items():
        dashes.setdefault(op.rpartition("_")[0] or op, set()).add(str(dash))
    assert all(len(kinds) == 1 for kinds in dashes.values()), "members of a family have the same dashes"
    assert len(set().union(*dashes.values())) == len(dashes), "families differ in theirs"


@pytest.mark.parametrize("name", ["DARTS_V2", "AmoebaNet", "NASNet", "ENAS", "NAONet-A"])
def test_the_states_that_a_cell_gives_are_shaded_and_no_others(name):
    genotype = parse_genotype(name)
    for index, (axes, encoding) in enumerate(zip(draw(genotype).axes, genotype.cells, strict=True)):
        nodes = len(encoding) // 4
        names = ["_".join(text.get_text().split()) for text in axes.texts]
        assert {str(n) for n in range(nodes)} <= set(names)
        assert str(nodes) not in names
        assert len([p for p in axes.patches if isinstance(p, FancyArrowPatch)]) == 2 * nodes
        states = [p for p in axes.patches if isinstance(p, Circle)]
        shaded = [k for k, state in enumerate(states) if state.get_facecolor() != (1, 1, 1, 1)]
        assert shaded == sorted(genotype.given(index))
        assert all(SPACES[genotype.space].known[e.op] in names for pair in edges(encoding) for e in pair)
