"""A small search by NAO as users run it: its report, going on, several processes, refusals."""

import json
import signal

import pytest
import torch

from tests.harness import candidates, finished, job, metrics, only_run, refusal, result_of, start, stop_after, together

POOL = ["--nao_pool", "6", "--nao_replace", "3", "--nao_best", "2", "--nao_epochs", "2"]
NAO = ["--searcher", "nao", *POOL, "--controller_samples", "2", "--batch_size", "160", "--train_images", "480"]
NAO += ["--image_size", "16", "--no-tensorboard"]
ROUND = ("nao_loss", "nao_reconstruction_error", "nao_decoded", "nao_fresh", "nao_pairwise_accuracy")


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Three epochs, each of which scores the pool once: rounds end at the start of the second and of the third."""
    return finished("search", tmp_path_factory.mktemp("nao"), *NAO, "--epochs", "3")


def test_each_round_is_logged_in_its_epoch_and_the_report_adds_up(searched):
    logged = [{name for name in ROUND if f"controller/{name}" in record} for record in metrics(searched)]
    assert logged == [set(), set(ROUND[:4]), set(ROUND)]
    assert [record["controller/nao_rounds"] for record in metrics(searched)] == [0, 1, 2]
    for record in metrics(searched)[1:]:
        assert record["controller/nao_decoded"] + record["controller/nao_fresh"] == 3
    report = result_of(searched)["nao"]
    assert report["top"] == len(candidates(searched)) == 3
    assert sum(report[f"top_from_{origin}"] for origin in ("seed", "decoded", "fresh")) == 3
    assert (report["rounds"], report["decoded"] + report["fresh"]) == (2, 6)
    assert 0 <= report["pairwise_accuracy"] <= 1
    assert json.loads((searched / "report.json").read_text())["nao"] == report


def test_the_candidates_are_the_best_of_the_pool(searched):
    members = torch.load(searched / "checkpoint.pt", weights_only=True)["extras"]["strategy"]["pool"]["members"]
    best = sorted(members, key=lambda member: -member[2])[:3]
    assert sorted(cells for cells, _ in candidates(searched)) == sorted(member[0] for member in best)


def test_a_stopped_search_goes_on_bit_for_bit(searched, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:  # an epoch: 3 steps on the weights, 3 asks, 2 reports
        stop_after(patch, 8 + 3 + 2, signal.SIGTERM)
        assert start("search", tmp_path, *NAO, "--epochs", "3") == 128 + signal.SIGTERM
    folder = only_run(tmp_path, "search")
    position = torch.load(folder / "checkpoint.pt", weights_only=True)["position"]
    assert (position["epoch"], position["phase"], position["step"]) == (1, "strategy", 2)
    assert start("search", tmp_path, *NAO, "--resume", "auto") == 0
    assert metrics(folder) == metrics(searched)
    assert candidates(folder) == candidates(searched)
    assert result_of(folder)["nao"] == result_of(searched)["nao"]
    states = [torch.load(f / "checkpoint.pt", weights_only=True)["extras"]["strategy"] for f in (folder, searched)]
    assert states[0]["pool"] == states[1]["pool"]
    assert all(torch.equal(value, states[1]["network"][key]) for key, value in states[0]["network"].items())


def test_two_processes_have_the_same_pool_and_network_under_a_limit_that_one_of_them_measures(tmp_path):
    done = together(job(tmp_path, "search", *NAO, "--epochs", "2", "--max_latency_ms", "1e6"))
    assert done.returncode == 0, done.stderr
    states = [torch.load(tmp_path / f"strategy2-rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name in ("pool", "counts", "quality"):
        assert states[0][name] == states[1][name]
    assert states[0]["counts"]["rounds"] == 1
    assert all(torch.equal(value, states[1]["network"][key]) for key, value in states[0]["network"].items())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--nao_pool", "300"], "--nao_replace 300 leaves nothing of --nao_pool 300"),
        (["--nao_pool", "60", "--nao_replace", "30"], "--nao_best 100 is more than --nao_pool 60 has"),
        (["--nao_epochs", "0"], "--nao_epochs"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused_in_one_line(flags, said, capsys):
    assert said in refusal("search", capsys, "--searcher", "nao", *flags)
