"""A measure that a run may not have is left out of what several seeds gave together."""

import json

import pytest

from engine.seeds import summarise


def folders(base, values):
    found = {}
    for seed, value in enumerate(values):
        found[seed] = base / f"a-seed{seed}-2026"
        found[seed].mkdir()
        (found[seed] / "result.json").write_text(json.dumps({"val_ap": value}))
        (found[seed] / "config.json").write_text("{}")
    return found


@pytest.mark.parametrize(("values", "mean"), [([1.0, None, 4.0], 2.5), ([3.0, None], 3.0), ([3.0], 3.0)])
def test_the_mean_is_over_those_that_have_one(values, mean, tmp_path):
    said = summarise(folders(tmp_path, values), tmp_path, "a", "ap", "AP")
    kept = json.loads((tmp_path / "a-seeds.json").read_text())
    assert kept["mean"] == mean
    assert kept["val_ap"] == {str(seed): value for seed, value in enumerate(values)}
    assert f"{mean:.2f}" in said


def test_where_no_seed_has_one_that_is_said(tmp_path):
    said = summarise(folders(tmp_path, [None, None]), tmp_path, "a", "ap", "AP")
    assert said == "val AP over 2 seeds: none of them has any"
