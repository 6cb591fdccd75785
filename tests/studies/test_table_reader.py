"""Tables of trained networks: what is read from them, and which of them are refused."""

import gzip
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from studies.table_reader import SHIPPED, read_table
from utils.system.errors import UsageError

HEAD = "cell,val,test\n"


def written(folder, text: str, name: str = "table.csv"):
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_what_was_written_is_read_whatever_the_order_of_the_rows(tmp_path_factory, options, random):
    cells = list(itertools.product(*map(range, options)))
    values = {cell: round(random.uniform(0, 100), 3) for cell in cells}
    random.shuffle(cells)
    lines = [f"{''.join(map(str, cell))},{values[cell]},{-values[cell]}" for cell in cells]
    name = random.choice(["table.csv", "table.csv.gz"])
    table = read_table(written(tmp_path_factory.mktemp("table"), HEAD + "\n".join(lines) + "\n", name))
    assert table.options == tuple(options)
    assert table.is_complete
    assert {cell: table.measure(cell, "val") for cell in cells} == values
    assert table.best("test") == -min(values.values())


def test_a_table_with_gaps_is_known_to_be_one(tmp_path):
    table = read_table(written(tmp_path, HEAD + "00,1,1\n12,3,2\n"))
    assert table.options == (2, 3)
    assert not table.is_complete
    assert (1, 2) in table
    assert (1, 1) not in table


def test_one_row_is_a_table(tmp_path):
    table = read_table(written(tmp_path, HEAD + "000,7.5,7\n"))
    assert (len(table), table.options, table.is_complete, table.best("val")) == (1, (1, 1, 1), True, 7.5)


def test_the_shipped_table_is_whole_and_read_in_an_instant():
    began = time.process_time()
    table = read_table(SHIPPED)
    assert time.process_time() - began < 1
    assert table.options == (5,) * 6
    assert table.is_complete
    assert table.best("cifar10_test") == pytest.approx(89.16, abs=0.005)
    tau = stats.kendalltau(table.columns["cifar10_val"], table.columns["cifar10_test"]).statistic
    assert tau == pytest.approx(0.84, abs=0.005)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["first line"]),
        ("cell\n0\n", ["first line", "measure"]),
        ("cell,val,val\n0,1,2\n", ["first line", "once"]),
        (HEAD, ["first line", "follows"]),
        (HEAD + "00,1,1\n01,2,2\n00,1,1\n", ["line 4", "00,1,1", "no line before has"]),
        (HEAD + "00,1\n", ["line 2", "00,1", "2 finite numbers"]),
        (HEAD + "0a,1,1\n", ["line 2", "0a", "digits"]),
        (HEAD + "\u0661,1,1\n", ["line 2", "digits"]),
        (HEAD + ",1,1\n", ["line 2", "digits"]),
        (HEAD + "\n", ["line 2", "digits"]),
        (HEAD + "00,1,1\n012,1,1\n", ["line 3", "012", "2 digits"]),
        (HEAD + "00,1,many\n", ["line 2", "many"]),
        (HEAD + "00,nan,1\n", ["line 2", "nan"]),
    ],
)
def test_what_is_no_table_is_refused_in_one_line_that_says_where(text, words, tmp_path):
    with pytest.raises(UsageError) as refusal:
        read_table(written(tmp_path, text))
    message = str(refusal.value)
    assert "\n" not in message
    assert [word for word in ["--table", *words] if word not in message] == []


def test_files_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "plain.csv.gz").write_text(HEAD)
    (tmp_path / "cut.csv.gz").write_bytes(SHIPPED.read_bytes()[:5000])
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.csv", "plain.csv.gz", "cut.csv.gz", "binary.csv", "."):
        with pytest.raises(UsageError, match="cannot be read") as refusal:
            read_table(tmp_path / name)
        assert "\n" not in str(refusal.value)


def test_measures_that_no_table_has_are_refused(tmp_path):
    table = read_table(written(tmp_path, HEAD + "0,1,1\n"))
    table.require_measures({"signal": "val", "judged_by": "test"})
    with pytest.raises(UsageError, match=r"--judged_by.*luck.*val, test"):
        table.require_measures({"signal": "val", "judged_by": "luck"})
