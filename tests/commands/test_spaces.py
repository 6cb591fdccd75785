"""Spaces other than our own go through a real search, its derivation and a real retraining."""

import json
import signal

import pytest
import torch

from models.network import Network
from ops.genotype import Genotype
from ops.named import NAMED
from ops.space import ENAS
from tests.harness import (
    SCRIPTS,
    candidates,
    job,
    metrics,
    only_run,
    refusal,
    result_of,
    stop_after,
    together,
    weights,
)

SMALL = ["--data", "digits", "--train_images", "200", "--image_size", "16", "--child_out_filters", "4"]
SMALL += ["--batch_size", "40", "--epochs", "2", "--device", "cpu", "--no-tensorboard"]
SEARCH = [*SMALL, "--space", "enas", "--searcher", "random", "--layers", "1", "--deploy_layers", "2", "--save", "tiny"]
SEARCH += ["--controller_steps", "2", "--valid_steps", "1", "--derive_samples", "3"]


def start(kind: str, result, *flags: str) -> int:
    try:
        return SCRIPTS[kind].main([*flags, "--result", str(result)])
    except SystemExit as end:
        return end.code


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of an uninterrupted search."""
    result = tmp_path_factory.mktemp("search")
    assert start("search", result, *SEARCH) == 0
    return only_run(result, "search")


def test_a_search_writes_genotypes_of_its_space_that_are_retrained_as_counted(searched, tmp_path, capsys):
    document = json.loads((searched / "genotypes.json").read_text())
    assert (document["space"], document["blocks"]) == ("enas", [2])
    best = document["candidates"][0]
    genotype = Genotype.from_lists(best["cells"], space="enas")
    assert [len(cell) for cell in genotype.cells] == [ENAS.length] * 2
    assert {line["shared/drop_path"] for line in metrics(searched)} == {0}
    assert start("retrain", tmp_path, *SMALL, "--arch", str(searched / "genotypes.json"), "--epochs", "1") == 0
    state = torch.load(only_run(tmp_path, "retrain") / "checkpoint.pt", weights_only=True)
    network = Network.from_arguments(state["network"])
    assert (network.genotype, network.spec.blocks, len(network.blocks)) == (genotype, (2,), 4)
    assert best["parameters"] == network.num_parameters - network.num_aux_parameters
    assert best["aux_parameters"] == network.num_aux_parameters


def test_darts_is_searched_derived_and_retrained(tmp_path):
    small = [*SMALL, "--image_size", "8", "--epochs", "1"]
    search = "--space darts --controller_steps 1 --valid_steps 1 --derive_samples 2 --layers 3 --deploy_layers 3"
    assert start("search", tmp_path, *small, *search.split()) == 0
    found = only_run(tmp_path, "search")
    document = json.loads((found / "genotypes.json").read_text())
    assert (document["space"], document["blocks"], document["stem"]) == ("darts", [3], "plain")
    best = document["candidates"][0]
    assert start("retrain", tmp_path, *small, "--arch", f"{found / 'genotypes.json'}#0") == 0
    run = only_run(tmp_path, "retrain")
    assert result_of(run)["genotype"] == best["cells"]
    network = Network.from_arguments(torch.load(run / "checkpoint.pt", weights_only=True)["network"])
    network.load_state_dict(weights(run))
    assert network.num_parameters - network.num_aux_parameters == best["parameters"]
    assert network.num_aux_parameters == best["aux_parameters"] > 0


def test_published_cells_with_nodes_and_outputs_of_their_own_are_retrained(tmp_path):
    flags = ["--image_size", "8", "--epochs", "1", "--layers", "3", "--drop_prob", "0.2"]
    assert start("retrain", tmp_path, *SMALL, "--arch", "AmoebaNet", *flags) == 0
    arguments = torch.load(only_run(tmp_path, "retrain") / "checkpoint.pt", weights_only=True)["network"]
    assert len(arguments["concat"]) == 2
    assert len(arguments["cells"][0]) == 20


def test_a_stopped_search_goes_on_bit_for_bit(searched, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 5, signal.SIGTERM)
        assert start("search", tmp_path, *SEARCH) == 128 + signal.SIGTERM
    assert start("search", tmp_path, *SEARCH, "--resume", "auto") == 0
    folder = only_run(tmp_path, "search")
    assert metrics(folder) == metrics(searched)
    assert candidates(folder) == candidates(searched)
    mine, theirs = weights(folder), weights(searched)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_two_processes_hold_the_same_weights(tmp_path):
    done = together(job(tmp_path, "search", "--epochs", "1", "--batch_size", "20", base=SEARCH))
    assert done.returncode == 0, done.stderr
    folder = only_run(tmp_path, "search")
    ranks = [torch.load(tmp_path / f"epoch1-rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for key, value in weights(folder).items():
        assert torch.equal(ranks[0][key], ranks[1][key]), key
        assert torch.equal(ranks[0][key], value), key
    assert len(candidates(folder)) == 3


def test_a_published_architecture_is_retrained_by_name_and_goes_on_bit_for_bit(tmp_path, monkeypatch):
    flags = [*SMALL, "--arch", "ENAS", "--layers", "1", "--save", "one"]
    assert start("retrain", tmp_path / "straight", *flags) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 7, signal.SIGTERM)
        assert start("retrain", tmp_path / "stopped", *flags) == 128 + signal.SIGTERM
    assert start("retrain", tmp_path / "stopped", *flags, "--resume", "auto") == 0
    straight, stopped = (only_run(tmp_path / way, "retrain") for way in ("straight", "stopped"))
    assert metrics(straight) == metrics(stopped)
    left, right = weights(straight), weights(stopped)
    assert all(torch.equal(left[key], right[key]) for key in left)


def test_naonet_is_retrained_and_evaluated_by_name(tmp_path):
    assert start("retrain", tmp_path, *SMALL, "--arch", "NAONet", "--layers", "1", "--epochs", "1") == 0
    path = only_run(tmp_path, "retrain") / "checkpoint.pt"
    state = torch.load(path, weights_only=True)["network"]
    assert (state["space"], state["cells"]) == ("nao", [list(cell) for cell in NAMED["NAONet-B"].cells])
    assert SCRIPTS["retrain"].main(["--evaluate", str(path), "--device", "cpu"]) == 0


def test_what_the_spaces_do_not_have_is_refused(searched, tmp_path, capsys):
    result = ["--result", str(tmp_path)]
    assert "nao has no supernet" in refusal("search", capsys, *SMALL, "--space", "nao", *result)
    arch = ["--arch", str(searched / "genotypes.json")]
    assert "is of the space" in refusal("retrain", capsys, *SMALL, *arch, "--space", "darts", *result)
    inherit = ["--inherit", str(searched), "--layers", "1"]
    assert "other weights" in refusal("retrain", capsys, *SMALL, *arch, *inherit, *result)
    assert "give --layers" in refusal("retrain", capsys, *SMALL, *arch, "--blocks", "[1,1]", *result)
    for flags, named in (
        (["--arch", "DARTS_V2", "--space", "enas"], "darts"),
        (["--arch", "DARTS_V3"], "DARTS_V2"),
        (["--arch", "DARTS_V2", "--blocks", "[1]"], "--layers"),
        (["--arch", "DARTS_V2", "--stem", "full", "--layers", "3"], "plain or imagenet"),
    ):
        assert named in refusal("retrain", capsys, *SMALL, *flags, *result)
    assert not list(tmp_path.iterdir())
