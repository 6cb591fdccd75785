"""Edges of our own space that mix what they read and do, in place of choosing."""

import pytest
import torch
from torch import nn

from controller.sampling import uniform
from models.staged import mixed
from models.supernet import SuperNet
from ops.mixture import MixedEdge, MixedEdges
from tests.genes import source


def one_hot(encoding) -> MixedEdges:
    """The weights that leave of an edge what the encoding chooses."""
    inputs, operations = torch.zeros(10, 6, dtype=torch.float64), torch.zeros(10, 5, dtype=torch.float64)
    inputs[range(10), encoding[0::2]] = 1
    operations[range(10), encoding[1::2]] = 1
    return MixedEdges(inputs, operations)


class HalfSoft:
    """A genotype whose normal cells, or all, are given as weights."""

    def __init__(self, genotype, all_cells=False):
        self.genotype, self.all_cells = genotype, all_cells

    def cell(self, stage, block, is_reduction):
        encoding = self.genotype.cell(stage, block, is_reduction)
        return encoding if is_reduction and not self.all_cells else one_hot(encoding)


@pytest.fixture(scope="module")
def supernet():
    torch.manual_seed(0)
    return SuperNet((1, 1), 4, 10, stem="full").double().eval()


@pytest.mark.parametrize("seed", range(3))
def test_weights_that_leave_one_input_and_operation_are_the_path_in_normal_cells(supernet, seed):
    [genotype] = uniform(1, 2, "type", source(seed))
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        path, soft = (supernet(images, g)[0] for g in (genotype, HalfSoft(genotype)))
        torch.testing.assert_close(soft, path, rtol=1e-12, atol=1e-12)
        assert torch.isfinite(supernet(images, HalfSoft(genotype, all_cells=True))[0]).all()


def test_states_and_results_of_other_sizes_are_resized_to_the_largest():
    states = [torch.ones(1, 2, 4, 4), 2 * torch.ones(1, 2, 2, 2)]
    operations = [nn.Identity(), nn.AvgPool2d(2)]
    out = mixed(operations, states, MixedEdge(torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])))
    torch.testing.assert_close(out, torch.full((1, 2, 4, 4), 1.5))
