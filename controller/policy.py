"""Policies over candidates: what all recurrent ones have, and ours over cells (docs/method.md, section 3).

After ENAS, Pham et al., arXiv 1802.03268.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from controller.positions import CellPositions, Positions
from controller.samplers import PUBLISHED, Choices, ConnectionSampler, LogitScale, OperationSampler, Source
from ops.genotype import Genotype


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
    """A policy over the candidates of ``positions``: draws them, and says how likely they are.

    ``order``: the positions in the order in which it chooses. Where two positions must differ, the second choice is
    among the options that the first left.
    """

    def __init__(self, positions: Positions, order: Sequence[int]) -> None:
        super().__init__()
        self.positions, self.order = positions, list(order)

    @abstractmethod
    def _walk(self, n: int, given: Tensor | None, uniform: Tensor | None) -> list[Choices]:
        """Make all choices of n candidates, in order, several in one Choices where that is how they are made.

        ``given`` and ``uniform`` are (n, choices). ``given`` is what was chosen; without it ``uniform`` decides, and
        without both the likeliest is taken.
        """

    def sample(self, n: int = 1, generator: torch.Generator | None = None) -> Sample:
        """Draw ``n`` candidates in one pass, from ``generator`` (a CPU generator) alone."""
        candidates, judged = self.draw(n, generator)
        return Sample(candidates, judged.log_prob, judged.entropy.detach())

    def draw(self, n: int = 1, generator: torch.Generator | None = None) -> tuple[tuple[Any, ...], Judged]:
        """What ``sample`` draws, with all that can be learned from it."""
        # One number a choice: the only randomness there is.
        uniform = torch.rand(n, len(self.order), generator=generator, dtype=torch.float64).to(next(self.parameters()))
        # A number that was rounded up to 1 would reach an impossible option.
        made = self._walk(n, None, uniform.clamp(max=1 - torch.finfo(uniform.dtype).eps))
        return self._candidates(made), _judged(made)

    def judge(self, candidates: Sequence[Any]) -> Judged:
        """What the policy thinks of these candidates now."""
        return _judged(self._walk(len(candidates), self._given(candidates), None))

    def log_prob(self, candidates: Sequence[Any]) -> Tensor:
        """The log-probability of each candidate, (n,), differentiable: the number that sample() gave."""
        return self.judge(candidates).log_prob

    def kl_from_uniform(self, entropy: float) -> float:
        """How far draws of this entropy are from uniform ones, in nats: the mean over all choices, at least 0."""
        free = self.positions.free
        return max(0.0, sum(map(math.log, free)) - entropy) / len(free)

    @torch.no_grad()
    def argmax(self) -> Any:
        """The candidate of the likeliest choice at every step, given the choices before it."""
        return self._candidates(self._walk(1, None, None))[0]

    @torch.no_grad()
    def distributions(self, candidate: Any) -> list[Tensor]:
        """The distribution over the options of each position, given the choices before it."""
        made = self._walk(1, self._given([candidate]), None)
        rows = [row for choices in made for row in choices.log_probs[0]]
        by_position = sorted(zip(self.order, rows, strict=True), key=lambda pair: pair[0])
        return [row[: self.positions.options[position]].exp() for position, row in by_position]

    def _given(self, candidates: Sequence[Any]) -> Tensor:
        for candidate in candidates:  # the log-probability of others is -inf, of which an update makes no numbers
            self.positions.require_drawable(candidate)
        return self.positions.rows(candidates)[:, self.order].to(next(self.parameters()).device)

    def _candidates(self, made: Sequence[Choices]) -> tuple[Any, ...]:
        chosen = torch.cat([choices.indices for choices in made], dim=1)  # (n, choices)
        rows = torch.empty_like(chosen)
        rows[:, self.order] = chosen
        return tuple(self.positions.build(row) for row in rows.tolist())


class CellPolicy(Policy):
    """A policy over genotypes of ``num_cells`` encodings; of each it chooses the inputs, then the operations."""

    def __init__(self, num_cells: int, sharing: str, space: str) -> None:
        positions = CellPositions(num_cells, sharing, space)
        every = range(len(positions.options))
        super().__init__(positions, (*every[0::2], *every[1::2]))  # connections, operations
        self.num_cells, self.space = num_cells, positions.space

    def _walk(self, n: int, given: Tensor | None, uniform: Tensor | None) -> tuple[Choices, Choices]:
        if uniform is not None:  # the numbers lie encoding by encoding
            uniform = uniform.unflatten(1, (self.num_cells, 2, -1)).transpose(1, 2).flatten(1)
        halves = ((None, None) if x is None else x.chunk(2, dim=1) for x in (given, uniform))
        return self._choose(n, *(Source(*both) for both in zip(*halves, strict=True)))

    @abstractmethod
    def _choose(self, n: int, inputs: Source, operations: Source) -> tuple[Choices, Choices]:
        """Choose all inputs and all operations of n genotypes, by what decides on them."""

    def probabilities(self, genotype: Genotype) -> list[tuple[list[Tensor], list[Tensor]]]:
        """For each encoding the connection and operation distributions, given the choices before."""
        rows, length = self.distributions(genotype), self.space.length
        cells = (rows[first : first + length] for first in range(0, len(rows), length))
        return [(cell[0::2], cell[1::2]) for cell in cells]


class Controller(CellPolicy):
    """Our policy: two samplers, one after the other. Weights start uniform in ±0.1, as in ENAS."""

    def __init__(
        self, num_cells: int, sharing: str = "type", space: str = "slnas", logit_scale: LogitScale = PUBLISHED
    ) -> None:
        super().__init__(num_cells, sharing, space)
        self.connection = ConnectionSampler(self.space, logit_scale)
        self.operation = OperationSampler(self.space, logit_scale)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)

    def _choose(self, n: int, inputs: Source, operations: Source) -> tuple[Choices, Choices]:
        connections = self.connection(n, self.num_cells, inputs)
        return connections, self.operation(connections.indices, self.num_cells, operations)


def _judged(made: Sequence[Choices]) -> Judged:
    log_prob = torch.stack([choices.taken() for choices in made]).sum(dim=0)  # (n,)
    favoured = torch.cat([choices.favoured() for choices in made], dim=1)  # (n, all choices)
    return Judged(log_prob, sum(choices.entropy() for choices in made), favoured.mean(dim=1))
