"""The pool of genotypes that NAO keeps, where each came from and what it scored (docs/strategies.md, section 19.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from controller.positions import Positions
from controller.statistics import Seen

SEED, DECODED, FRESH = "seed", "decoded", "fresh"  # of the first pool; by a latent step; where these were too few


@dataclass
class Member:
    """A genotype of the pool. ``scored``: in this round; ``fitted``: the network has seen its score."""

    genotype: Any
    origin: str
    score: float | None = None
    scored: bool = False
    fitted: bool = False


class Pool:
    """Different genotypes with their last scores, in the order in which they are scored."""

    def __init__(self, positions: Positions) -> None:
        self.positions = positions
        self.members: list[Member] = []
        self.seen = Seen()  # whatever was in the pool once, swapped edges aside

    def __len__(self) -> int:
        return len(self.members)

    def knows(self, genotype: Any) -> bool:
        """Whether this network is, or was, in the pool."""
        return self.positions.canonical(genotype) in self.seen

    def add(self, genotypes: Sequence[Any], origin: str) -> None:
        """Take these in, without a score."""
        self.members += [Member(genotype, origin) for genotype in genotypes]
        self.seen.add(map(self.positions.canonical, genotypes))

    def waiting(self) -> list[Member]:
        """Those without a score of this round."""
        return [member for member in self.members if not member.scored]

    def ranked(self) -> list[Member]:
        """All by their last score, best first, the ones without a score last."""
        return sorted(self.members, key=lambda member: math.inf if member.score is None else -member.score)

    def held_out(self) -> list[Member]:
        """Those with a score that the network has not been fitted to."""
        return [member for member in self.members if member.score is not None and not member.fitted]

    def drop_worst(self, count: int) -> None:
        """Give up the members with the lowest scores."""
        self.members = self.ranked()[: len(self.members) - count]

    def begin_round(self, generator: torch.Generator) -> None:
        """All are to be scored again, in a random order: weights that change meanwhile favour none of them."""
        self.members = [self.members[i] for i in torch.randperm(len(self.members), generator=generator).tolist()]
        for member in self.members:
            member.scored = False

    def origins(self) -> dict[Any, str]:
        """Where each network of the pool came from, by its canonical genotype."""
        return {self.positions.canonical(member.genotype): member.origin for member in self.members}

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        members = [[self.positions.plain(m.genotype), m.origin, m.score, m.scored, m.fitted] for m in self.members]
        return {"members": members, "seen": self.seen.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there."""
        self.members = [Member(self.positions.read(plain), *facts) for plain, *facts in state["members"]]
        self.seen.load_state_dict(state["seen"])
