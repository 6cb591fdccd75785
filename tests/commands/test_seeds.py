"""Several seeds: a run each, and what they gave together; see runs.py."""

import json
import statistics

import pytest

from tests.harness import SMALL, metrics, result_of, start


def test_seeds_have_a_folder_each_and_are_not_trained_again(tmp_path, capsys):
    few = [*SMALL, "--epochs", "1", "--train_images", "160"]
    flags = [*few, "--seeds", "4,1", "--resume", "auto"]
    assert start("retrain", tmp_path, *flags) == 0
    report = json.loads((tmp_path / "retrain" / "tiny-seeds.json").read_text())
    folders = {seed: next((tmp_path / "retrain").glob(f"tiny-seed{seed}-*")) for seed in (4, 1)}
    values = [result_of(folders[seed])["val_top1"] for seed in (4, 1)]
    assert report["val_top1"] == {"4": values[0], "1": values[1]}
    assert report["mean"] == pytest.approx(sum(values) / 2)
    assert report["deviation"] == pytest.approx(statistics.stdev(values))
    for seed, folder in folders.items():
        assert json.loads((folder / "config.json").read_text())["flags"]["seed"] == seed
    assert f"{report['mean']:.2f} +- {report['deviation']:.2f}" in capsys.readouterr().out
    files = {path: path.stat().st_mtime_ns for folder in folders.values() for path in folder.iterdir()}
    assert start("retrain", tmp_path, *flags) == 0
    assert capsys.readouterr().out.count("complete") == 2
    assert {path: path.stat().st_mtime_ns for folder in folders.values() for path in folder.iterdir()} == files
    assert len(list((tmp_path / "retrain").iterdir())) == 3
    assert json.loads((tmp_path / "retrain" / "tiny-seeds.json").read_text()) == report
    assert start("retrain", tmp_path, *few, "--seed", "1", "--save", "one") == 0
    [alone] = (tmp_path / "retrain").glob("one-*")
    assert metrics(alone) == metrics(folders[1])
    assert metrics(folders[1])[0]["train/loss"] != metrics(folders[4])[0]["train/loss"]


def test_seeds_can_be_added_and_other_settings_leave_the_summary(tmp_path):
    flags = [*SMALL, "--epochs", "1", "--train_images", "160"]
    base = tmp_path / "retrain"

    def summary(name: str) -> dict:
        return json.loads((base / f"tiny-{name}.json").read_text())

    assert start("retrain", tmp_path, *flags, "--seeds", "0,1") == 0
    first = summary("seeds")
    assert start("retrain", tmp_path, *flags, "--seeds", "5") == 0
    assert summary("seeds")["val_top1"] == {**summary("seeds")["val_top1"], **first["val_top1"]}
    assert set(summary("seeds")["val_top1"]) == {"0", "1", "5"}
    assert summary("seeds")["mean"] == pytest.approx(statistics.mean(summary("seeds")["val_top1"].values()))
    second = summary("seeds")
    assert start("retrain", tmp_path, *flags, "--seeds", "5,6", "--weight_decay", "0.1") == 0
    assert summary("seeds") == second
    assert set(summary("seeds-2")["val_top1"]) == {"5", "6"}
