"""Evaluating a checkpoint from elsewhere, and flags that have no part in it; see runs.py."""

import pytest
import torch

from tests.harness import SMALL, evaluated, finished, refused
from utils.system.checkpoint import save


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A retraining with an average of weights on the digits."""
    flags = [*SMALL, "--epochs", "1", "--train_images", "320", "--ema", "0.9"]
    return finished("retrain", tmp_path_factory.mktemp("digits"), *flags)


@pytest.mark.parametrize("name", ["module.{}", "_orig_mod.module.{}"])
def test_names_that_wrappers_add_change_no_figure_of_an_average_of_weights(name, digits, tmp_path, capsys):
    """Of one that stopped within an epoch, whose average has old statistics."""
    state = torch.load(digits / "checkpoint.pt", weights_only=True)
    average = state["extras"]["average"]["weights"]
    for key in [key for key in average if "running_mean" in key]:
        average[key] = average[key] + 1
    found = []
    for renamed in ("{}", name):
        state["model"] = {renamed.format(key): value for key, value in state["model"].items()}
        state["extras"]["average"]["weights"] = {renamed.format(key): value for key, value in average.items()}
        save(tmp_path / "odd.pt", state)
        found.append(evaluated(capsys, tmp_path / "odd.pt"))
    assert found[0] == found[1] == evaluated(capsys, digits / "checkpoint.pt")


@pytest.mark.parametrize(
    "flags",
    [
        ["--arch", str([[0, 3] * 10, [1, 4] * 10])],
        ["--blocks", "[2]"],
        ["--child_out_filters", "6"],
        ["--stem", "full"],
        ["--antialias", "none"],
        ["--no-child_use_aux_heads"],
        ["--num_class", "12"],
        ["--image_size", "32"],
        ["--inherit", "somewhere"],
        ["--resume", "auto"],
        ["--seeds", "0,1"],
    ],
    ids=lambda flags: flags[0],
)
def test_a_flag_that_an_evaluation_would_ignore_is_refused_by_name(flags, digits, capsys):
    assert flags[0].replace("no-", "") in refused(capsys, "--evaluate", digits / "checkpoint.pt", *flags)


def test_flags_that_agree_with_the_evaluated_network_are_taken(digits, capsys):
    flags = [
        "--blocks",
        "[1]",
        "--child_out_filters",
        "4",
        "--arch",
        str(torch.load(digits / "best.pt")["network"]["cells"]),
    ]
    assert evaluated(capsys, digits / "checkpoint.pt", *flags) == evaluated(capsys, digits / "checkpoint.pt")
