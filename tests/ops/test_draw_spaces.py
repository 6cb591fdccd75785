"""Drawings of every space: looks that survive print in gray, any number of nodes, outputs of some of them."""

import pytest
from matplotlib.patches import PathPatch

from ops.draw import draw
from ops.genotype import parse_genotype
from ops.space import DARTS, ENAS, SLNAS, SPACES, edges
from ops.styles import STYLES


@pytest.mark.parametrize("space", [SLNAS, ENAS, DARTS], ids=lambda space: space.name)
def test_families_and_members_differ_without_colour(space):
    styles = {op: STYLES[op] for op in space.known}
    assert len({(str(style["ls"]), style["lw"]) for style in styles.values()}) == len(styles)
    dashes = {}
    for op, style in styles.items():
        dashes.setdefault(op.rpartition("_")[0] or op, set()).add(str(style["ls"]))
    assert all(len(kinds) == 1 for kinds in dashes.values()), "members of a family have the same dashes"
    assert len(set().union(*dashes.values())) == len(dashes), "families differ in theirs"


@pytest.mark.parametrize("name", ["DARTS_V2", "AmoebaNet", "NASNet", "ENAS", "NAONet-A"])
def test_only_the_states_that_a_cell_gives_are_joined_to_its_output(name):
    genotype = parse_genotype(name)
    for index, (axes, encoding) in enumerate(zip(draw(genotype).axes, genotype.cells, strict=True)):
        nodes = len(encoding) // 4
        names = [text.get_text() for text in axes.texts]
        assert {str(n) for n in range(nodes)} <= set(names)
        assert str(nodes) not in names
        lines = [p for p in axes.patches if type(p) is PathPatch]
        assert len(lines) == 2 * nodes + len(genotype.given(index))
        written = [text.replace("\n", "_") for text in names]
        assert all(SPACES[genotype.space].known[e.op] in written for pair in edges(encoding) for e in pair)
