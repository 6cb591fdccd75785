"""Scores that are known already (docs/method.md, section 4.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ops.genotype import Genotype


class ScoreCache:
    """The score of each genotype that was scored with the shared weights as they are now: none is scored twice."""

    def __init__(self) -> None:
        self.scores: dict[Genotype, float] = {}

    def missing(self, genotypes: Iterable[Genotype]) -> list[Genotype]:
        """Those that have no score yet, each once."""
        return [genotype for genotype in dict.fromkeys(genotypes) if genotype not in self.scores]

    def forget(self) -> None:
        """The weights are about to change: nothing is known of them."""
        self.scores.clear()

    def __len__(self) -> int:
        return len(self.scores)

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"scores": [[g.to_lists(), g.sharing, g.space, score] for g, score in self.scores.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; files of before scores were kept hold none."""
        self.scores = {}
        for lists, sharing, space, score in state.get("scores", []):
            self.scores[Genotype.from_lists(lists, sharing, space)] = float(score)
