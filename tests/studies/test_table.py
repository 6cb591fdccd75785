"""Comparisons of strategies on a table as users run them, on small made-up tables; see studies/table.py."""

import json
import signal
from itertools import product

import pytest

from studies import study, table
from studies.table import search
from studies.table_reader import read_table
from studies.table_report import regrets
from tests.studies.stopping import make_until_the_third

pytestmark = pytest.mark.pictures

SEARCHERS = ["rl", "random", "evolution", "regularized_evolution", "predictor", "nao"]


def rows_of(sizes, missing=()) -> str:
    """A table in which every position adds its option to both measures, and the judge also knows the first one."""
    lines = ["cell,seen,judged"]
    for options in product(*map(range, sizes)):
        if options not in missing:
            total = sum(options)
            lines.append(f"{''.join(map(str, options))},{total},{10 * total + options[0]}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def small(tmp_path):
    """A table of 54 genotypes, of which one in six is missing."""
    path = tmp_path / "small.csv"
    path.write_text(rows_of((3, 3, 2, 3), missing={(a, b, 0, 0) for a in range(3) for b in range(3)}))
    return path


def compare(path, result, *more: str) -> int:
    """Run a comparison in this process; its exit status."""
    words = ["--table", str(path), "--save", "s", "--result", str(result), "--signal", "seen", "--judged_by", "judged"]
    try:
        return table.main([*words, "--searchers", ",".join(SEARCHERS), "--seeds", "4", "--queries", "5,30", *more])
    except SystemExit as end:
        return end.code


def written(result) -> dict:
    """study.json, but for what a clock says."""
    document = json.loads((result / "studies" / "s" / "study.json").read_text())
    for facts in document["searchers"].values():
        del facts["seconds_a_query"]
    return document


def test_the_same_seeds_give_the_same_regrets_in_one_and_in_two_processes_and_after_a_stop(
    small, tmp_path, monkeypatch
):
    assert compare(small, tmp_path / "one") == 0
    assert compare(small, tmp_path / "two", "--jobs", "2") == 0
    with monkeypatch.context() as patch:
        patch.setattr(study, "make", make_until_the_third)
        assert compare(small, tmp_path / "stopped") == 128 + signal.SIGTERM
    assert not (tmp_path / "stopped/studies/s/study.json").exists()
    assert compare(small, tmp_path / "stopped") == 0
    whole = written(tmp_path / "one")
    assert whole == written(tmp_path / "two") == written(tmp_path / "stopped")
    assert list(whole["regret"]) == SEARCHERS
    for name, by_queries in whole["regret"].items():
        assert list(by_queries) == ["5", "30"]
        assert all(len(row["seeds"]) == 4 and row["mean"] >= 0 for row in by_queries.values())
        assert by_queries["30"]["mean"] <= by_queries["5"]["mean"], "on this table a better signal is a better network"
        assert whole["searchers"][name]["outside"] > 0, "nine genotypes are missing"
        assert (name in whole["against random"]) == (name != "random")
    assert whole["settings"]["genotypes"] == 45
    assert (tmp_path / "one/studies/s/regret.png").stat().st_size > 5000
    # Another judge, and more seeds, take what is there; another signal is another study.
    assert compare(small, tmp_path / "one", "--judged_by", "seen", "--seeds", "5") == 0
    assert written(tmp_path / "one")["regret"]["random"]["30"]["seeds"][:4] != []
    assert compare(small, tmp_path / "one", "--signal", "judged") == 2


def test_regret_is_that_of_the_best_signal_so_far(small):
    networks = read_table(small)
    trace = {"asked": ["0010", "2001", "1101", "2210", "0010"]}  # signals 1, 3, 3, 5, 1
    best = 10 * 7 + 2 + 0  # 2212
    assert networks.best("judged") == best + 0
    assert regrets(trace, networks, "seen", "judged") == [best - 10, best - 32, best - 32, best - 52, best - 52]


def test_strategies_are_told_the_signal_alone_and_a_genotype_that_comes_again_is_a_query(small):
    told = []

    class Repeater:
        def ask(self, n, generator, fits=None):
            assert not fits((0, 0, 0, 0)), "this one is missing"
            assert fits((2, 2, 1, 2))
            return ((2, 2, 1, 2),) * n

        def tell(self, scores):
            told.extend(scores)

    trace = search(Repeater(), read_table(small), "seen", queries=7, n=3, generator=None)
    assert trace["asked"] == ["2212"] * 7
    assert trace["outside"] == 3
    assert told == [7.0] * 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--signal", "accuracy"], "--signal: accuracy is none of the measures seen, judged"),
        (["--searchers", "rl,darts"], "--searchers: darts is none of"),
        (["--seeds", "1"], "2 searches or more"),
        (["--queries", "0"], "--queries"),
        (["--table", "nowhere.csv"], "--table nowhere.csv cannot be read"),
        (["--", "--epochs", "3"], "--epochs cannot stand behind --"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(words, said, small, tmp_path, capfd):
    assert compare(small, tmp_path, *words) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "studies").exists()
