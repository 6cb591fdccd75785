"""What a search looks like while it goes on: shares, distinct genotypes, chance, warnings."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ops.genotype import Genotype
from ops.space import SPACES

SKIPS = ("skip_connect", "identity")
UNIFORM = 0.01  # nats a choice: less is no preference that a search can see; one sure choice of 40 gives 0.04


def shares(genotypes: Sequence[Genotype]) -> dict[str, float]:
    """The share of each operation and of each input among all edges of the genotypes."""
    # Over all edges of all encodings, whatever cell they are of.
    space, cells = SPACES[genotypes[0].space], [cell for genotype in genotypes for cell in genotype.cells]
    inputs = [i for cell in cells for i in space.inputs(cell)]
    ops = [op for cell in cells for op in cell[space.operation_positions]]
    return {
        **{f"operations/{name}": ops.count(i) / len(ops) for i, name in enumerate(space.operations)},
        **{f"inputs/{name}": inputs.count(i) / len(inputs) for i, name in enumerate(space.states)},
    }


def derived_operations(genotype: Genotype) -> dict[str, int]:
    """How many edges have each operation, ``<cell>/<operation>``: of normal cells and reductions, or by number."""
    kinds = ("normal", "reduction") if genotype.sharing == "type" else map(str, range(len(genotype.cells)))
    space = SPACES[genotype.space]
    return {
        f"{kind}/{name}": cell[space.operation_positions].count(op)
        for kind, cell in zip(kinds, genotype.cells, strict=True)
        for op, name in enumerate(space.operations)
    }


def skip_collapse(genotype: Genotype) -> list[str]:
    """Say that half of the edges of the first encoding, the normal cells', only pass on what they read; else nothing.

    A search by gradients is known to drift there (docs/strategies.md, section 23).
    """
    space = SPACES[genotype.space]
    ops = genotype.cells[0][space.operation_positions]
    skips = sum(space.known[op] in SKIPS for op in ops)
    if 2 * skips < len(ops):
        return []
    return [f"{skips} of the {len(ops)} edges of the normal cell are skip connections: the search has collapsed"]


class Seen:
    """Count the different genotypes that were drawn since the start of a search."""

    def __init__(self) -> None:
        self.keys: set[int] = set()

    def add(self, genotypes: Iterable[Genotype]) -> None:
        """Count these genotypes too, each once."""
        self.keys |= {self._key(genotype) for genotype in genotypes}

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, genotype: Genotype) -> bool:
        return self._key(genotype) in self.keys

    @staticmethod
    def _key(genotype: Genotype) -> int:
        # 56 bits: among a million genotypes two collide with a chance of 1e-5.
        digest = hashlib.sha256(json.dumps(getattr(genotype, "cells", genotype)).encode()).digest()
        return int.from_bytes(digest[:7], "big")

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers: a key of each genotype."""
        return {"keys": sorted(self.keys)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting from there."""
        self.keys = set(map(int, state["keys"]))


class Spread(NamedTuple):
    """Scores of candidates in percent, and the percentage of their variance that the noise of scoring explains."""

    candidates: int
    images: int
    mean: float
    std: float
    best: float
    noise_share: float | None

    def sentence(self) -> str:
        """Say for a person whether candidates differ by more than the noise of their scores."""
        if self.noise_share is None:
            return f"one candidate, {self.best:.2f} %: whether candidates differ by more than noise is open"
        scores = f"{self.candidates} candidates: mean {self.mean:.2f} %, std {self.std:.2f}, best {self.best:.2f} %"
        noise = f"the noise of {self.images} reward images explains {self.noise_share:.0f} % of their variance"
        return f"{scores}; {noise}: they differ by {'more' if self.is_real() else 'no more'} than noise"

    def is_real(self) -> bool:
        """Whether the variance is larger than noise alone gives in 39 of 40 cases.

        Of noise, observed over expected variance times (candidates - 1) follows a chi-square distribution.
        """
        from scipy.stats import chi2  # which takes a second to import

        if self.noise_share is None:
            return False
        freedom = self.candidates - 1
        return chi2.sf(freedom * 100 / self.noise_share, freedom) < 1 / 40


def spread(scores: Sequence[float], images: int) -> Spread:
    """Compare the variance of the candidates' scores with that of chance (docs/method.md, section 4.4).

    ``scores``: top-1 accuracies in percent, each on the same ``images``.

    The noise of an accuracy p on n images has the binomial variance p (1 - p) / n; its mean over the candidates is
    compared with the variance of the scores. All see the same images, so this is the most that noise can explain.
    """
    mean = statistics.fmean(scores)
    if len(scores) < 2:
        return Spread(len(scores), images, mean, 0.0, max(scores), None)
    # All candidates see the same images, so their noise is correlated: this is an upper bound.
    noise = statistics.fmean(score * (100 - score) / images for score in scores)
    variance = statistics.variance(scores)
    share = min(100.0, 100 * noise / variance) if variance else 100.0
    return Spread(len(scores), images, mean, math.sqrt(variance), max(scores), share)


def warnings(
    genotypes: Sequence[Genotype],
    *,
    entropy: float | None,
    first: float | None,
    moved: bool,
    updates: int,
    kl_from_uniform: float | None = None,
) -> list[str]:
    """Say what looks wrong with a strategy that drew these genotypes in an epoch; mostly an empty list.

    ``updates``: of the strategy so far. ``entropy`` of a draw in nats, now and in the first epoch, and
    ``kl_from_uniform`` of a choice, in nats; None for strategies that have none.
    """
    texts = []
    if not moved and updates < 2:
        texts.append("the controller has not moved: its first update only sets the baseline")
    elif not moved:
        texts.append("the controller has not moved since its start: it learns nothing")
    elif kl_from_uniform is not None and kl_from_uniform < UNIFORM:
        texts.append(
            f"the controller still draws uniformly, {kl_from_uniform:.2g} nats a choice away from it: "
            "its updates change nothing that a draw would show"
        )
    if len(genotypes) >= 8 and len(set(genotypes)) == 1:
        texts.append("the controller has collapsed: it draws one genotype only")
    elif entropy is not None and first and entropy < 0.05 * first:
        texts.append(f"the controller has nearly collapsed: its entropy fell from {first:.3g} to {entropy:.3g}")
    return texts
