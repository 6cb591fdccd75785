"""What a search looks like while it goes on: shares, distinct genotypes, warnings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from ops.genotype import Genotype
from ops.space import SPACES


def shares(genotypes: Sequence[Genotype]) -> dict[str, float]:
    """The share of each operation and of each input among all edges of the genotypes."""
    inputs = [i for genotype in genotypes for cell in genotype.cells for i in cell[0::2]]
    ops = [op for genotype in genotypes for cell in genotype.cells for op in cell[1::2]]
    space = SPACES[genotypes[0].space]
    return {
        **{f"operations/{name}": ops.count(i) / len(ops) for i, name in enumerate(space.operations)},
        **{f"inputs/{name}": inputs.count(i) / len(inputs) for i, name in enumerate(space.states)},
    }


class Seen:
    """How many different genotypes were drawn since the start of a search."""

    def __init__(self) -> None:
        self.keys: set[int] = set()

    def add(self, genotypes: Iterable[Genotype]) -> None:
        self.keys |= {self._key(genotype) for genotype in genotypes}

    def __len__(self) -> int:
        return len(self.keys)

    @staticmethod
    def _key(genotype: Genotype) -> int:
        digest = hashlib.sha256(json.dumps(genotype.cells).encode()).digest()
        return int.from_bytes(digest[:7], "big")

    def state_dict(self) -> dict[str, Any]:
        return {"keys": sorted(self.keys)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.keys = set(state["keys"])


def warnings(genotypes: Sequence[Genotype], *, entropy: float | None, first: float | None, moved: bool) -> list[str]:
    """What is wrong with a strategy that drew these genotypes in an epoch; nothing, mostly.

    ``entropy`` of a draw in nats, now and in the first epoch; None for strategies that have none.
    """
    found = []
    if not moved:
        found.append("the controller has not moved since its start: it learns nothing")
    if len(genotypes) >= 8 and len(set(genotypes)) == 1:
        found.append("the controller has collapsed: it draws one genotype only")
    elif entropy is not None and first and entropy < 0.05 * first:
        found.append(f"the controller has nearly collapsed: its entropy fell from {first:.3g} to {entropy:.3g}")
    return found
