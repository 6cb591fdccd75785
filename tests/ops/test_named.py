"""Genotypes as others publish them: the text that logs of DARTS end with, and names."""

import json
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.genotype import GenotypeError, parse_genotype, read_candidate
from ops.named import NAMED
from ops.space import DARTS
from tests.odd_values import ODD, places, replaced, taken_or_refused

nodes = st.integers(1, 6)


@st.composite
def cells(draw):
    """Pairs of a cell, and the states that it gives."""
    count = draw(nodes)
    pairs = [(draw(st.sampled_from(DARTS.known)), draw(st.integers(0, n + 1))) for n in range(count) for _ in range(2)]
    first = draw(st.integers(2, count + 1))
    return pairs, range(first, count + 2)


@settings(max_examples=60, deadline=None)
@given(
    cells(),
    cells(),
    st.sampled_from(["{}", "2019-06-01 genotype = {}\n", "Genotype(broken\nDARTS = {} # best (so far)"]),
)
def test_the_published_text_is_the_genotype_that_it_writes(normal, reduction, around):
    text = around.format(
        f"Genotype(normal={normal[0]}, normal_concat={normal[1]}, reduce={reduction[0]}, reduce_concat={reduction[1]})"
    )
    genotype = parse_genotype(text)
    for index, (pairs, concat) in enumerate((normal, reduction)):
        cell = genotype.cells[index]
        assert [(DARTS.known[op], state) for state, op in zip(cell[0::2], cell[1::2], strict=True)] == pairs
        assert genotype.given(index) == tuple(concat)
    assert genotype.space == "darts"


def test_a_file_may_hold_the_text_of_which_the_last_counts(tmp_path):
    log = tmp_path / "log.txt"
    cell = "[('skip_connect', 0), ('{}', 1)]"
    lines = [
        f"epoch {op} Genotype({cell.format(op)}, [2], {cell.format(op)}, [2])"
        for op in ("sep_conv_3x3", "sep_conv_5x5")
    ]
    log.write_text("\n".join(lines))
    genotype = parse_genotype(log)
    assert DARTS.known[genotype.cells[0][3]] == "sep_conv_5x5"


@pytest.mark.parametrize("name", NAMED)
def test_names_are_known_in_any_case(name, tmp_path, monkeypatch):
    assert parse_genotype(name.lower()) == parse_genotype(name.upper()) == parse_genotype(name)


@pytest.mark.parametrize("name", ["ENAS", "NAONet-A", "NAONet-B"])
def test_a_row_of_integers_is_read_where_the_space_is_given(name):
    genotype = parse_genotype(name)
    text = " ".join(str(value) for cell in genotype.cells for value in cell)
    assert read_candidate(text, space=genotype.space).genotype == genotype
    with pytest.raises(GenotypeError, match="--space says of which space they are"):
        parse_genotype(text)
    with pytest.raises(GenotypeError):
        read_candidate(f"{text} 99", space=genotype.space)


@pytest.mark.parametrize(
    "text",
    [
        "Genotype(",
        "Genotype()",
        "Genotype(normal=__import__('os').getcwd(), reduce=[])",
        "Genotype(normal=[('sep_conv_3x3', 0)] * 10**9, reduce=[])",
        "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1)], normal_concat=range(1000000000), reduce=[])",
        "Genotype(**{'normal': []})",
        "Genotype(normal=[('none', 0), ('sep_conv_3x3', 1)], reduce=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1)])",
        "Genotype(normal=[('skip_connect', 9), ('skip_connect', 1)], reduce=[('skip_connect', 0)])",
        "Genotype(" + "(" * 5000,
        "Genotype(normal=" + "[" * 300 + "]" * 300 + ")",
        "Genotype(normal=-range(3))",
    ],
)
def test_other_texts_are_refused_in_one_line(text):
    with pytest.raises(GenotypeError) as refused:
        parse_genotype(text)
    assert "\n" not in str(refused.value)


CELL = [0, 1] * 10
PAIRS = [["sep_conv_3x3", 0], ["skip_connect", 1]]
FILES = {
    "candidates": {"sharing": "type", "blocks": [1, 1], "space": "slnas", "candidates": [{"cells": [CELL, CELL]}]},
    "concat": {"space": "darts", "candidates": [{"cells": [[0, 1, 1, 1]] * 2, "concat": [[2], [2]]}]},
    "pairs": {"normal": PAIRS, "normal_concat": [2], "reduce": PAIRS, "reduce_concat": [2]},
    "list": [CELL, CELL],
}


@pytest.mark.parametrize("name", FILES)
def test_whatever_stands_in_a_genotype_file_is_read_or_refused_in_one_line(name, tmp_path):
    path, document = tmp_path / "genotypes.json", FILES[name]
    for place in places(document):
        for value in ODD:
            text = json.dumps(replaced(document, place, value))
            path.write_text(text)
            for arch in (path, text):
                taken_or_refused(partial(parse_genotype, arch), GenotypeError)
