"""Whatever is given to a flag, a command goes on or refuses: status 2, one line, no traceback, and at once."""

import io
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness import SCRIPTS
from utils.config import RetrainConfig, SearchConfig
from utils.config.flags import flags_in

FLAGS = {"search": sorted(flags_in(SearchConfig)), "retrain": sorted(flags_in(RetrainConfig))}
ODD = ["", " ", "0", "-1", "1", "2", "nan", "inf", "-inf", "1e-300", "1e30", "1000000", "9" * 400, "0x10", "1_0", "٣"]
ODD += ["[]", "[0]", "[1,1]", "[1e3]", "{}", "null", "true", "None", "[" * 3000, f"[{'1,' * 3000}1]", '{"a":' * 500]
ODD += [".", "/", "/dev/null", "/proc/self/mem", "~", "~nobody", "x" * 5000, "a\0b", "a\nb", "\udce4", "花", "--epochs"]
VALUES = st.one_of(st.sampled_from(ODD), st.text(max_size=20), st.integers().map(str), st.floats().map(str))


def words(kind: str):
    """Up to three flags with a value each."""
    pair = st.tuples(st.sampled_from(FLAGS[kind]), VALUES).map(lambda pair: f"--{pair[0]}={pair[1]}")
    return st.lists(pair, min_size=1, max_size=3)


@pytest.mark.parametrize("kind", SCRIPTS)
def test_no_value_of_any_flag_is_a_fault(kind, tmp_path, monkeypatch):
    """The data are not there, so that a command that takes its flags is refused too."""
    monkeypatch.chdir(tmp_path)

    @settings(max_examples=200, deadline=timedelta(seconds=2), derandomize=True, database=None)
    @given(words(kind))
    def refused(given: list[str]) -> None:
        error, status = io.StringIO(), None
        with redirect_stderr(error), redirect_stdout(io.StringIO()):
            try:
                status = SCRIPTS[kind].main([*given, "--data=nowhere"])
            except SystemExit as end:
                status = end.code
        assert status == 2, error.getvalue()
        assert error.getvalue().count("\n") == 1
        assert "Traceback" not in error.getvalue()

    refused()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
