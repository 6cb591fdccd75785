"""What tasks change of a run."""

import pytest
import torch

from engine.configuration import parse_retrain, parse_search
from engine.tasks import PRETEXTS, TASKS
from models.network import Network
from ops.genotype import Genotype
from utils.runs.handover import retrain_command
from utils.runs.resume import flags_of


@pytest.mark.parametrize(("parse", "batch"), [(parse_search, 96), (parse_retrain, 32)])
def test_rotation_halves_batch_and_learning_rate_unless_they_are_given(parse, batch):
    plain, turned = parse([]), parse(["--task", "rotation"])
    assert (plain.batch_size, plain.child_lr_max) == (batch, 0.025)
    assert (turned.batch_size, turned.child_lr_max) == (batch // 2, 0.0125)
    given = parse(["--task", "rotation", "--batch_size", "60", "--child_lr_max", "0.1"])
    assert (given.batch_size, given.child_lr_max) == (60, 0.1)
    assert parse(["--task", "jigsaw"]).batch_size == batch
    if parse is parse_search:
        assert parse(["--task", "rotation", "--recipe", "tuned"]).child_lr_max == 0.05


@pytest.mark.parametrize("task", PRETEXTS)
def test_the_command_to_retrain_is_that_of_labels(task, tmp_path):
    searched, plain = (flags_of(parse_search(["--task", t, "--num_class", "30"])) for t in (task, "classify"))
    command = retrain_command(searched, TASKS[task].retrained_as, tmp_path / "genotypes.json", 0)
    assert "--task" not in command
    assert command == retrain_command(plain, "classify", tmp_path / "genotypes.json", 0)


def test_the_head_of_a_jigsaw_joins_the_tiles_of_an_image_and_of_no_other():
    torch.manual_seed(0)
    network = Network(Genotype.widest(2), (0, 0), 4, 24, stem="full", head="jigsaw").eval()
    assert network.head.in_features == 4 * 16
    assert network.aux_heads[0].in_features == 4 * 8
    tiles = torch.randn(8, 3, 12, 12)
    with torch.no_grad():
        logits, aux = network(tiles)
        assert logits.shape == aux[0].shape == (2, 24)
        torch.testing.assert_close(network(tiles[4:])[0], logits[1:], rtol=1e-4, atol=1e-6)
        swapped = tiles[[1, 0, 2, 3, 4, 5, 6, 7]]
        assert not torch.allclose(network(swapped)[0][0], logits[0])
        means = network.features(tiles, network.genotype).last.mean((2, 3))  # (8, C)
        joined = torch.cat([means[4 + i] for i in range(4)])
        torch.testing.assert_close(network.head.weight @ joined, logits[1])
        assert network(tiles[:0])[0].shape == (0, 24), "a process may have no image of a batch"
