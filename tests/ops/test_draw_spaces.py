"""Drawings of genotypes of every space: published ones, and all that stands in a genotype is in its picture."""

import pytest
from matplotlib.patches import PathPatch

from ops.draw import draw
from ops.genotype import Genotype, read_candidate
from ops.named import NAMED
from ops.space import SPACES, edges

WIDEST = [Genotype.widest(2, space=name) for name, space in SPACES.items() if space.searched]


@pytest.mark.parametrize("genotype", [*NAMED, *WIDEST], ids=lambda g: g if isinstance(g, str) else g.space)
def test_operations_are_named_and_the_given_nodes_alone_lead_to_the_output(genotype):
    if isinstance(genotype, str):
        genotype = read_candidate(genotype).genotype
    known = SPACES[genotype.space].known
    for index, (axes, cell) in enumerate(zip(draw(genotype).axes, genotype.cells, strict=True)):
        names = [text.get_text().replace("\n", "_") for text in axes.texts]
        assert sorted(n for n in names if n in known) == sorted(known[e.op] for pair in edges(cell) for e in pair)
        assert {"s0", "s1", "output", *map(str, range(len(cell) // 4))} <= set(names)
        lines = sum(type(patch) is PathPatch for patch in axes.patches)
        assert lines == len(cell) // 2 + len(genotype.given(index))
