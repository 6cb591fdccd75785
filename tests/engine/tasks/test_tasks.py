"""What tasks change of a run."""

import pytest

from engine.configuration import parse_retrain, parse_search
from engine.tasks import TASKS
from utils.runs.handover import retrain_command
from utils.runs.resume import flags_of


@pytest.mark.parametrize(("parse", "batch"), [(parse_search, 96), (parse_retrain, 32)])
def test_rotation_halves_batch_and_learning_rate_unless_they_are_given(parse, batch):
    plain, turned = parse([]), parse(["--task", "rotation"])
    assert (plain.batch_size, plain.child_lr_max) == (batch, 0.025)
    assert (turned.batch_size, turned.child_lr_max) == (batch // 2, 0.0125)
    given = parse(["--task", "rotation", "--batch_size", "60", "--child_lr_max", "0.1"])
    assert (given.batch_size, given.child_lr_max) == (60, 0.1)
    if parse is parse_search:
        assert parse(["--task", "rotation", "--recipe", "tuned"]).child_lr_max == 0.05


def test_the_command_to_retrain_is_that_of_labels(tmp_path):
    searched, plain = (flags_of(parse_search(["--task", t, "--num_class", "30"])) for t in ("rotation", "classify"))
    command = retrain_command(searched, TASKS["rotation"].retrained_as, tmp_path / "genotypes.json", 0)
    assert "--task" not in command
    assert command == retrain_command(plain, "classify", tmp_path / "genotypes.json", 0)
