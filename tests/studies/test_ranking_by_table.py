"""A study of rankings whose truth is a table; see studies/ranking.py."""

import json

import pytest
from scipy import stats

from studies import ranking
from studies.table_reader import SHIPPED, read_table
from tests.harness import run

pytestmark = pytest.mark.pictures

SPACE = ["--space", "nasbench201", "--blocks", "[1,1,1]", "--child_out_filters", "4"]
SMALL = ["--data", "digits", "--train_images", "120", "--epochs", "1", "--batch_size", "60", "--valid_steps", "1"]
SMALL += ["--image_size", "16", "--controller_steps", "1", "--derive_samples", "1", "--top_k", "1", "--device", "cpu"]


def test_a_table_stands_for_trainings(tmp_path):
    search = run("search", tmp_path, *SPACE, *SMALL)
    words = [str(search), "--genotypes", "12", "--rankers", "parameters,macs", "--result", str(tmp_path)]
    assert ranking.main([*words, "--table", "nasbench201", "--judged_by", "cifar100_test"]) == 0
    document = json.loads((tmp_path / "studies" / "study" / "study.json").read_text())
    table = read_table(SHIPPED)
    true = [row["alone"][0]["valid/top1"] for row in document["genotypes"]]
    assert set(true) <= set(table.columns["cifar100_test"])
    for ranker, by_result in document["rankers"].items():
        assert list(by_result) == ["top1"], "a table has no loss"
        tau = stats.kendalltau(true, [row["scores"][ranker] for row in document["genotypes"]]).statistic
        assert by_result["top1"]["tau"][0] == pytest.approx(tau)
    assert not (tmp_path / "studies/study/standalone").exists()


def test_a_table_of_another_space_is_refused(searched, tmp_path, capfd):
    with pytest.raises(SystemExit) as end:
        ranking.main([str(searched), "--genotypes", "5", "--table", "nasbench201", "--result", str(tmp_path)])
    assert end.value.code == 2
    assert "--table nasbench201 has no [[" in capfd.readouterr().err
