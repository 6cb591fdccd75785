"""Published architectures by name, and genotypes in the notation of DARTS. Standard library only.

What each name stands for: DARTS, Liu et al., arXiv 1806.09055, first and second order; ENAS, Pham et al., arXiv
1802.03268, the cells that its authors train from scratch; NASNet, Zoph et al., arXiv 1707.07012, and AmoebaNet, Real et
al., arXiv 1802.01548, as DARTS compares itself with them; NAONet, Luo et al., arXiv 1808.07233, of which B is the one
that was found with shared weights.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from ops.encodings import Encoding, GenotypeError, Stated, is_int, short
from ops.space import DARTS, ENAS, NAO, NASBENCH201, SPACES, CellSpace, EdgeSpace

PUBLISHED = "Genotype("
LONGEST = 100  # states that a cell can give: more is a typing error
KEYS = ("normal", "normal_concat", "reduce", "reduce_concat")


def from_pairs(document: Mapping[str, Any], space: CellSpace = DARTS) -> Stated:
    """Read a genotype in the notation of DARTS: [operation, input] pairs, two a node, and the concatenated states.

    Raises GenotypeError.
    """
    # A typing error in a key must not turn into a default.
    unknown = [key for key in document if key not in KEYS]
    if unknown or "normal" not in document or "reduce" not in document:
        wanted = f"a genotype is a list of encodings, or has pairs under the keys {', '.join(KEYS)}"
        raise GenotypeError(f"{wanted}: not {short(document)}")
    cells = tuple(_encoding(name, document[name], space) for name in ("normal", "reduce"))
    concat = tuple(
        document.get(f"{name}_concat", range(2, 2 + len(cell) // 4))
        for name, cell in zip(("normal", "reduce"), cells, strict=True)
    )
    return Stated(cells, space=space.name, concat=tuple(tuple(c) if isinstance(c, range) else c for c in concat))


def is_published(text: str) -> bool:
    """Whether a text holds a genotype as DARTS, NAS-Bench-201, or, in a row of integers, ENAS and NAO write it."""
    return PUBLISHED in text or text.lstrip().startswith("|") or is_row(text)


def from_published(text: str, space: str | None = None) -> Stated:
    """Read ``|operation~state|...`` of NAS-Bench-201 (see :func:`from_edges`), or of DARTS the last
    ``Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), ...)`` in a text.

    Logs of DARTS and of what followed it end with this. It is parsed and never evaluated. ``space``: that of a row of
    integers, which does not say it. Raises GenotypeError.
    """
    if is_row(text):
        return from_row(text, SPACES.get(space))
    if PUBLISHED not in text:
        return from_edges(text)
    text = text[text.rindex(PUBLISHED) :]
    # Up to the parenthesis that closes the first: logs go on behind it.
    still_open = list(accumulate((character == "(") - (character == ")") for character in text))
    closed = 1 + still_open.index(0, len(PUBLISHED)) if 0 in still_open[len(PUBLISHED) :] else 0
    try:
        call = ast.parse(text[:closed], mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError("no call")
        document = dict(zip(KEYS, map(_plain, call.args), strict=False))
        document |= {keyword.arg or "**": _plain(keyword.value) for keyword in call.keywords}
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise GenotypeError(f"this is no genotype as DARTS writes it: {short(text)}") from None
    return from_pairs(document)


def _plain(node: ast.expr) -> Any:
    """The value of a literal, or of ``range(first, end)``. Raises ValueError for anything else."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "range" and not node.keywords:
        states = range(*map(ast.literal_eval, node.args))
        if len(states) > LONGEST:
            raise ValueError("no cell has so many states")
        return tuple(states)
    return ast.literal_eval(node)


def from_edges(text: str, space: EdgeSpace = NASBENCH201) -> Stated:
    """Read a genotype as NAS-Bench-201 writes it: the edges of each node, ``|operation~state|``, nodes joined by ``+``.

    Raises GenotypeError.
    """
    stated: dict[tuple[int, int], int] = {}
    for node, edges in enumerate("".join(text.split()).split("+"), 1):
        for edge in edges.strip("|").split("|"):
            operation, _, state = edge.partition("~")
            if operation not in space.operations:
                raise GenotypeError(
                    f"node {node}: operation {short(operation)} is none of {', '.join(space.operations)}"
                )
            wire = (int(state) if state.isascii() and state.isdigit() else -1, node)
            if wire not in space.wires or wire in stated:
                raise GenotypeError(
                    f"node {node}: {short(edge)} reads no state before it, or one that it reads already"
                )
            stated[wire] = space.operations.index(operation)
    missing = [wire for wire in space.wires if wire not in stated]
    if missing:
        raise GenotypeError(f"{short(text)} has no edge from state {missing[0][0]} to {missing[0][1]}")
    return Stated((tuple(stated[wire] for wire in space.wires),), space=space.name)


def _encoding(name: str, pairs: Any, space: CellSpace) -> Encoding:
    """The integers of the pairs of one cell."""
    if not isinstance(pairs, list | tuple) or not pairs or len(pairs) % 2:
        raise GenotypeError(f"{name} is {short(pairs)}, not a list of [operation, input] pairs, two for each node")
    encoding: list[int] = []
    for place, pair in enumerate(pairs):
        where = f"{name}, node {place // 2}"
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not is_int(pair[1]):
            raise GenotypeError(f"{where}: {short(pair)} is no [operation, input] pair")
        if pair[0] not in space.known:
            raise GenotypeError(f"{where}: operation {short(pair[0])} is none of {', '.join(space.known)}")
        encoding += [pair[1], space.known.index(pair[0])]
    return tuple(encoding)


def _darts(normal: str, reduction: str, concat: Sequence[Sequence[int]] = ()) -> Stated:
    """A genotype from words, ``operation input`` for each edge."""
    words = (cell.split() for cell in (normal, reduction))
    pairs = [[[op, int(state)] for op, state in zip(w[0::2], w[1::2], strict=True)] for w in words]
    return Stated(tuple(_encoding("cell", cell, DARTS) for cell in pairs), space=DARTS.name, concat=concat)


def is_row(text: str) -> bool:
    """Whether a text is nothing but integers with blanks between them, as ENAS and NAO write genotypes."""
    return len(text.split()) > 1 and all(word.isascii() and word.isdigit() and len(word) < 4 for word in text.split())


def from_row(text: str, space: CellSpace | None) -> Stated:
    """A genotype from all integers of both cells in one row, as ENAS and NAO write it. Raises GenotypeError."""
    if space is None:
        raise GenotypeError(f"{short(text)} is a row of integers: --space says of which space they are")
    numbers = tuple(map(int, text.split()))
    # The normal cell, then the reduction.
    half = len(numbers) // 2
    return Stated((numbers[:half], numbers[half:]), space=space.name)


NAMED = {
    "DARTS_V1": _darts(
        "sep_conv_3x3 1 sep_conv_3x3 0  skip_connect 0 sep_conv_3x3 1 "
        "skip_connect 0 sep_conv_3x3 1  sep_conv_3x3 0 skip_connect 2",
        "max_pool_3x3 0 max_pool_3x3 1  skip_connect 2 max_pool_3x3 0 "
        "max_pool_3x3 0 skip_connect 2  skip_connect 2 avg_pool_3x3 0",
    ),
    "DARTS_V2": _darts(
        "sep_conv_3x3 0 sep_conv_3x3 1  sep_conv_3x3 0 sep_conv_3x3 1 "
        "sep_conv_3x3 1 skip_connect 0  skip_connect 0 dil_conv_3x3 2",
        "max_pool_3x3 0 max_pool_3x3 1  skip_connect 2 max_pool_3x3 1 "
        "max_pool_3x3 0 skip_connect 2  skip_connect 2 max_pool_3x3 1",
    ),
    "ENAS": from_row("0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1 1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1", ENAS),
    "NASNet": _darts(
        "sep_conv_5x5 1 sep_conv_3x3 0  sep_conv_5x5 0 sep_conv_3x3 0  avg_pool_3x3 1 skip_connect 0 "
        "avg_pool_3x3 0 avg_pool_3x3 0  sep_conv_3x3 1 skip_connect 1",
        "sep_conv_5x5 1 sep_conv_7x7 0  max_pool_3x3 1 sep_conv_7x7 0  avg_pool_3x3 1 sep_conv_5x5 0 "
        "skip_connect 3 avg_pool_3x3 2  sep_conv_3x3 2 max_pool_3x3 1",
        ((2, 3, 4, 5, 6), (4, 5, 6)),
    ),
    "AmoebaNet": _darts(
        "avg_pool_3x3 0 max_pool_3x3 1  sep_conv_3x3 0 sep_conv_5x5 2  sep_conv_3x3 0 avg_pool_3x3 3 "
        "sep_conv_3x3 1 skip_connect 1  skip_connect 0 avg_pool_3x3 1",
        "avg_pool_3x3 0 sep_conv_3x3 1  max_pool_3x3 0 sep_conv_7x7 2  sep_conv_7x7 0 avg_pool_3x3 1 "
        "max_pool_3x3 0 max_pool_3x3 1  conv_7x1_1x7 0 sep_conv_3x3 5",
        ((4, 5, 6), (3, 4, 6)),
    ),
    "NAONet-A": from_row("0 7 1 15 2 8 1 7 0 6 1 7 0 8 4 7 1 5 0 7 0 7 1 13 0 6 0 14 0 9 1 10 0 14 2 6 1 11 0 7", NAO),
    "NAONet-B": from_row("0 1 0 2 0 1 2 2 1 3 0 2 4 0 1 3 2 1 0 3 1 1 1 0 2 1 2 4 1 0 2 3 3 1 2 2 0 2 0 2", NAO),
}
NAMED["NAONet"] = NAMED["NAONet-B"]
