"""Genotypes that are drawn without a strategy: uniform and varied ones."""

import pytest
import torch
from scipy.stats import chisquare

from controller.sampling import uniform, varied
from tests.genes import genes_of


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_varied_genotypes_differ_more_and_are_uniform_taken_together():
    def counts(draw) -> torch.Tensor:
        rows = torch.tensor([genes_of(g) for g in draw(2000, 2, "type", source())])  # (n, genes)
        return torch.stack([row[1:20:2].bincount(minlength=5) for row in rows]).double()  # (n, operations)

    plain, mixed = counts(uniform), counts(varied)
    assert chisquare(mixed.sum(0).numpy() / 10).pvalue > 1e-4  # edges of an encoding are not independent
    # Of ten edges with shares p: Var = 10 E[p (1 - p)] + 100 Var(p), Var(p) = 0.16 / 3.5.
    assert plain.var(0).mean().item() == pytest.approx(1.6, rel=0.1)
    variance = 10 * (0.16 - 0.16 / 3.5) + 100 * 0.16 / 3.5
    assert mixed.var(0).mean().item() == pytest.approx(variance, rel=0.1)
