import json
import math
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness import scalars
from utils.reports.log import RunLog, make_folder, write_json
from utils.system.errors import UsageError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_json_round_trip(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value


def test_what_json_has_no_word_for(tmp_path):
    value = {"nan": math.nan, "list": [math.inf, (1, -math.inf)], "path": Path("a"), 3: "number as key"}
    write_json(tmp_path / "a.json", value)
    expected = {"nan": None, "list": [None, [1, None]], "path": "a", "3": "number as key"}
    assert json.loads((tmp_path / "a.json").read_text()) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_lists_of_numbers_take_one_line(tmp_path):
    write_json(tmp_path / "a.json", {"cells": [[1, 2], [3, 4]]})
    assert "[1, 2]" in (tmp_path / "a.json").read_text()


def test_two_runs_in_the_same_second_get_two_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda _format: "2026-01-02-03h04m05s")
    folders = [make_folder(str(tmp_path), "search", "EXP") for _ in range(3)]
    assert len(set(folders)) == 3
    assert all(folder.is_dir() and folder.parent == tmp_path / "search" for folder in folders)
    assert folders[0].name == "EXP-2026-01-02-03h04m05s"


def test_folder_names_are_safe_everywhere(tmp_path):
    name = make_folder(str(tmp_path), "retrain", "EXP").name
    assert name.replace("-", "").replace("EXP", "").replace("h", "").replace("m", "").replace("s", "").isdigit()


@pytest.mark.parametrize("result", ["file", "file/below", "a\0b"])
def test_a_folder_that_cannot_be_made_is_refused(tmp_path, result):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as error:
        make_folder(str(tmp_path / result), "search", "EXP")
    assert "search" in str(error.value)


def test_lines_metrics_and_events(tmp_path, capsys):
    log = RunLog()
    log.line("before")
    log.open(tmp_path)
    log.line("seen")
    log.detail("hidden", quiet=True)
    log.epoch(0, {"a/b": 1.5, "a/nan": math.nan})
    log.epoch(1, {"a/b": 2.5})
    log.close()
    assert capsys.readouterr().out == "before\nseen\n"
    assert [line.split("  ")[1] for line in (tmp_path / "log.txt").read_text().splitlines()] == [
        "before",
        "seen",
        "hidden",
    ]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"epoch": 0, "a/b": 1.5, "a/nan": None}, {"epoch": 1, "a/b": 2.5}]
    assert scalars(tmp_path)["a/b"] == [(0, 1.5), (1, 2.5)]


def test_a_silent_log_writes_and_prints_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    log = RunLog(silent=True)
    log.line("a")
    log.detail("b", quiet=False)
    log.epoch(0, {"c": 1.0})
    log.close()
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out == ""


def test_a_purged_step_is_shown_once(tmp_path):
    for purge, value in ((None, 1.0), (1, 2.0)):
        log = RunLog()
        log.open(tmp_path, purge_step=purge)
        for epoch in range(purge or 0, 3):
            log.epoch(epoch, {"a": value})
        log.close()
        if purge is None:
            time.sleep(1.1)  # event files are named by the second
    assert scalars(tmp_path)["a"] == [(0, 1.0), (1, 2.0), (2, 2.0)]
