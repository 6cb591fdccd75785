"""Finals of a search: what they record, and that they go on, whoever makes them."""

import errno
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from engine import jobs
from tests.cutouts import scenes
from tests.harness import TINY_SEARCH, genotypes, interrupted, job, only_run, refusal, result_of, run, together
from utils.system import checkpoint

IMAGES = 200
FINALS = (
    f"--train_images {IMAGES} --batch_size 40 --image_size 16 --epochs 1 --derive_samples 5 --no-tensorboard "
    "--seed 5 --canonical --rank_by parameters,shared --finals 4 --final_epochs 1 --finals_start shared"
).split()
COMMAND = [*TINY_SEARCH, *FINALS]
SCRATCH = "--recipe halving --epochs 0 --derive_samples 5 --finals 4 --final_epochs 1 --rank_by macs".split()


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search with four finals and then two, in one go."""
    return run("search", tmp_path_factory.mktemp("finals"), *FINALS, "--tensorboard")


def finals_of(folder: Path) -> dict[str, dict]:
    return {path.name: json.loads(path.read_text()) for path in sorted((folder / "finals").glob("*.json"))}


def same_finals(a: Path, b: Path) -> None:
    """Assert that two searches trained the same finals, and rank the same candidates by them, to the last bit."""
    assert finals_of(a) == finals_of(b)
    assert genotypes(a)["candidates"] == genotypes(b)["candidates"]
    assert not list((a / "finals").glob("*.pt"))


def test_finalists_come_first_in_the_order_of_how_far_they_came_and_what_they_reached(searched):
    candidates = genotypes(searched)["candidates"]
    finals = [c["final"] for c in candidates if "final" in c]
    assert [("final" in c) for c in candidates] == [True] * 4 + [False]
    assert [final["round"] for final in finals] == [1, 1, 0, 0]
    assert [final["epochs"] for final in finals] == [3, 3, 1, 1]
    for pair in (finals[:2], finals[2:]):
        assert pair[0]["score"] >= pair[1]["score"]
    assert all({"parameters", "shared"} == set(c["scores"]) for c in candidates)
    assert {final["start"] for final in finals} == {"shared"}


def test_images_are_counted_and_what_finals_changed_is_said(searched):
    finals = result_of(searched)["finals"]
    scored = genotypes(searched)["reward_images"]
    [epoch] = map(json.loads, (searched / "metrics.jsonl").read_text().splitlines())
    trained = epoch["images/trained"]
    assert finals["images"] == 4 * (trained + scored) + 2 * (3 * trained + scored)
    others = epoch["images/trained"] + epoch["images/scored"] + genotypes(searched)["ranked"] * scored
    assert finals["images_of_all"] == finals["images"] + others
    share = f"{100 * finals['images'] / finals['images_of_all']:.1f} %"
    log = (searched / "log.txt").read_text()
    assert f"finals: {share} of the images of this search; the winner was {finals['winner_before']} of 5 by" in log
    assert set(finals["tau"]) == {"parameters", "shared"}
    assert "| rank | final | epochs | score | parameters | shared |" in (searched / "report.md").read_text()
    assert (searched / "finals.png").is_file()
    events = EventAccumulator(str(searched), size_guidance={"images": 0}).Reload()
    assert "genotype/finals" in events.Tags()["images"]


def test_a_stop_in_any_final_goes_on_to_the_same_bits(searched, tmp_path):
    words = ["--result", str(tmp_path), "--tensorboard"]
    steps = 4 + 5 * 5  # of the epoch and the ranking; of the first finals on there are four a final's epoch

    def begin() -> int:
        return status([*COMMAND, *words])

    def go_on() -> int:
        return status([*COMMAND, *words, "--resume", "auto"])

    interrupted(begin, go_on, steps, steps + 6, steps + 21, steps + 40)
    same_finals(only_run(tmp_path, "search"), searched)


def status(words: list[str]) -> int:
    import train_search_cifar

    try:
        return train_search_cifar.main(words)
    except SystemExit as end:
        return end.code


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a process")
def test_a_killed_search_repeats_an_epoch_of_one_final_at_most(searched, tmp_path):
    words = [*COMMAND, "--result", str(tmp_path), "--resume", "auto"]
    child = os.fork()
    if child == 0:
        os._exit(status(words))
    while not list(tmp_path.glob("search/*/finals/*-shared1-3-1.pt")):  # the first epoch of a second round
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it goes on"
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    folder = only_run(tmp_path, "search")
    before = {path: path.stat().st_mtime_ns for path in (folder / "finals").glob("*.json")}
    assert len(before) >= 4
    assert status(words) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    same_finals(folder, searched)


@pytest.mark.usefixtures("server_of_jobs")
@pytest.mark.parametrize(("where", "number"), [([], 2), (["--cluster", "local"], 1)])
def test_jobs_train_the_same_finals(where, number, searched, tmp_path):
    """Those of the first round that are missing; a job of a cluster is a new process, which takes long to start."""
    folder = shutil.copytree(searched, tmp_path / "search" / searched.name)
    first_round = sorted((folder / "finals").glob("*-1-*.json"))
    for missing in (*first_round[:number], folder / "result.json"):
        missing.unlink()
    assert status([*COMMAND, "--result", str(tmp_path), "--resume", "auto", "--jobs", "2", *where]) == 0
    same_finals(folder, searched)


def test_two_processes_divide_the_finals_among_them_and_end_with_the_same(tmp_path):
    alone = run("search", tmp_path / "one", *FINALS[:6], *SCRATCH, "--no-tensorboard")
    done = together(job(tmp_path / "two", "search", *FINALS[:6], *SCRATCH, "--no-tensorboard", base=TINY_SEARCH))
    assert done.returncode == 0, done.stderr
    same_finals(only_run(tmp_path / "two", "search"), alone)
    assert {c["final"]["start"] for c in genotypes(alone)["candidates"][:4]} == {"scratch"}
    assert not (alone / "metrics.jsonl").exists(), "no epoch of shared weights"


def test_a_full_disk_ends_in_one_line_and_the_same_command_goes_on(searched, tmp_path, capsys, monkeypatch):
    real = checkpoint.save

    def full(path, state):
        if path.parent.name == "finals" and "-3-1" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, state)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", full)
        assert status([*COMMAND, "--result", str(tmp_path)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "No space left on device" in line
    assert status([*COMMAND, "--result", str(tmp_path), "--resume", "auto"]) == 0
    same_finals(only_run(tmp_path, "search"), searched)


SMALLEST = (
    "--child_out_filters 4 --epochs 1 --controller_steps 0 --valid_steps 0 --device cpu --derive_samples 3 --finals 2 "
    "--final_epochs 1 --finals_start shared --no-tensorboard"
).split()
DIGITS = "--data digits --train_images 80 --batch_size 20 --image_size 16"
KINDS = {  # the flags of a search, and what its finals begin with
    "rotation": (f"{DIGITS} --blocks [1] --task rotation", "shared"),
    "segment": ("--blocks [1] --task segment --image_size 16 --batch_size 8 --workers 0", "shared"),
    "nasbench201": (f"{DIGITS} --blocks [1,1] --space nasbench201", "shared"),
    "darts": (f"{DIGITS} --space darts --searcher random --layers 3 --deploy_layers 3", "scratch"),
    "enas": (f"{DIGITS} --space enas --layers 1 --deploy_layers 2", "scratch"),
    "wider": (f"{DIGITS} --blocks [1] --deploy_filters 6", "scratch"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_finals_of_other_tasks_and_spaces_begin_with_shared_weights_where_these_are_theirs(kind, tmp_path):
    flags, start = KINDS[kind]
    data = ["--data", str(scenes(tmp_path / "data", number=20, size=16))] if kind == "segment" else []
    assert status([*SMALLEST, *flags.split(), *data, "--result", str(tmp_path)]) == 0
    first, second, *others = genotypes(only_run(tmp_path, "search"))["candidates"]
    assert [c["final"]["start"] for c in (first, second)] == [start, start]
    assert first["final"]["score"] >= second["final"]["score"] > 0
    assert not any("final" in c for c in others)


def test_a_search_that_goes_on_trains_its_finals_anew_where_they_begin_with_other_shared_weights(searched, tmp_path):
    folder = tmp_path / "search" / searched.name
    shutil.copytree(searched, folder)
    before = finals_of(folder)
    assert status([*COMMAND, "--result", str(tmp_path), "--resume", str(folder), "--epochs", "2"]) == 0
    added = finals_of(folder).keys() - before.keys()
    assert len([name for name in added if "-shared2-" in name]) == 6
    assert [c["final"]["start"] for c in genotypes(folder)["candidates"] if "final" in c] == 4 * ["shared"]


def test_more_finals_than_candidates_are_all_of_them(tmp_path, capsys):
    folder = run("search", tmp_path, *FINALS, "--derive_samples", "2", "--finals", "50")
    assert "--finals 50: there are 2 different candidates, and all of them are trained" in capsys.readouterr().out
    assert all("final" in c for c in genotypes(folder)["candidates"])


def test_what_cannot_be_is_refused_before_any_work(tmp_path, capsys, monkeypatch):
    assert "no srun" in refusal("search", capsys, *TINY_SEARCH, "--result", str(tmp_path), "--cluster", "slurm")
    monkeypatch.setattr(jobs, "find_spec", lambda _name: None)
    refused = {
        "compares nothing": ["--finals", "1"],
        "derives one genotype": ["--finals", "4", "--searcher", "darts"],
        "trains no shared weights": ["--epochs", "0"],
        "has no scores": ["--epochs", "0", "--rank_by", "macs"],
        "--slurm is for": ["--slurm", "partition=gpu"],
        "is not name=value": ["--slurm", "gpu", "--cluster", "slurm"],
        "requirements-optional.txt": ["--cluster", "local"],
        "'luck' is none of": ["--rank_by", "macs,luck"],
        "invalid choice": ["--finals_start", "warm"],
        "too small for 5 stages": ["--finals", "2", "--deploy_blocks", "[0,0,0,0,0]"],
    }
    for text, flags in refused.items():
        assert text in refusal("search", capsys, *TINY_SEARCH, "--result", str(tmp_path), *flags), flags
    assert not list(tmp_path.iterdir())
    assert "trains nothing" in refusal("retrain", capsys, "--data", "digits", "--epochs", "0")
