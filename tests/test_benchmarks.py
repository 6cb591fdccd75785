"""The measurements run, and what they compute from times is right. None of this says how fast anything is."""

import json
import math
from multiprocessing import get_context

import pytest
import torch

from benchmarks import common, growth, steps
from benchmarks.common import Settings
from benchmarks.workloads import genotypes
from engine.precision import Precision

CPU = torch.device("cpu")
QUICK = [name for name in steps.WORK if name != "search_epoch"]


def numbers(value) -> list[float]:
    """All numbers in nested plain values; booleans are none."""
    if isinstance(value, dict):
        return [n for v in value.values() for n in numbers(v)]
    if isinstance(value, list):
        return [n for v in value for n in numbers(v)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def measured(main, tmp_path, *flags: str) -> dict:
    path = tmp_path / "found.json"
    assert main(["--tiny", "--repeats", "1", "--json", str(path), *flags]) == 0
    return json.loads(path.read_text())


@pytest.mark.parametrize("flags", [["--only", ",".join(QUICK)], ["--only", "retrain_step", "--no-compile"]])
def test_every_number_is_finite_and_positive(flags, tmp_path, capsys):
    found = measured(steps.main, tmp_path, *flags)
    assert list(found["work"]) == flags[1].split(","), "what was asked for, in that order"
    for name, summary in found["work"].items():
        assert all(math.isfinite(n) and n > 0 for n in numbers(summary)), name
        assert summary["min_s"] <= summary["median_s"] <= summary["max_s"]
    shown = capsys.readouterr().out
    assert all(name in shown for name in found["work"])


def test_growth_is_measured_and_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(growth, "CURVES", {"filters": (4, 8), "blocks": (1,), "batch": (16,), "candidates": (2,)})
    monkeypatch.setattr(growth, "START", {"filters": 4, "blocks": 1, "batch": 16})
    monkeypatch.setattr(growth, "get_context", lambda _method: get_context("fork"))  # with the sizes above
    monkeypatch.setattr(growth, "SCRIPTS", {})  # which take a minute
    out, path = tmp_path / "growth.png", tmp_path / "growth.json"
    assert growth.main(["--tiny", "--out", str(out), "--json", str(path)]) == 0
    found = json.loads(path.read_text())["curves"]
    assert [p["value"] for p in found["filters"]] == [4, 8]
    assert all(p["seconds"] > 0 and p["macs"] > 0 for points in found.values() for p in points)
    assert out.exists()


def test_the_shares_of_a_search_epoch_are_its_whole_time(tmp_path, capsys):
    [summary] = measured(steps.main, tmp_path, "--only", "search_epoch")["work"].values()
    shares = summary["shares"]
    assert sum(shares.values()) == pytest.approx(1)
    assert all(0 < share < 1 for share in shares.values())
    assert summary["images_per_s"] == pytest.approx(80 / summary["median_s"])
    assert "search_epoch: weights" in capsys.readouterr().out


def test_a_row_computes_rates_per_piece():
    row = common.Row([2.0, 4.0, 3.0, 6.0], images=12, flops=[4e9, 8e9], per=2, rate=20e9)
    found = row.summary()
    assert (found["median_s"], found["min_s"], found["max_s"]) == (1.75, 1.0, 3.0)
    assert found["images_per_s"] == pytest.approx(6 / 1.75)
    assert found["share_of_matrix_rate"] == pytest.approx((4 / 3 + 2) / 2 / 20), "median over 2, 2, 4/3, 4/3 GFLOP/s"


def test_every_call_but_the_warm_up_is_timed():
    called = []
    times = common.measure([lambda: called.append("a"), lambda: called.append("b")], 3, CPU, warmup=2)
    assert "".join(called) == "abab" + "ababab"
    assert len(times) == 6


def test_the_list_of_genotypes_is_fixed_and_longer_than_a_few():
    s = Settings(CPU, Precision)
    assert genotypes(s) == genotypes(s)
    assert len(set(genotypes(s))) == 20


@pytest.mark.parametrize(
    "flags", ["--only retrain_stepp", "--repeats 0", "--precision fp16", "--device nothing", "--rep 1"]
)
def test_what_cannot_be_is_refused_before_anything_is_measured(flags, capsys):
    with pytest.raises(SystemExit) as end:
        steps.main(flags.split())
    assert end.value.code == 2
    assert capsys.readouterr().out == ""
