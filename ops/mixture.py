"""Weights in place of an encoding: what a cell of our own space mixes in a search by gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor


class MixedEdge(NamedTuple):
    """One edge: the shares of the states that it reads, (states,), and of what it does to their sum, (operations,)."""

    input: Tensor
    op: Tensor


class MixedEdges(NamedTuple):
    """The edges of a cell, two a node: ``inputs`` (2 * nodes, nodes + 1) and ``operations`` (2 * nodes, operations).

    Rows of both sum to 1; node n reads its first n + 2 states, and the rest of its rows is 0.
    """

    inputs: Tensor
    operations: Tensor

    def pairs(self) -> Iterator[tuple[MixedEdge, MixedEdge]]:
        """The two edges of each node, in node order."""
        for n in range(len(self.inputs) // 2):
            first, second = (MixedEdge(self.inputs[e, : n + 2], self.operations[e]) for e in (2 * n, 2 * n + 1))
            yield first, second
