"""What both commands refuse: exit status 2 and one line that names the value, before anything is made."""

import json

import pytest
from PIL import Image

from engine import setup
from engine.configuration import parse_retrain, parse_search
from tests.harness import SCRIPTS, TINY_RETRAIN, TINY_SEARCH, refusal

GOOD = [0, 1] * 10
INTEGERS = ["num_class", "image_size", "batch_size", "epochs", "child_lr_T_0", "child_lr_T_mul", "report_freq"]
COUNTS = ["cutout", "workers", "seed", "gpu"]
POSITIVE = ["child_lr_max"]
REAL = ["momentum", "weight_decay", "drop_prob", "droppath", "child_lr_min"]
OWN = {
    "search": {
        "integers": ["calibration_steps", "controller_samples", "derive_samples", "top_k"],
        "counts": ["controller_steps", "valid_steps"],
        "positive": ["controller_lr", "reward_fraction"],
        "real": ["entropy_weight", "bl_dec"],
    },
    "retrain": {"integers": [], "counts": [], "positive": ["grad_clip"], "real": ["label_smoothing", "aux_weight"]},
}
KINDS = list(SCRIPTS)


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    """No refusal makes a file; the flag that is refused comes with data that would be refused later."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.glob("**/result*"))


def flags_of(kind: str, *groups: str) -> list[str]:
    common = {"integers": INTEGERS, "counts": COUNTS, "positive": POSITIVE, "real": REAL}
    return [flag for group in groups for flag in common[group] + OWN[kind][group]]


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_are_none_are_refused_by_every_numeric_flag(kind, capsys):
    everything = flags_of(kind, "integers", "counts", "positive", "real") + ["child_out_filters"]
    for flag in everything:
        for value in ("-1", "nan", "inf", "-inf", "1e300", "9" * 30, "ten", "", "0x10", "1,5", "__import__('os')"):
            message = refusal(kind, capsys, "--data", "nowhere", f"--{flag}={value}")
            assert f"--{flag}" in message or (flag == "droppath" and "--drop_prob" in message)
            assert value in message


@pytest.mark.parametrize("kind", KINDS)
def test_zero_is_refused_where_it_means_nothing(kind, capsys):
    for flag in flags_of(kind, "integers", "positive") + ["child_out_filters"]:
        message = refusal(kind, capsys, "--data", "nowhere", f"--{flag}=0")
        assert f"--{flag}" in message
    parse = {"search": parse_search, "retrain": parse_retrain}[kind]
    for flag in flags_of(kind, "counts", "real"):
        parse([f"--{flag}", "0"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--epochs", "2.5"], "2.5"),
        (["--layers", "101"], "101"),
        (["--child_out_filters", "7"], "7"),
        (["--momentum", "1"], "1"),
        (["--drop_prob", "1"], "1"),
        (["--child_lr_min", "1"], "child_lr_max"),
        (["--nonsense"], "--nonsense"),
        (["stray"], "stray"),
        (["--epo", "3"], "--epo"),
        (["--tensorboard=False"], "--tensorboard"),
        (["--tensorboard", "False"], "False"),
        (["--data", "digits", "--device", "cpu", "--sync_bn"], "--sync_bn needs GPUs"),
        (["--stem", "half"], "half"),
        (["--device", "warp"], "warp"),
        (["--resume", "nowhere.pt"], "nowhere.pt"),
        (["--save", ""], "''"),
        (["--save", "..."], "'...'"),
    ],
    ids=" ".join,
)
def test_flags_that_cannot_be(kind, flags, named, capsys):
    assert named in refusal(kind, capsys, "--data", "nowhere", *flags)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "blocks",
    ["", "[]", "[-1]", "[true]", '["1"]', "[[1]]", "null", "{}", "[1", "[1000]", str([1] * 9), "[" * 5000],
    ids=lambda text: text[:12] or "empty",
)
def test_impossible_blocks(kind, blocks, capsys):
    message = refusal(kind, capsys, "--data", "nowhere", "--blocks", blocks)
    assert "--blocks" in message


@pytest.mark.parametrize("kind", KINDS)
def test_images_too_small_for_the_stages_are_refused_before_data_is_read(kind, capsys, monkeypatch):
    monkeypatch.setattr(setup, "load", None)  # would be a TypeError
    flags = ["--data", "digits", "--blocks", "[1,1,1,1]", "--stem", "quarter"]
    message = refusal(kind, capsys, *flags, "--image_size", "32")
    assert "image size 32" in message
    assert "4 stages" in message
    assert "image size 2 " in refusal(kind, capsys, *flags, "--image_size", "2")


@pytest.mark.parametrize("kind", KINDS)
def test_data_that_is_not_there(kind, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").touch()
    for data in ("nowhere", "empty", "file.txt", "x" * 300):
        assert data[:100] in refusal(kind, capsys, "--data", data)
    refusal(kind, capsys, "--data", "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_one_that_batch_norm_cannot_take(kind, capsys):
    flags = {"search": TINY_SEARCH, "retrain": TINY_RETRAIN}[kind]
    message = refusal(kind, capsys, *flags, "--batch_size", "1", "--image_size", "8")
    assert "batch of 1" in message
    assert "1x1" in message


@pytest.mark.parametrize(
    ("kind", "train", "flags", "part"),
    [
        ("search", (2, 1), [], "the reward part of train/"),
        ("search", (9,), [], "val/"),
        ("retrain", (1,), [], "train/"),
        ("retrain", (2,), ["--holdout", "0.5"], "train/"),
        ("retrain", (9,), ["--batch_size", "1"], "train/"),
    ],
)
def test_a_part_too_small_for_a_batch_is_named_with_what_helps(kind, train, flags, part, capsys, tmp_path):
    for label, count in zip("ab", train, strict=False):
        paths = [tmp_path / "toy" / "train" / label / f"{i}.png" for i in range(count)]
        for path in (*paths, tmp_path / "toy" / "val" / label / "x.png"):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32)).save(path)
    tiny = {"search": TINY_SEARCH, "retrain": TINY_RETRAIN}[kind]
    tiny = [*tiny, "--blocks", "[1,1]", "--train_images", str(sum(train))]
    error = refusal(kind, capsys, *tiny, "--data", str(tmp_path / "toy"), *flags)
    assert f"a batch of 1 image of {part} at size 32" in error
    assert "use more images, a larger --batch_size" in error


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_folder_that_cannot_be_written(kind, capsys, tmp_path):
    (tmp_path / "taken").write_text("a file")
    flags = {"search": TINY_SEARCH, "retrain": TINY_RETRAIN}[kind]
    for result in ("taken", "taken/below"):
        assert "taken" in refusal(kind, capsys, *flags, "--result", result)
    assert (tmp_path / "taken").read_text() == "a file"


def changed(position: int, value: object) -> str:
    cell = list(GOOD)
    cell[position] = value
    return json.dumps([GOOD, cell])


@pytest.mark.parametrize(
    ("arch", "named"),
    [
        ("", ["empty"]),
        ("  ", ["empty"]),
        ("NoSuchArch", ["NoSuchArch"]),
        ("__import__('os').getcwd()", ["__import__"]),
        ("[[0,1", ["JSON", "[[0,1"]),
        ("[os.getcwd()]", ["JSON", "os.getcwd"]),
        ("[]", ["empty"]),
        ("{}", ["list"]),
        (json.dumps(GOOD), ["20 bare integers"]),
        (json.dumps([GOOD]), ["2 encodings", "1 were given"]),
        (json.dumps([GOOD] * 3), ["2 encodings", "3 were given"]),
        (json.dumps([GOOD, GOOD[:19]]), ["cell 1", "19", "20"]),
        (json.dumps([GOOD + [0], GOOD]), ["cell 0", "21", "20"]),
        (json.dumps([GOOD, []]), ["cell 1", "0 values"]),
        (json.dumps([[GOOD, GOOD]]), ["cell 0", "2 values"]),
        (json.dumps([GOOD, "abc"]), ["cell 1", "abc"]),
        (changed(0, 2), ["cell 1", "node 0", "2"]),
        (changed(8, 4), ["cell 1", "node 2", "4", "0 to 3"]),
        (changed(16, -1), ["cell 1", "node 4", "-1"]),
        (changed(19, 5), ["cell 1", "node 4", "5", "conv_1x1"]),
        (changed(5, -1), ["cell 1", "node 1", "-1"]),
        (changed(5, 1.0), ["cell 1", "node 1", "1.0"]),
        (changed(5, True), ["cell 1", "node 1", "True"]),
        (changed(5, "shuffle_3x3"), ["cell 1", "node 1", "shuffle_3x3"]),
        (changed(4, [1]), ["cell 1", "node 1", "[1]"]),
        ("[" * 100_000, ["nested"]),
        ("missing/genotypes.json", ["missing/genotypes.json"]),
        ("missing/genotypes.json#1", ["missing/genotypes.json"]),
        ("missing.json#first", ["first"]),
        ("a\0b", ["neither"]),
        (".", ["neither"]),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_architectures_that_cannot_be(arch, named, capsys):
    message = refusal("retrain", capsys, "--data", "nowhere", f"--arch={arch}")
    for part in named:
        assert part in message, message


@pytest.mark.parametrize(
    "content", ["", "{", '{"candidates": 3}', "3", '{"candidates": []}', '{"candidates": [{}]}', "\xff"]
)
def test_architecture_files_that_cannot_be(content, capsys, tmp_path):
    (tmp_path / "arch.json").write_bytes(content.encode("latin-1"))
    assert "arch.json" in refusal("retrain", capsys, "--data", "nowhere", "--arch", "arch.json")


@pytest.mark.parametrize("blocks", [[100_000_000], [101, 1], [1] * 9, [], [-1], [True], "4"], ids=str)
def test_blocks_that_the_flag_refuses_are_refused_in_a_file(blocks, capsys, tmp_path):
    (tmp_path / "arch.json").write_text(json.dumps({"blocks": blocks, "candidates": [{"cells": [GOOD, GOOD]}]}))
    message = refusal("retrain", capsys, "--data", "nowhere", "--arch", "arch.json")
    assert "arch.json: blocks is" in message
    assert "counts from 0 to 100" in message


def test_architecture_blocks_and_sharing_must_agree(capsys):
    two = json.dumps([GOOD, GOOD])
    for flags, named in (
        (["--sharing", "stage", "--blocks", "[1,1,1]"], ["2 encodings", "stage", "3"]),
        (["--sharing", "block", "--blocks", "[1,1]"], ["2 encodings", "block", "4"]),
        (["--sharing", "block"], ["2 encodings", "block", "10"]),
    ):
        message = refusal("retrain", capsys, "--data", "nowhere", "--arch", two, *flags)
        assert all(part in message for part in named), message
