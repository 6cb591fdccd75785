"""Policies over genotypes: what all recurrent ones have, and ours (docs/method.md, section 3).

After ENAS, Pham et al., arXiv 1802.03268.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from controller.samplers import HIDDEN, PUBLISHED, Choices, ConnectionSampler, LogitScale, OperationSampler
from ops.genotype import Genotype
from ops.space import SPACES


class Sample(NamedTuple):
    """Genotypes with their log-probability, (n,), differentiable, and entropy, (n,), detached; in nats."""

    genotypes: tuple[Genotype, ...]
    log_prob: Tensor
    entropy: Tensor


class Judged(NamedTuple):
    """What the policy thinks of n genotypes: log-probability and entropy, (n,), differentiable; in nats.

    ``favoured`` (n,), detached: the largest probability of a choice, averaged over all choices.
    """

    log_prob: Tensor
    entropy: Tensor
    favoured: Tensor


class Policy(nn.Module, ABC):
    """A policy over genotypes of ``num_cells`` encodings: draws them, and says how likely they are.

    In a space whose nodes read two different states, the second choice of a node is among those that the first left.
    """

    def __init__(self, num_cells: int, sharing: str, space: str) -> None:
        super().__init__()
        self.num_cells, self.sharing, self.space = num_cells, sharing, SPACES[space]
        self.choices = 2 * self.space.nodes  # connections of an encoding, and as many operations

    @abstractmethod
    def _walk(self, n: int, given: Tensor | None, uniform: Tensor | None) -> list[tuple[Choices, Choices]]:
        """Make all choices of n genotypes: those of connections and those of operations, for each encoding.

        ``given`` and ``uniform`` are (n, cells, 4 * nodes); the last axis holds connections, then operations. ``given``
        is what was chosen; without it ``uniform`` decides, and without both the likeliest is taken.
        """

    def sample(self, n: int = 1, generator: torch.Generator | None = None) -> Sample:
        """Draw ``n`` genotypes in one pass, from ``generator`` (a CPU generator) alone."""
        genotypes, judged = self.draw(n, generator)
        return Sample(genotypes, judged.log_prob, judged.entropy.detach())

    def draw(self, n: int = 1, generator: torch.Generator | None = None) -> tuple[tuple[Genotype, ...], Judged]:
        """What ``sample`` draws, with all that can be learned from it."""
        # One number a choice, (n, cells, connections and operations): the only randomness there is.
        uniform = torch.rand(n, self.num_cells, 2 * self.choices, generator=generator, dtype=torch.float64)
        cells = self._walk(n, None, uniform.to(next(self.parameters())))
        return self._genotypes(cells), _judged(cells)

    def judge(self, genotypes: Sequence[Genotype]) -> Judged:
        """What the policy thinks of these genotypes now."""
        return _judged(self._walk(len(genotypes), self._given(genotypes), None))

    def log_prob(self, genotypes: Sequence[Genotype]) -> Tensor:
        """The log-probability of each genotype, (n,), differentiable: the number that sample() gave."""
        return self.judge(genotypes).log_prob

    def kl_from_uniform(self, entropy: float) -> float:
        """How far draws of this entropy are from uniform ones, in nats: the mean over all choices, at least 0."""
        options = [self.space.free(position) for position in range(self.space.length)]
        most = self.num_cells * sum(map(math.log, options))
        return max(0.0, most - entropy) / (self.num_cells * len(options))

    @torch.no_grad()
    def argmax(self) -> Genotype:
        """The genotype of the likeliest choice at every step, given the choices before it."""
        return self._genotypes(self._walk(1, None, None))[0]

    @torch.no_grad()
    def probabilities(self, genotype: Genotype) -> list[tuple[list[Tensor], list[Tensor]]]:
        """For each encoding the connection and operation distributions, given the choices before."""
        cells = self._walk(1, self._given([genotype]), None)
        options = [self.space.options(position) for position in range(self.space.length)]
        sizes = options[0::2], options[1::2]  # of the choices of connections, and of those of operations
        return [tuple([p[0] for p in c.probabilities(s)] for c, s in zip(pair, sizes, strict=True)) for pair in cells]

    def _given(self, genotypes: Sequence[Genotype]) -> Tensor:
        for genotype in genotypes:
            if len(genotype.cells) != self.num_cells:
                raise ValueError(f"{len(genotype.cells)} encodings given, but the controller samples {self.num_cells}")
            for cell in genotype.cells:
                if not self.space.can_draw(cell):  # its log-probability is -inf, of which an update makes no numbers
                    raise ValueError(f"{list(cell)} is never drawn in the space {self.space.name}")
        given = torch.tensor([g.cells for g in genotypes], device=next(self.parameters()).device)
        return torch.cat((given[..., 0::2], given[..., 1::2]), dim=2)  # (n, cells, connections and operations)

    def _genotypes(self, cells: list[tuple[Choices, Choices]]) -> tuple[Genotype, ...]:
        # (n, cells, 4 * nodes), connection and operation in turns
        encodings = torch.stack([torch.stack((c.indices, o.indices), dim=2).flatten(1) for c, o in cells], dim=1)
        return tuple(Genotype.from_lists(lists, self.sharing, self.space.name) for lists in encodings.tolist())


class Controller(Policy):
    """Our policy: two samplers, one after the other. Weights start uniform in ±0.1, as in ENAS."""

    def __init__(
        self, num_cells: int, sharing: str = "type", space: str = "slnas", logit_scale: LogitScale = PUBLISHED
    ) -> None:
        super().__init__(num_cells, sharing, space)
        self.connection = ConnectionSampler(self.space, logit_scale)
        self.operation = OperationSampler(self.space, logit_scale)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)

    def _walk(self, n: int, given: Tensor | None, uniform: Tensor | None) -> list[tuple[Choices, Choices]]:
        """Run both samplers over all encodings, (h, c) carried on."""
        zeros = self.connection.score.weight.new_zeros
        connection_state = (zeros(n, HIDDEN), zeros(n, HIDDEN))
        operation_state = (zeros(2, n, HIDDEN), zeros(2, n, HIDDEN))
        cells = []
        for cell in range(self.num_cells):
            parts = [
                [None if x is None else x[:, cell, part] for x in (given, uniform)]
                for part in (slice(0, self.choices), slice(self.choices, None))
            ]
            connections, connection_state = self.connection(connection_state, *parts[0])
            operations, operation_state = self.operation(connections.indices, operation_state, *parts[1])
            cells.append((connections, operations))
        return cells


def _judged(cells: list[tuple[Choices, Choices]]) -> Judged:
    every = [choices for pair in cells for choices in pair]
    log_prob = torch.stack([choices.taken() for choices in every]).sum(dim=0)  # (n,)
    favoured = torch.cat([choices.favoured() for choices in every], dim=1)  # (n, all choices)
    return Judged(log_prob, sum(choices.entropy() for choices in every), favoured.mean(dim=1))
