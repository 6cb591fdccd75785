"""Genotypes that are drawn without a strategy: fair groups, and varied ones."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from controller import sampling
from controller.sampling import fair, genes_of, uniform, varied
from ops.space import SLNAS


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 6), st.integers(0, 1000))
def test_fair_paths_take_each_operation_of_an_edge_once_a_group(groups, seed):
    k = len(SLNAS.operations)
    rows = torch.tensor([genes_of(g) for g in fair(k * groups, 2, "type", source(seed))])  # (n, genes)
    for group in rows[:, 1::2].split(k):
        assert torch.equal(group.sort(0).values, torch.arange(k)[:, None].expand_as(group))
    with pytest.raises(ValueError, match="whole number of groups"):
        fair(k * groups + 1, 2, "type", source(seed))


def test_fair_paths_are_uniform_in_every_position():
    rows = torch.tensor([genes_of(g) for g in fair(5000, 2, "type", source())])
    for position, size in enumerate(sampling.gene_sizes(2).tolist()):
        assert chisquare(rows[:, position].bincount(minlength=size)).pvalue > 1e-4
    orders = rows[:, 1].view(-1, 5)  # whether one edge tells of another
    assert (orders == rows[:, 3].view(-1, 5)).float().mean().item() == pytest.approx(0.2, abs=0.03)


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
