"""Files in tests/old, which the program wrote at commit 42b7a3c: they are read as they were then.

There, a retraining of three epochs (``--data digits --blocks [1] --child_out_filters 2 --stem quarter --epochs 3
--batch_size 32 --image_size 16``) left the checkpoint, ``--evaluate`` on it printed the numbers, and a search of one
epoch left the genotypes.
"""

import json

import pytest
import torch

import retrainer_cifar
from ops.genotype import Genotype, parse_genotype
from tests.harness import ROOT, evaluated, only_run, result_of

OLD = ROOT / "tests" / "old"
CHECKPOINT, GENOTYPES = OLD / "retrain-checkpoint.pt", OLD / "genotypes.json"


def test_an_old_checkpoint_evaluates_to_the_numbers_of_its_time(capsys):
    assert CHECKPOINT.stat().st_size < 200_000
    now = evaluated(capsys, CHECKPOINT, "--data", "digits", "--device", "cpu")
    then = json.loads((OLD / "numbers.json").read_text())
    for figures in (now, then):
        figures.update({f"class {name}": share for name, share in figures.pop("per_class").items()})
    assert now == pytest.approx(then, rel=1e-5)


def test_training_goes_on_from_an_old_checkpoint(tmp_path):
    folder = tmp_path / "retrain" / "old-2026-01-01-00h00m00s"
    folder.mkdir(parents=True)
    state = torch.load(CHECKPOINT, weights_only=True)
    (folder / "checkpoint.pt").write_bytes(CHECKPOINT.read_bytes())
    flags = ["--save", "old", "--result", str(tmp_path), "--resume", "auto", "--epochs", "4", "--no-tensorboard"]
    assert retrainer_cifar.main([*flags, "--device", "cpu"]) == 0
    again = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert (state["position"]["epoch"], again["position"]["epoch"]) == (3, 4)
    assert again["model"].keys() == state["model"].keys()


@pytest.mark.parametrize("rank", [0, 1])
def test_old_genotypes_parse_to_the_same_cells(rank):
    cells = json.loads(GENOTYPES.read_text())["candidates"][rank]["cells"]
    assert parse_genotype(f"{GENOTYPES}#{rank}") == Genotype.from_lists(cells, "type")


def test_old_genotypes_are_trained_as_the_network_that_was_promised(tmp_path):
    promised = json.loads(GENOTYPES.read_text())["candidates"][0]
    flags = ["--data", "digits", "--child_out_filters", "4", "--image_size", "16", "--batch_size", "500"]
    more = ["--epochs", "1", "--no-tensorboard", "--device", "cpu", "--result", str(tmp_path)]
    assert retrainer_cifar.main([*flags, *more, "--arch", f"{GENOTYPES}#0"]) == 0
    result = result_of(only_run(tmp_path, "retrain"))
    assert result["genotype"] == promised["cells"]
    for fact in ("parameters", "aux_parameters", "macs"):
        assert result[fact] == promised[fact], fact
