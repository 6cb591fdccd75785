"""A genetic search over encodings, as it was published beside the method (docs/strategies.md, section 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from controller.positions import Positions
from controller.sampling import Fits, draw_fitting

POPULATION = 20
SELECTED = 10
FROM_FIRST = 0.7
MUTATION = 0.001
EXTRA_MUTATION_EVERY = 10


class Evolution:
    """Breed generations of 20 genotypes: a :class:`controller.strategies.Strategy`.

    A generation is bred from ten members of the last, selected with probability proportional to the squared
    score, and ten fresh ones: each child takes every gene from its first parent with probability 0.7, else from
    the second, and mutates every gene with probability 0.001; in every tenth generation one gene of each child
    mutates besides.
    """

    def __init__(self, positions: Positions) -> None:
        self.positions, self.generation = positions, 0
        self.scored: list[tuple[Any, float]] = []  # of this generation, so far
        self.waiting: list[Any] = []
        self.parents: list[tuple[Any, float]] = []  # the last complete generation
        self._asked: tuple[Any, ...] = ()

    def ask(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Any, ...]:
        """The next ``n`` members that have no score yet; a new generation is bred when there are too few."""
        while len(self.waiting) < n:
            self.waiting += self.sample(POPULATION, generator, fits)
        self._asked = tuple(self.waiting[:n])
        return self._asked

    def sample(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Any, ...]:
        """Children of the last generation, bred as the next one is; uniform before there is one."""
        return draw_fitting(lambda count: self._children(count, generator), n, fits)

    def tell(self, scores: Sequence[float]) -> dict[str, float]:
        """Note the scores of the members that were asked for; a complete generation becomes the parents of the next."""
        if len(scores) != len(self._asked) or not self._asked:
            raise ValueError("tell() takes one score for each genotype of the last ask()")
        self.scored += zip(self._asked, scores, strict=True)
        self.waiting = self.waiting[len(self._asked) :]
        self._asked = ()
        while len(self.scored) >= POPULATION:
            self.parents, self.scored = self.scored[:POPULATION], self.scored[POPULATION:]
            self.generation += 1
        best = max(score for _, score in self.parents or self.scored)
        return {"reward": sum(scores) / len(scores), "best": best, "generation": float(self.generation)}

    def argmax(self) -> Any | None:
        """The best of the last complete generation."""
        return min(self.parents or self.scored, key=lambda pair: (-pair[1], pair[0]), default=(None,))[0]

    def has_moved(self) -> bool:
        """Whether any score was told."""
        return bool(self.parents or self.scored)

    def _children(self, n: int, generator: torch.Generator) -> tuple[Any, ...]:
        if not self.parents:
            return self.positions.uniform(n, generator)
        weights = torch.tensor([max(score, 0.0) ** 2 for _, score in self.parents], dtype=torch.float64)
        if not weights.sum() > 0:
            weights = torch.ones_like(weights)
        picked = torch.multinomial(weights, SELECTED, replacement=True, generator=generator).tolist()
        pool = [self.parents[i][0] for i in picked]
        pool += self.positions.uniform(POPULATION - SELECTED, generator)
        rows = self.positions.rows(pool)  # (20, genes)
        pairs = torch.randint(len(pool), (2, n), generator=generator)
        first, second = rows[pairs[0]], rows[pairs[1]]  # (n, genes) each
        genes = torch.where(torch.rand(first.shape, generator=generator) < FROM_FIRST, first, second)
        mutated = torch.rand(genes.shape, generator=generator) < MUTATION
        if self.generation % EXTRA_MUTATION_EVERY == 0:
            columns = torch.randint(genes.shape[1], (n,), generator=generator)
            mutated[torch.arange(n), columns] = True
        fresh = torch.rand(genes.shape, generator=generator, dtype=torch.float64) * self.positions.sizes
        genes = torch.where(mutated, fresh.long(), genes)
        genes = self.positions.legal(genes, generator)  # two parents may give a state twice
        return tuple(self.positions.build(row) for row in genes.tolist())

    def state_dict(self) -> dict[str, Any]:
        """Plain values: the members with their scores, and who waits for one."""
        plain = self.positions.plain
        return {
            "generation": self.generation,
            "scored": [[plain(g), score] for g, score in self.scored],
            "parents": [[plain(g), score] for g, score in self.parents],
            "waiting": [plain(g) for g in self.waiting],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there."""
        read = self.positions.read
        self.generation = state["generation"]
        self.scored = [(read(plain), float(score)) for plain, score in state["scored"]]
        self.parents = [(read(plain), float(score)) for plain, score in state["parents"]]
        self.waiting = [read(plain) for plain in state["waiting"]]
