"""What holds for every data set, and the command itself."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.prepare.command import SETS, main
from data.prepare.pictures import Picture, divide
from tests.miniature import LAYOUTS, class_folders, prepare, record, refused, rubbish, tree

CASES = [(name, rule) for name in LAYOUTS for rule in SETS[name].rules]


@pytest.mark.parametrize(("name", "rule"), CASES)
def test_the_record_tells_the_source_of_each_image_and_what_was_not_taken(name, rule, sources, tmp_path):
    assert prepare(name, sources[name], tmp_path / "out", "--split", rule) == 0
    said = record(tmp_path / "out")
    assert (said["rule"], said["seed"], said["num_classes"]) == (rule, 0, len(SETS[name].classes))
    assert json.loads((tmp_path / "out" / "classes.json").read_text()) == sorted(SETS[name].classes)
    files = tree(tmp_path / "out")
    del files["split.json"], files["classes.json"]
    origins = {f"{side}/{file}": origin for side in said["files"] for file, origin in said["files"][side].items()}
    assert files == {file: (sources[name] / origin).read_bytes() for file, origin in origins.items()}
    assert len(set(origins.values())) == len(origins)
    for side in ("train", "val"):
        assert sorted(path.name for path in (tmp_path / "out" / side).iterdir()) == sorted(SETS[name].classes)
        assert said["counts"][side] == Counter(file.split("/")[0] for file in said["files"][side])
        assert said["totals"][side] == len(said["files"][side])
    assert not any(part.startswith(".") or part == "test" for file in origins.values() for part in Path(file).parts)


@pytest.mark.parametrize("name", ["aid", "sport8", "mit67", "plantvillage"])
def test_a_seed_repeats_its_split_and_another_draws_anew(name, sources, tmp_path):
    rule = ["--split", "80-20"] if name == "mit67" else []
    for out, flags in (("a", []), ("b", []), ("c", ["--seed", "1"])):
        assert prepare(name, sources[name], tmp_path / out, *rule, *flags) == 0
    a, b, c = (record(tmp_path / out) for out in "abc")
    assert a["files"] == b["files"]
    assert a["files"] != c["files"]
    assert a["counts"] == c["counts"] or name == "plantvillage"


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 99), st.integers(0, 3))
def test_a_ratio_takes_its_share_of_each_class_whatever_the_order_of_the_files(data, percent, seed):
    sizes = data.draw(st.lists(st.integers(2, 50), min_size=1, max_size=4))
    pictures = [Picture(Path(f"{n}.jpg"), f"c{label}") for label, size in enumerate(sizes) for n in range(size)]
    rule = SETS["aid"].rules["ratio"]
    sides = divide(rule, pictures, seed, percent / 100)
    train, val = sides["train"], sides["val"]
    assert sides == divide(rule, data.draw(st.permutations(pictures)), seed, percent / 100)
    assert sorted(train + val, key=str) == sorted(pictures, key=str)
    for label, size in enumerate(sizes):
        number = sum(image.label == f"c{label}" for image in train)
        assert number == min(max(1, int(Fraction(percent, 100) * size)), size - 1)


@pytest.mark.parametrize("name", sorted(LAYOUTS.keys() - {"flowers102"}))  # whose labels say how many there are
def test_another_number_of_classes_is_refused_with_names(name, tmp_path, capsys):
    classes = SETS[name].classes
    source = class_folders(tmp_path / "source", [*classes[1:], "Novel", "Other"], 2)
    rubbish(source, classes[1])
    assert prepare(name, source, tmp_path / "out") == 2
    refused(capsys, f"{len(classes) + 1} class folders", f"{len(classes)} classes", classes[0], "Novel, Other")
    shutil.rmtree(source / "Novel")
    for label in ("Other", classes[1]):
        shutil.rmtree(source / label)
    (source / classes[0]).mkdir()
    (source / classes[1]).mkdir()
    assert prepare(name, source, tmp_path / "out") == 2
    refused(capsys, "without an image", classes[0], classes[1])
    assert os.listdir(tmp_path) == ["source"]


def test_an_output_folder_with_something_in_it_is_left_alone(sources, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    assert prepare("sport8", sources["sport8"], out) == 0  # empty: fine
    before = tree(out)
    capsys.readouterr()
    assert prepare("sport8", sources["sport8"], out, "--seed", "1") == 2
    refused(capsys, "not empty")
    assert tree(out) == before
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_fault_while_writing_leaves_everything_as_it_was(fault, sources, tmp_path, capsys, monkeypatch):
    copied = []

    def copy(source, target):
        copied.append(target)
        if len(copied) == 20:
            raise fault
        Path(target).write_bytes(b"half")

    monkeypatch.setattr(shutil, "copyfile", copy)
    assert prepare("sport8", sources["sport8"], tmp_path / "new" / "out") == 1
    refused(capsys, "nothing was left behind")
    assert os.listdir(tmp_path) == []


WRONG = [
    (["mars", "--source", ".", "--out", "o"], "no known data set"),
    (["aid", "--out", "o"], "--source"),
    (["aid", "--source", "nowhere", "--out", "o"], "nowhere"),
    (["aid", "--source", "{}", "--out", "o", "--train_ratio", "1"], "1 is not a number strictly between 0 and 1"),
    (["aid", "--source", "{}", "--out", "o", "--train_ratio", "nan"], "nan"),
    (["aid", "--source", "{}", "--out", "o", "--split", "80-20"], "ratio"),
    (["sport8", "--source", "{}", "--out", "o", "--train_ratio", "0.5"], "means nothing for sport8"),
    (["sport8", "--source", "{}", "--out", "o", "--seed", "-1"], "-1"),
    (["aid", "--source", "{}", "--out", "{}/o"], "in one another"),
    (["aid", "--source", "{}", "--out", "o\0"], "no possible path"),
    (["aid", "--source", "{}", "--out", "o"], "no class folders such as Airport"),
]


@pytest.mark.parametrize(("argv", "part"), WRONG)
def test_wrong_use_is_one_line_and_status_2(argv, part, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main([text.format(tmp_path / "empty") for text in argv]) == 2
    refused(capsys, part)
    assert os.listdir(tmp_path) == ["empty"]


def test_the_real_command(sources, tmp_path, capsys):
    root = Path(__file__).resolve().parents[3]
    run = [sys.executable, "-m", "data.prepare", "aid", "--source", ".", "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(run, cwd=sources["aid"] / "AID", env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "30 classes, 60 train and 60 val images" in done.stdout
    assert prepare("aid", sources["aid"] / "AID", tmp_path / "out") == 2
    refused(capsys, "--out is not empty")
