"""The script that counts how readable a checkout is, on a small one made here and on this repository."""

import json

import pytest

from benchmarks import house

LONG = "def long():\n" + "    pass\n" * 60
UTILS = '''"""A module."""

# why
def shown():
    """Yes."""
    def inner():  # noqa: E306
        pass


class Open:
    """Yes."""

    def bare(self): ...
    def _hidden(self): ...
'''


@pytest.fixture
def checkout(tmp_path):
    """A script without any docstring, and a room utils/; tests do not count."""
    for room in ("utils", "tests"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").touch()
    (tmp_path / "script.py").write_text(LONG)
    (tmp_path / "utils" / "a.py").write_text(UTILS)
    (tmp_path / "tests" / "test_a.py").write_text(LONG * 3)
    return tmp_path


def test_every_count_of_a_small_checkout(checkout):
    lines = 61 + len(UTILS.splitlines())
    assert house.count(checkout) == {
        "files": 3,
        "lines": lines,
        "longest_file": ["script.py", 61],
        "longest_function": ["script.py:long", 61],
        "long_functions": ["script.py:long"],
        "utils_share": pytest.approx(1 - 61 / lines),
        "undocumented": ["script.py", "script.py:long", "utils/a.py:Open.bare"],
        "comments_per_100_lines": pytest.approx(100 / lines),
    }


def test_a_folder_without_a_program_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        house.main([str(tmp_path)])
    assert end.value.code == 2
    assert "no Python file" in capsys.readouterr().err


def test_it_runs_on_this_repository_as_json_and_as_a_table(capsys):
    assert house.main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["lines"] > 5000
    assert 0 < found["utils_share"] < 1
    assert house.main([]) == 0
    assert f"longest file  {found['longest_file'][1]} lines" in capsys.readouterr().out
