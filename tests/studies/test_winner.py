"""The winner of a search beside random genotypes, as a user compares them; see studies/winner.py."""

import json
import statistics

import pytest

from ops.genotype import Genotype
from studies import winner
from studies.winner import sentence

ALONE = ["--", "--stem", "quarter", "--batch_size", "75"]


def status(*words) -> int:
    try:
        return winner.main([*map(str, words)])
    except SystemExit as end:
        return end.code


@pytest.mark.pictures
def test_the_winner_and_random_genotypes_are_trained_alike_and_one_line_says_who_is_better(searched, tmp_path, capsys):
    words = ["--result", tmp_path, "--seeds", "0,1", "--epochs", "1", "--random_genotypes", "2", "--device", "cpu"]
    assert status(searched, *words, *ALONE) == 0
    folder = tmp_path / "studies" / "study"
    study = json.loads((folder / "study.json").read_text())
    best = json.loads((searched / "genotypes.json").read_text())["candidates"][0]["cells"]
    assert study["trained"][0]["cells"] == best
    assert len({json.dumps(one["cells"]) for one in study["trained"]}) == 3
    pieces = {}
    for path in (folder / "standalone").glob("*.json"):
        piece = json.loads(path.read_text())
        pieces[json.dumps(piece["cells"]), piece["seed"]] = piece["valid/top1"]
    for one in study["trained"]:
        Genotype.from_lists(one["cells"])
        assert one["top1"] == [pieces[json.dumps(one["cells"]), seed] for seed in (0, 1)]
    assert sentence([one["top1"] for one in study["trained"]], "top1") in capsys.readouterr().out


def test_the_median_is_that_of_the_random_genotypes_by_their_means():
    values = [[80.0, 82.0], [70.0, 72.0], [90.0, 60.0], [81.0, 83.0]]
    text = sentence(values, "top1")
    assert f"winner {statistics.mean(values[0]):.2f}" in text
    assert f"median of 3 random genotypes {statistics.mean(values[2]):.2f}" in text
    assert text.endswith("better than 2 of them")


def test_what_cannot_be_compared_is_refused_in_one_line(searched, tmp_path, capsys):
    for words in ([tmp_path / "nowhere"], [searched, searched]):
        assert status(*words, "--result", tmp_path) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())
