"""The measurements run, and what they compute from times is right. None of this says how fast anything is."""

import json
import math

import pytest
import torch

from benchmarks import common, scaling, steps
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


@pytest.mark.parametrize("flags", [["--only", ",".join(QUICK)], ["--only", "retrain_step", "--channels_last"]])
def test_every_number_is_finite_and_positive(flags, tmp_path, capsys):
    found = measured(steps.main, tmp_path, *flags)
    assert list(found["work"]) == flags[1].split(","), "what was asked for, in that order"
    for name, summary in found["work"].items():
        assert all(math.isfinite(n) and n > 0 for n in numbers(summary)), name
        assert summary["min_s"] <= summary["median_s"] <= summary["max_s"]
    shown = capsys.readouterr().out
    assert all(name in shown for name in found["work"])
    assert found["machine"]["matrix_fp32_gflops"] > 0
    assert found["machine"]["copy_gbytes_per_s"] > 0


def test_the_shares_of_a_search_epoch_are_its_whole_time(tmp_path, capsys):
    [summary] = measured(steps.main, tmp_path, "--only", "search_epoch")["work"].values()
    shares = summary["shares"]
    assert sum(shares.values()) == pytest.approx(1)
    assert all(0 < share < 1 for share in shares.values())
    assert summary["images_per_s"] == pytest.approx(80 / summary["median_s"])
    assert "search_epoch: weights" in capsys.readouterr().out


@pytest.mark.parametrize("power", [0.3, 1.0, 1.7])
def test_a_known_exponent_is_found(power):
    work = [1e9, 3e9, 4e9, 20e9]
    times = [2e-3 * w**power for w in work]
    assert scaling.exponent(work, times) == pytest.approx(power)
    assert scaling.steepest(work, times) == pytest.approx(power)


def test_a_cliff_shows_in_the_steepest_part_alone():
    times = [1.0, 2.0, 8.0, 16.0]  # doubling the work takes four times as long, once
    assert scaling.steepest([1, 2, 4, 8], times) == pytest.approx(2)
    assert scaling.exponent([1, 2, 4, 8], times) < 2


def test_a_straight_line_has_the_same_marginal_cost_everywhere():
    work = [4.0, 5.0, 7.0, 11.0, 12.0]
    assert scaling.marginal(work, [3 * w - 9 for w in work]) == pytest.approx(1)
    assert scaling.exponent(work, [3 * w - 9 for w in work]) > scaling.LIMIT, "which the slope cannot tell"
    assert scaling.marginal(work, [w**2 for w in work]) > 1.5


def test_worse_than_linear_is_marked(monkeypatch, capsys, tmp_path):
    def quadratic(_s: Settings, *, filters: int, blocks: int, batch: int) -> dict[str, float]:
        time = (filters * blocks * batch) ** (2 if batch == scaling.TINY_BASE["batch"] else 1)
        return {"flop": 1e9 * filters * blocks * batch, "median_s": time, "min_s": time, "max_s": time}

    monkeypatch.setattr(scaling, "point", quadratic)
    found = measured(scaling.main, tmp_path, "--only", "filters")["curves"]
    assert found["filters"]["worse_than_linear"]
    assert found["filters"]["exponent"] == pytest.approx(2)
    assert "WORSE THAN LINEAR" in capsys.readouterr().out


def test_points_of_an_axis_lie_in_the_order_of_their_work(tmp_path, capsys):
    [curve] = measured(scaling.main, tmp_path, "--only", "batch")["curves"].values()
    work = [point["flop"] for point in curve["points"]]
    assert work == sorted(set(work))
    assert all(math.isfinite(n) and n > 0 for n in numbers(curve["points"]))
    [small, *_, large] = curve["points"]
    assert large["flop"] / small["flop"] == large["batch"] / small["batch"]


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
    ("main", "flags"),
    [
        (steps.main, ["--only", "retrain_stepp"]),
        (steps.main, ["--repeats", "0"]),
        (steps.main, ["--precision", "fp16"]),
        (steps.main, ["--device", "nothing"]),
        (steps.main, ["--rep", "1"]),
        (scaling.main, ["--only", "depth"]),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(main, flags, capsys):
    with pytest.raises(SystemExit) as end:
        main(flags)
    assert end.value.code == 2
    assert capsys.readouterr().out == ""
