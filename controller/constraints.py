"""Constraints on what the chosen network may cost (docs/strategies.md, section 10).

How a cost is found is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from controller.sampling import NothingFitsError
from ops.genotype import Genotype

CostFunctions = Mapping[str, Callable[[Genotype], float]]
T = TypeVar("T")
MEASURED = "latency_ms"


class Constraints:
    """Say which genotypes cost too much.

    ``costs``: name -> function of a genotype, cheap ones first; each is called once a genotype. ``maxima``: the
    largest value allowed, for some of the names.
    """

    def __init__(self, costs: CostFunctions, maxima: Mapping[str, float]) -> None:
        self.costs, self.maxima = costs, maxima
        self.known: dict[tuple[str, Genotype], float] = {}
        self.smallest: dict[str, float] = {}
        self.drawn, self.accepted = 0, 0

    def cost(self, name: str, genotype: Genotype) -> float:
        """One cost of a genotype, found once."""
        key = (name, genotype)
        if key not in self.known:
            value = self.known[key] = self.costs[name](genotype)
            self.smallest[name] = min(value, self.smallest.get(name, value))
        return self.known[key]

    def meets(self, genotype: Genotype) -> bool:
        """Whether all constraints are met."""
        return all(self.cost(name, genotype) <= most for name, most in self.maxima.items())

    def fits(self, genotype: Genotype) -> bool:
        """Whether all constraints are met; the draw counts for the acceptance rate."""
        met = self.meets(genotype)
        self.drawn, self.accepted = self.drawn + 1, self.accepted + met
        return met

    @property
    def filter(self) -> Callable[[Genotype], bool] | None:
        """The test that draws must pass: none where there are no constraints."""
        return self.fits if self.maxima else None

    def state_dict(self) -> dict[str, Any]:
        """What was measured rather than computed, and so would not come out the same again."""
        measured = [
            [g.to_lists(), g.sharing, value, g.space] for (name, g), value in self.known.items() if name == MEASURED
        ]
        return {"measured": measured}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what was measured before."""
        for lists, sharing, value, *space in state["measured"]:  # files before there were spaces name none
            self.known[MEASURED, Genotype.from_lists(lists, sharing, *space)] = float(value)

    def take_acceptance(self) -> float:
        """The share of draws that were accepted since this was last asked."""
        rate = self.accepted / self.drawn if self.drawn else 1.0
        self.drawn, self.accepted = 0, 0
        return rate

    def explained(self, error: NothingFitsError) -> str:
        """Say why nothing fits: each constraint with the smallest value that was seen."""
        seen = ", ".join(
            f"{name} at most {most:g} (smallest seen {self.smallest[name]:g})"
            for name, most in self.maxima.items()
            if name in self.smallest
        )
        return f"{error}: {seen}"


def pareto_front(points: Sequence[T], score: Callable[[T], float], cost: Callable[[T], float]) -> list[T]:
    """The points that no other one beats: none has at least the score for at most the cost, and one of them better.

    Cheapest first.
    """
    front: list[Any] = []
    # Cheapest first, and of equal cost the best first: a point is beaten by one before it or not at all.
    for point in sorted(points, key=lambda p: (cost(p), -score(p))):
        last = front[-1] if front else None
        if last is None or score(point) > score(last) or (score(point), cost(point)) == (score(last), cost(last)):
            front.append(point)
    return front
