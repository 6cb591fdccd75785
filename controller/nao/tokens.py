"""Genotypes as sequences of tokens, for any space (docs/method.md, section 19.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from controller.sampling import from_genes, genes_of
from ops.genotype import Genotype
from ops.space import Space

START = 0  # what decoding starts from; no integer of a genotype becomes it


class Tokens:
    """The alphabet of genotypes of ``num_cells`` encodings, and which tokens may stand where.

    Input i is token i + 1, operation k is token k + nodes + 2. ``length``: tokens of a genotype.
    """

    def __init__(self, num_cells: int, sharing: str, space: Space) -> None:
        self.num_cells, self.sharing, self.space = num_cells, sharing, space
        first_op = space.nodes + 2
        self.length, self.vocabulary = num_cells * space.length, first_op + len(space.operations)
        self._shift = torch.tensor([1, first_op] * (self.length // 2))  # (length,)
        sizes = torch.tensor([space.options(position) for position in range(self.length)])
        token = torch.arange(self.vocabulary)
        first, last = self._shift[:, None], (self._shift + sizes)[:, None]
        self.legal = (token >= first) & (token < last)  # (length, vocabulary)

    def encode(self, genotypes: Sequence[Genotype]) -> Tensor:
        """Genotypes -> tokens (n, length)."""
        return torch.tensor([genes_of(genotype) for genotype in genotypes]) + self._shift

    def decode(self, tokens: Tensor) -> list[Genotype]:
        """Tokens (n, length) -> genotypes. Raises GenotypeError for tokens that are not legal where they stand."""
        return [from_genes(row, self.sharing, self.space.name) for row in (tokens - self._shift).tolist()]

    def allowed(self, position: int, chosen: Sequence[Tensor]) -> Tensor:
        """Which tokens may follow those ``chosen`` so far, each (n,): (n, vocabulary), or (1, vocabulary).

        Where the two inputs of a node must differ, the second is not the first.
        """
        legal = self.legal[position][None]  # (1, vocabulary)
        if self.space.distinct and position % 4 == 2:
            return legal & (torch.arange(self.vocabulary) != chosen[position - 2][:, None])  # (n, vocabulary)
        return legal

    def swapped(self, tokens: Tensor) -> Tensor:
        """The same networks in other words: one random node of each cell has its two edges swapped, (n, length)."""
        nodes = tokens.reshape(-1, self.space.nodes, 4).clone()  # (n * cells, nodes, 4)
        cell = torch.arange(len(nodes))
        node = torch.randint(self.space.nodes, (len(nodes),))
        nodes[cell, node] = nodes[cell, node].roll(2, dims=1)
        return nodes.view_as(tokens)
