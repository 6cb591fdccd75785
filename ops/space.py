"""Search spaces as values: positions with options, and for cells what the integer at each position means.

A *cell encoding* holds four integers a node, ``(input_1, op_1, input_2, op_2)``. Node ``n`` may read inputs
``0 .. n + 1``: 0 is the state before the previous one, 1 the previous state, ``k >= 2`` the output of node
``k - 2``. An operation is an index into :attr:`CellSpace.operations`. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Edge(NamedTuple):
    """One of the two edges that enter a node: which state it reads and what it does to it."""

    input: int
    op: int


@dataclass(frozen=True)
class Space:
    """A list of positions with options: all that a strategy knows of what it searches.

    ``positions``: how many options there are at each. An encoding holds one integer a position, from 0.
    """

    name: str
    positions: tuple[int, ...]

    @property
    def length(self) -> int:
        """How many integers an encoding has."""
        return len(self.positions)

    def options(self, position: int) -> int:
        """How many values the integer at this position can take; encodings may lie one behind the other."""
        return self.positions[position % self.length]

    def can_draw(self, encoding: Sequence[int]) -> bool:
        """Whether a search can draw this encoding."""
        return len(encoding) == self.length and all(0 <= v < n for v, n in zip(encoding, self.positions, strict=True))


@dataclass(frozen=True, kw_only=True)
class NetworkSpace(Space):
    """A space whose encodings stand for cells of a network: operations, from which the positions follow.

    ``operations``: names, as in ``ops.registry``; the integer of an encoding is the index. ``heaviest``: the one that
    needs the most memory. ``symmetric``: whether swapping the two edges of a node leaves the network the same.

    ``stacked``: a network is one stack of ``--layers`` cells of two kinds; else it has stages of ``--blocks`` cells.
    ``depths``: those of a search and of a retraining, unless the user gives one; of a stack one number each.
    ``sharing``: the one way in which cells may share encodings, None where the user chooses. ``searched``: whether
    there is a supernet. ``rounds_up``: whether a reduction rounds half of an odd side up.
    """

    positions: tuple[int, ...] = field(init=False)
    operations: tuple[str, ...]
    heaviest: str
    symmetric: bool = False
    stacked: bool = False
    depths: tuple[tuple[int, ...], tuple[int, ...]] = ((4, 4), (4, 4))
    sharing: str | None = None
    searched: bool = True
    rounds_up: bool = True
    further: tuple[str, ...] = ()
    distinct: bool = False
    loose_ends: bool = False

    @property
    def known(self) -> tuple[str, ...]:
        """All operations that an integer of an encoding may name: those of a search, and the further ones."""
        return self.operations + self.further

    @property
    def operation_positions(self) -> slice:
        """Where the operations stand in an encoding; at the other positions are inputs."""
        return slice(None)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of what an edge may choose to read; nothing where edges are fixed."""
        return ()

    def reductions(self, blocks: Sequence[int]) -> int:
        """How often a network with these blocks halves the maps that leave the stem."""
        return 2 if self.stacked else len(blocks)

    def inputs(self, encoding: Sequence[int]) -> Sequence[int]:
        """The inputs that an encoding chooses, in order."""
        return [value for i, value in enumerate(encoding) if i not in range(len(encoding))[self.operation_positions]]


@dataclass(frozen=True, kw_only=True)
class EdgeSpace(NetworkSpace):
    """A cell is a fixed graph, and an encoding names the operation of each edge.

    ``wires``: of each edge the state that it reads and the one that it enters. State 0 is the input of the cell, and
    the last one its output.
    """

    wires: tuple[tuple[int, int], ...]
    sharing: str | None = "network"

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", (len(self.operations),) * len(self.wires))

    @property
    def widest(self) -> tuple[int, ...]:
        """The encoding that needs the most memory: the heaviest operation on every edge."""
        return (self.operations.index(self.heaviest),) * len(self.wires)

    def reductions(self, blocks: Sequence[int]) -> int:
        """How often maps are halved: between stages."""
        return len(blocks) - 1


@dataclass(frozen=True, kw_only=True)
class CellSpace(NetworkSpace):
    """A space of cells in which every node chooses two inputs and an operation on each.

    ``distinct``: the two inputs of a node that is drawn are never the same state. ``loose_ends``: a cell gives those
    states that no node reads, else all its nodes. ``further``: operations that only genotypes written by hand may hold;
    such a genotype may have any number of nodes, and name the states that each cell gives.
    """

    nodes: int
    symmetric: bool = True

    # Node n chooses among n + 2 states, twice, and each time among all operations.
    def __post_init__(self) -> None:
        options = ((node + 2, len(self.operations)) * 2 for node in range(self.nodes))
        object.__setattr__(self, "positions", tuple(count for node in options for count in node))

    @property
    def operation_positions(self) -> slice:
        """Where the operations stand in an encoding: behind the inputs."""
        return slice(1, None, 2)

    def can_draw(self, encoding: Sequence[int]) -> bool:
        """Whether a search can draw this encoding; those written by hand may hold more."""
        if not super().can_draw(encoding):
            return False
        return not self.distinct or all(first.input != second.input for first, second in edges(encoding))

    @property
    def widest(self) -> tuple[int, ...]:
        """The encoding that needs the most memory: the heaviest operation on every edge."""
        # Inputs 0 and 1 are the largest maps: nodes of a reduction are halved.
        heaviest = self.operations.index(self.heaviest)
        return (0, heaviest, int(self.distinct), heaviest) * self.nodes

    @property
    def states(self) -> tuple[str, ...]:
        """Names of what an edge may read: the two inputs of a cell, then its nodes but the last."""
        return ("s0", "s1", *(f"node{n}" for n in range(self.nodes - 1)))


def edges(encoding: Sequence[int]) -> Iterator[tuple[Edge, Edge]]:
    """The two edges of each node, in node order."""
    for first in range(0, len(encoding), 4):
        input_1, op_1, input_2, op_2 = encoding[first : first + 4]
        yield Edge(input_1, op_1), Edge(input_2, op_2)


def in_order(encoding: Sequence[int]) -> tuple[int, ...]:
    """The encoding with the two edges of every node sorted, by input and then by operation."""
    return tuple(value for pair in edges(encoding) for edge in sorted(pair) for value in edge)


def loose_ends(encoding: Sequence[int]) -> tuple[int, ...]:
    """The states that no node reads: inputs 0 and 1 among them, where that is so, and always the last node."""
    # The last node can be nobody's input, so that there is always one.
    read = encoding[0::2]
    return tuple(state for state in range(2 + len(encoding) // 4) if state not in read)


# The order of operations is part of every file that holds a genotype: new ones go to the end.
SLNAS = CellSpace(
    "slnas",
    operations=("shuffle_3x3", "shuffle_5x5", "avg_pool_3x3", "max_pool_3x3", "conv_1x1"),
    nodes=5,
    heaviest="shuffle_5x5",
    rounds_up=False,
)
# ENAS, arXiv 1802.03268, micro space.
ENAS = CellSpace(
    "enas",
    operations=("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "identity"),
    nodes=5,
    heaviest="sep_conv_5x5",
    stacked=True,
    sharing="type",
    depths=((6,), (15,)),
    loose_ends=True,
)
# DARTS, arXiv 1806.09055. Its two edges of a node come from different states.
DARTS = CellSpace(
    "darts",
    operations=(
        *("max_pool_3x3", "avg_pool_3x3", "skip_connect"),
        *("sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"),
    ),
    nodes=4,
    heaviest="sep_conv_5x5",
    stacked=True,
    sharing="type",
    depths=((8,), (20,)),
    distinct=True,
    further=("sep_conv_7x7", "conv_7x1_1x7"),
)
# NAO, arXiv 1808.07233: for retraining what it published.
NAO = CellSpace(
    "nao",
    operations=(  # the published table holds three of them twice
        *("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "identity", "identity_again"),
        *("conv_1x1", "conv_3x3", "conv_1x3_3x1", "conv_1x7_7x1"),
        *("max_pool_2x2", "max_pool_3x3_again", "max_pool_5x5"),
        *("avg_pool_2x2", "avg_pool_3x3_again", "avg_pool_5x5"),
    ),
    nodes=5,
    heaviest="conv_3x3",
    stacked=True,
    sharing="type",
    depths=((3,), (6,)),
    loose_ends=True,
    searched=False,
)
# NAS-Bench-201, arXiv 2001.00326: one cell of four states, each joined to all before it.
NASBENCH201 = EdgeSpace(
    "nasbench201",
    operations=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    wires=((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)),
    heaviest="nor_conv_3x3",
    depths=((5, 5, 5), (5, 5, 5)),
)
SPACES: dict[str, NetworkSpace] = {space.name: space for space in (SLNAS, ENAS, DARTS, NAO, NASBENCH201)}
