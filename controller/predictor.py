"""A search by a model of the score: fit it to all scores told so far, propose what it finds promising."""

from __future__ import annotations

import math
from typing import Any

import torch

from controller.history import HistoryStrategy
from controller.positions import Positions

# These three were chosen on a table of trained networks (docs/results.md).
START = 35  # uniform candidates, before there is a model
LENGTH = 0.6  # of the kernel: two candidates that have nothing in common are sqrt(2) apart
NOISE = 0.02  # variance of a score, beside 1 between candidates
UNIFORM = 200  # candidates of a pool that are drawn uniformly
PARENTS, CHILDREN = 20, 10  # best candidates, and mutations of each of them


class Predictor(HistoryStrategy):
    """Thompson sampling with a Gaussian process on one-hot positions (docs/strategies.md, section 9).

    For every proposal one function is drawn from the posterior, and the candidate of a pool taken where it is highest.
    The pool holds uniform candidates and mutations of the best, none that was scored. The model is of ranks, mapped to
    normal quantiles: a few very bad candidates would leave no room for differences between good ones.
    """

    def __init__(self, positions: Positions) -> None:
        super().__init__(positions)
        self._fitted: tuple[int, Any] | None = None  # by how many scores, and the model

    def propose(self, n: int, generator: torch.Generator) -> list[Any]:
        """``n`` candidates by the model, or uniform ones before there is one and where all were scored."""
        pool = self._pool(generator) if len(self.scored) >= START else []
        if not pool:
            return list(self.positions.uniform(n, generator))
        mean, covariance = map(torch.from_numpy, self._model().predict(self._features(pool), return_cov=True))
        # A little on the diagonal: rounding leaves candidates that are nearly alike without a Cholesky factor.
        spread = torch.linalg.cholesky(covariance + 1e-6 * torch.eye(len(pool)))
        drawn = torch.randn(len(pool), n, generator=generator, dtype=torch.float64)
        values = mean[:, None] + spread @ drawn  # (pool, n): of each function its values
        proposed: list[int] = []
        for value in values.unbind(dim=1):
            if len(proposed) % len(pool):  # a candidate comes again only where the pool is too small
                value[proposed[-(len(proposed) % len(pool)) :]] = -math.inf
            proposed.append(int(value.argmax()))
        return [pool[i] for i in proposed]

    def _pool(self, generator: torch.Generator) -> list[Any]:
        """Different candidates that have no score yet."""
        scores = dict(self.scored)
        best = sorted(scores, key=lambda candidate: (-scores[candidate], candidate))[:PARENTS]
        drawn = [*self.positions.uniform(UNIFORM, generator)]
        drawn += [self.positions.mutated(parent, generator) for parent in best for _child in range(CHILDREN)]
        return [candidate for candidate in dict.fromkeys(drawn) if candidate not in scores]

    def _model(self) -> Any:
        """The model of the scores so far; of a candidate that was scored again, since weights changed, the last one."""
        # Here, since they take a second to import and most searches have another strategy.
        from scipy.stats import norm, rankdata
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF

        if self._fitted is None or self._fitted[0] != len(self.scored):
            scores = dict(self.scored)
            quantiles = norm.ppf((rankdata(list(scores.values())) - 0.5) / len(scores))
            process = GaussianProcessRegressor(RBF(LENGTH), alpha=NOISE, optimizer=None)
            self._fitted = len(self.scored), process.fit(self._features(list(scores)), quantiles)
        return self._fitted[1]

    def _features(self, candidates: list[Any]) -> Any:
        """One-hot positions, (n, sum of options), so scaled that the distance does not grow with their number."""
        return (self.positions.one_hot(candidates) / math.sqrt(len(self.positions.options))).numpy()
