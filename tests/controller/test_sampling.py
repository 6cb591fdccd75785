"""Genotypes that are drawn without a strategy: uniform and varied ones."""

import pytest
import torch
from scipy.stats import chisquare

from controller.sampling import uniform, varied
from ops.space import SLNAS
from tests.genes import genes_of, source

OPERATIONS = len(SLNAS.operations)


def test_varied_genotypes_differ_more_and_are_uniform_taken_together():
    def counts(draw) -> torch.Tensor:
        rows = torch.tensor([genes_of(g) for g in draw(2000, 2, "type", source())])  # (n, genes)
        return torch.stack([row[1:20:2].bincount(minlength=OPERATIONS) for row in rows]).double()  # (n, operations)

    plain, mixed = counts(uniform), counts(varied)
    assert chisquare(mixed.sum(0).numpy() / 10).pvalue > 1e-4  # edges of an encoding are not independent
    # Of ten edges with shares p: Var = 10 E[p (1 - p)] + 100 Var(p), of a Dirichlet distribution with parameters 1/2.
    uniform_variance = (1 - 1 / OPERATIONS) / OPERATIONS
    of_shares = uniform_variance / (OPERATIONS / 2 + 1)
    assert plain.var(0).mean().item() == pytest.approx(10 * uniform_variance, rel=0.1)
    variance = 10 * (uniform_variance - of_shares) + 100 * of_shares
    assert mixed.var(0).mean().item() == pytest.approx(variance, rel=0.1)
