"""NAO's alphabet in every space, and how its network is fitted and judged."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.nao.learning import Settings, fit, pairwise_accuracy, scaled
from controller.nao.network import START, EncoderPredictorDecoder, Tokens
from controller.positions import CellPositions
from controller.sampling import uniform
from ops.genotype import SHARINGS, num_cells
from ops.space import SLNAS, SPACES, edges
from tests.genes import source


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(SPACES)), st.sampled_from(list(SHARINGS)), st.integers(1, 5), st.integers(0, 2**40))
def test_tokens_of_genotypes_are_legal_and_read_back_in_every_space(space, sharing, cells, seed):
    sharing = SPACES[space].sharing or sharing
    cells = {"type": 2, "network": 1}.get(sharing, cells)
    alphabet = Tokens(CellPositions(cells, sharing, space))
    genotypes = uniform(6, cells, sharing, source(seed), space)
    tokens = alphabet.encode(genotypes)
    assert tokens.shape == (6, alphabet.length)
    assert alphabet.legal.gather(1, tokens.T).all()
    assert not alphabet.legal[:, START].any()
    assert alphabet.decode(tokens) == list(genotypes)


@pytest.mark.parametrize("space", sorted(SPACES))
def test_whatever_an_untrained_network_decodes_is_a_genotype(space):
    sharing = SPACES[space].sharing or "type"
    alphabet = Tokens(CellPositions(num_cells(sharing, ()), sharing, space))
    torch.manual_seed(0)
    network = EncoderPredictorDecoder(alphabet.vocabulary, at_once=alphabet.at_once).eval()
    with torch.no_grad():
        network.decoder.classifier.weight *= 300
    tokens, log_probs = network.decoder.greedy(torch.randn(40, alphabet.length // alphabet.at_once, 96), alphabet)
    assert len(set(alphabet.decode(tokens))) > 20, "which validates each integer"
    assert log_probs.exp().sum(dim=2) == pytest.approx(1, abs=1e-5)


def test_the_two_inputs_of_a_node_differ_where_a_space_asks_for_that():
    for space in ("darts", "slnas"):
        alphabet = Tokens(CellPositions(2, "type", space))
        torch.manual_seed(0)
        network = EncoderPredictorDecoder(alphabet.vocabulary).eval()
        decoded = alphabet.decode(network.decoder.greedy(torch.randn(40, 20, 96), alphabet)[0])
        pairs = [pair for genotype in decoded for cell in genotype.cells for pair in edges(cell)]
        assert any(one.input == other.input for one, other in pairs) == (space == "slnas")


def test_swapped_tokens_are_the_same_networks_with_one_node_of_each_cell_written_otherwise():
    alphabet = Tokens(CellPositions(2, "type"))
    genotypes = uniform(50, 2, "type", source())
    torch.manual_seed(1)
    swapped = alphabet.decode(alphabet.swapped(alphabet.encode(genotypes)))
    differing = []
    for before, after in zip(genotypes, swapped, strict=True):
        assert before.canonical() == after.canonical()
        for cell, other in zip(before.cells, after.cells, strict=True):
            pairs = zip(edges(cell), edges(other), strict=True)
            differing.append([n for n, (one, two) in enumerate(pairs) if one != two])
    assert {len(nodes) for nodes in differing} <= {0, 1}, "equal edges swap unseen"
    assert {n for nodes in differing for n in nodes} == set(range(SLNAS.nodes))


def test_fitting_lowers_the_loss_and_comes_from_the_seed_alone():
    alphabet, found = Tokens(CellPositions(2, "type")), []
    tokens = alphabet.encode(uniform(20, 2, "type", source()))
    for epochs in (1, 25, 25):
        torch.manual_seed(0)
        network = EncoderPredictorDecoder(alphabet.vocabulary)
        found.append(fit(network, tokens, torch.linspace(0, 1, 20), Settings(epochs=epochs), alphabet.swapped))
    assert found[1] < 0.9 * found[0]
    assert found[1] == found[2]
    assert not network.training


def test_scores_are_scaled_from_the_worst_to_the_best():
    assert scaled([20.0, 10.0, 15.0]).tolist() == [1, 0, 0.5]
    assert scaled([3.0, 3.0]).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("predicted", "scores", "accuracy"),
    [
        ([0.1, 0.2, 0.3], [1, 2, 3], 1),
        ([0.1, 0.2, 0.3], [1, 3, 2], 2 / 3),
        ([0.1, 0.2, 0.3], [3, 2, 1], 0),
        ([0.1, 0.2, 0.2], [1, 2, 3], 2.5 / 3),
        ([0.1, 0.2, 0.3], [5, 5, 6], 1),
        ([0.1, 0.2], [5, 5], None),
        ([0.1], [5], None),
    ],
)
def test_pairwise_accuracy_by_hand(predicted, scores, accuracy):
    assert pairwise_accuracy(predicted, scores) == (None if accuracy is None else pytest.approx(accuracy))
