"""Candidates as sequences of tokens, for any space (docs/strategies.md, section 19.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from controller.positions import Positions

START = 0  # what decoding starts from; no option becomes it


class Tokens:
    """The alphabet of candidates, and which tokens may stand where.

    Positions of one kind share their tokens: of cells input i is token i + 1, operation k is token k + nodes + 2.
    ``length``: tokens of a candidate; ``at_once``: how many the encoder reads in one step.
    """

    def __init__(self, positions: Positions) -> None:
        self.positions, self.length = positions, len(positions.options)
        self.at_once = len(set(positions.kinds))  # an input with its operation, where there are both
        most = [0] * (1 + max(positions.kinds))  # options of each kind
        for kind, options in zip(positions.kinds, positions.options, strict=True):
            most[kind] = max(most[kind], options)
        self.vocabulary = 1 + sum(most)
        self._shift = torch.tensor([1 + sum(most[:kind]) for kind in positions.kinds])  # (length,)
        token = torch.arange(self.vocabulary)
        first, last = self._shift[:, None], (self._shift + positions.sizes)[:, None]
        self.legal = (token >= first) & (token < last)  # (length, vocabulary)

    def encode(self, candidates: Sequence[Any]) -> Tensor:
        """Candidates -> tokens (n, length)."""
        return self.positions.rows(candidates) + self._shift

    def decode(self, tokens: Tensor) -> list[Any]:
        """Tokens (n, length) -> candidates. Raises GenotypeError for tokens that are not legal where they stand."""
        return [self.positions.build(row) for row in (tokens - self._shift).tolist()]

    def allowed(self, position: int, chosen: Sequence[Tensor]) -> Tensor:
        """Which tokens may follow those ``chosen`` so far, each (n,): (n, vocabulary), or (1, vocabulary)."""
        legal = self.legal[position][None]  # (1, vocabulary)
        if position in self.positions.differs:
            other = chosen[self.positions.differs[position]]
            return legal & (torch.arange(self.vocabulary) != other[:, None])  # (n, vocabulary)
        return legal

    def swapped(self, tokens: Tensor) -> Tensor:
        """The same networks in other words: one random node of each cell has its two edges swapped, (n, length)."""
        nodes = tokens.reshape(-1, self.positions.space.nodes, 4).clone()  # (n * cells, nodes, 4)
        cell = torch.arange(len(nodes))
        node = torch.randint(nodes.shape[1], (len(nodes),))
        nodes[cell, node] = nodes[cell, node].roll(2, dims=1)
        return nodes.view_as(tokens)
