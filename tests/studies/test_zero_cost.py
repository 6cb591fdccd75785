"""Scores without training against a table, as users run them; see studies/zero_cost.py."""

import json

import pytest
from scipy import stats

from models.deployment import Deployment
from ops.genotype import Genotype
from studies import zero_cost
from studies.table_reader import SHIPPED, read_table

pytestmark = pytest.mark.pictures


def study(result, *more: str) -> int:
    """Run a study in this process; its exit status."""
    try:
        return zero_cost.main(["--save", "s", "--result", str(result), "--genotypes", "12", *more])
    except SystemExit as end:
        return end.code


def test_correlations_are_those_of_scores_that_are_counted(tmp_path):
    assert study(tmp_path, "--rankers", "macs,synflow", "--judged_by", "cifar100_val") == 0
    folder = tmp_path / "studies" / "s"
    document = json.loads((folder / "study.json").read_text())
    config = zero_cost.ZeroCostConfig(save="s", result=str(tmp_path), genotypes=12, judged_by="cifar100_val")
    drawn, table = zero_cost.prepare(config, None).genotypes, read_table(SHIPPED)
    assert len(set(drawn)) == 12
    deployment = Deployment(zero_cost.SPEC, "network", 32)
    macs = [deployment.cost(Genotype((encoding,), "network", "nasbench201")).macs for encoding in drawn]
    true = [table.measure(encoding, "cifar100_val") for encoding in drawn]
    assert document["rankers"]["macs"]["spearman"] == pytest.approx(stats.spearmanr(macs, true).statistic)
    assert document["rankers"]["macs"]["kendall"] == pytest.approx(stats.kendalltau(macs, true).statistic)
    assert list(document["rankers"]) == ["macs", "synflow"]
    assert (folder / "zero_cost.png").stat().st_size > 3000
    # Pieces are there: another judge, and one ranker less, need no new scores.
    before = {path: path.stat().st_mtime_ns for path in folder.glob("scores/*")}
    assert study(tmp_path, "--rankers", "macs") == 0
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("scores/*")}


def test_networks_without_a_way_through_have_no_score_of_flow():
    values = zero_cost.scores("synflow", [(0,) * 6, (1, 0, 0, 0, 1, 0), (3,) * 6], seed=0)["scores"]
    assert values[0] is None
    assert values[1] < values[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rankers", "nwot"], "--rankers: nwot is none of parameters, macs, synflow"),
        (["--judged_by", "accuracy"], "--judged_by: accuracy is none of the measures"),
        (["--", "--epochs", "3"], "nothing stands behind --"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(words, said, tmp_path, capfd):
    assert study(tmp_path, *words) == 2
    assert said in capfd.readouterr().err
    assert not (tmp_path / "studies").exists()
