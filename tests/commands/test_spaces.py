"""Spaces other than our own go through a real search, its derivation and a real retraining."""

import json

import pytest

from models.network import Network
from tests.harness import DIGITS, SCRIPTS, only_run, refusal, result_of, weights
from utils.system import checkpoint

SMALL = [*DIGITS, "--image_size", "8", "--no-tensorboard", "--epochs", "1", "--train_images", "200"]
SEARCH = ["--space", "darts", "--controller_steps", "1", "--valid_steps", "1", "--derive_samples", "2"]


def start(kind, result, *flags) -> int:
    return SCRIPTS[kind].main([*SMALL, "--result", str(result), *flags])


@pytest.mark.parametrize("searcher", ["random", "rl"])
def test_darts_is_searched_derived_and_retrained(searcher, tmp_path):
    depth = ["--layers", "3", "--deploy_layers", "3"]
    assert start("search", tmp_path, *SEARCH, *depth, "--searcher", searcher) == 0
    found = only_run(tmp_path, "search")
    document = json.loads((found / "genotypes.json").read_text())
    assert (document["space"], document["blocks"], document["stem"]) == ("darts", [3], "plain")
    best = document["candidates"][0]
    assert start("retrain", tmp_path, "--arch", f"{found / 'genotypes.json'}#0") == 0
    run = only_run(tmp_path, "retrain")
    assert result_of(run)["genotype"] == best["cells"]
    network = Network.from_arguments(checkpoint.load(run / "checkpoint.pt")["network"])
    network.load_state_dict(weights(run))
    assert network.num_parameters - network.num_aux_parameters == best["parameters"]
    assert network.num_aux_parameters == best["aux_parameters"] > 0


def test_published_cells_with_nodes_and_outputs_of_their_own_are_retrained(tmp_path):
    assert start("retrain", tmp_path, "--arch", "AmoebaNet", "--layers", "3", "--drop_prob", "0.2") == 0
    arguments = checkpoint.load(only_run(tmp_path, "retrain") / "checkpoint.pt")["network"]
    assert len(arguments["concat"]) == 2
    assert len(arguments["cells"][0]) == 20


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--arch", "DARTS_V2", "--space", "enas"], "darts"),
        (["--arch", "DARTS_V3"], "DARTS_V2"),
        (["--arch", "DARTS_V2", "--blocks", "[1]"], "--layers"),
        (["--arch", "DARTS_V2", "--stem", "full", "--layers", "3"], "plain or imagenet"),
    ],
)
def test_what_a_space_cannot_have_is_one_line(flags, said, tmp_path, capsys):
    assert said in refusal("retrain", capsys, "--data", "digits", "--result", str(tmp_path), *flags)
    assert not list(tmp_path.iterdir())
