"""A genetic search over encodings, as it was published beside the method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from controller.space import Fits, draw_fitting, from_genes, genes_of, options, uniform
from ops.genotype import Genotype

POPULATION = 20
SELECTED = 10
FROM_FIRST = 0.7
MUTATION = 0.001
EXTRA_MUTATION_EVERY = 10


class Evolution:
    """Generations of 20. See :class:`controller.strategies.Strategy`.

    A generation is bred from ten members of the last, selected with probability proportional to the squared
    score, and ten fresh ones: each child takes every gene from its first parent with probability 0.7, else from
    the second, and mutates every gene with probability 0.001; in every tenth generation one gene of each child
    mutates besides.
    """

    def __init__(self, num_cells: int, sharing: str) -> None:
        self.num_cells, self.sharing = num_cells, sharing
        self.generation = 0
        self.scored: list[tuple[Genotype, float]] = []  # of this generation, so far
        self.waiting: list[Genotype] = []
        self.parents: list[tuple[Genotype, float]] = []  # the last complete generation
        self._proposed: tuple[Genotype, ...] = ()

    def propose(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        """The next ``n`` members that have no score yet; a new generation is bred when there are too few."""
        while len(self.waiting) < n:
            self.waiting += self._breed(generator, fits)
        self._proposed = tuple(self.waiting[:n])
        return self._proposed

    def paths(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        """Children of the last generation, bred as the next one is; uniform before there is one."""
        return draw_fitting(lambda count: self._children(count, generator), n, fits)

    def learn(self, scores: Sequence[float]) -> dict[str, float]:
        """Note the scores of the proposed members; a complete generation becomes the parents of the next."""
        if len(scores) != len(self._proposed) or not self._proposed:
            raise ValueError("learn() takes one score for each genotype of the last propose()")
        self.scored += zip(self._proposed, scores, strict=True)
        self.waiting = self.waiting[len(self._proposed) :]
        self._proposed = ()
        while len(self.scored) >= POPULATION:
            self.parents, self.scored = self.scored[:POPULATION], self.scored[POPULATION:]
            self.generation += 1
        best = max(score for _, score in self.parents or self.scored)
        return {"reward": sum(scores) / len(scores), "best": best, "generation": float(self.generation)}

    def likely(self) -> Genotype | None:
        """The best of the last complete generation."""
        ranked = sorted(self.parents or self.scored, key=lambda pair: (-pair[1], pair[0]))
        return ranked[0][0] if ranked else None

    def has_moved(self) -> bool:
        return bool(self.parents or self.scored)

    def _breed(self, generator: torch.Generator, fits: Fits | None) -> tuple[Genotype, ...]:
        return draw_fitting(lambda count: self._children(count, generator), POPULATION, fits)

    def _children(self, n: int, generator: torch.Generator) -> tuple[Genotype, ...]:
        if not self.parents:
            return uniform(n, self.num_cells, self.sharing, generator)
        weights = torch.tensor([max(score, 0.0) ** 2 for _, score in self.parents], dtype=torch.float64)
        if not weights.sum() > 0:
            weights = torch.ones_like(weights)
        picked = torch.multinomial(weights, SELECTED, replacement=True, generator=generator).tolist()
        pool = [self.parents[i][0] for i in picked]
        pool += uniform(POPULATION - SELECTED, self.num_cells, self.sharing, generator)
        rows = torch.tensor([genes_of(genotype) for genotype in pool])
        pairs = torch.randint(len(pool), (2, n), generator=generator)
        first, second = rows[pairs[0]], rows[pairs[1]]
        genes = torch.where(torch.rand(first.shape, generator=generator) < FROM_FIRST, first, second)
        mutated = torch.rand(genes.shape, generator=generator) < MUTATION
        if self.generation % EXTRA_MUTATION_EVERY == 0:
            columns = torch.randint(genes.shape[1], (n,), generator=generator)
            mutated[torch.arange(n), columns] = True
        sizes = torch.tensor([options(i) for i in range(genes.shape[1])])
        fresh = (torch.rand(genes.shape, generator=generator, dtype=torch.float64) * sizes).long()
        return tuple(from_genes(row, self.sharing) for row in torch.where(mutated, fresh, genes).tolist())

    def state_dict(self) -> dict[str, Any]:
        """Plain values: the members with their scores, and who waits for one."""
        return {
            "generation": self.generation,
            "scored": [[g.to_lists(), score] for g, score in self.scored],
            "parents": [[g.to_lists(), score] for g, score in self.parents],
            "waiting": [g.to_lists() for g in self.waiting],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        def genotype(lists: list[list[int]]) -> Genotype:
            return Genotype.from_lists(lists, self.sharing)

        self.generation = state["generation"]
        self.scored = [(genotype(lists), score) for lists, score in state["scored"]]
        self.parents = [(genotype(lists), score) for lists, score in state["parents"]]
        self.waiting = [genotype(lists) for lists in state["waiting"]]
