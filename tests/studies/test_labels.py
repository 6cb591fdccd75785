"""Studies of tasks without labels as users run them, tiny; see studies/labels.py."""

import json
import signal

import pytest
from scipy import stats

from studies import labels
from studies import study as shared
from tests.miniature import tree
from tests.studies.stopping import make_until_the_third

pytestmark = pytest.mark.pictures

SIZES = "--data digits --task jigsaw --blocks [0] --filters 4 --genotypes 5 --epochs 2 --pretext_epochs 1".split()
ALONE = "--train_images 100 --stem quarter --no-flip --batch_size 50".split()


def study(result, *more: str) -> int:
    """Run a study in this process; its exit status."""
    behind = [] if "--" in more else ["--"]
    try:
        return labels.main([*SIZES, "--device", "cpu", "--result", str(result), *more, *behind, *ALONE])
    except SystemExit as end:
        return end.code


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a study that was run without an interruption."""
    result = tmp_path_factory.mktemp("whole")
    assert study(result) == 0
    return result / "studies" / "study"


def test_the_same_genotypes_are_trained_on_both_and_correlated(whole):
    document = json.loads((whole / "study.json").read_text())
    names = [f"{row['key']}-seed0.json" for row in document["genotypes"]]
    results = {
        task: [json.loads((whole / task / name).read_text()) for name in names] for task in ("classify", "jigsaw")
    }
    assert [a["cells"] for a in results["classify"]] == [b["cells"] for b in results["jigsaw"]]
    true, other = ([-r["valid/loss"] for r in rows] for rows in results.values())
    assert true != other
    ours = document["rankers"]["jigsaw (loss)"]["loss"]
    assert ours["tau"][0] == pytest.approx(stats.kendalltau(true, other).statistic)
    assert ours["rho"][0] == pytest.approx(stats.spearmanr(true, other).statistic)
    assert ours["tau"][1] <= ours["tau"][0] <= ours["tau"][2]
    settings = json.loads((whole / "settings.json").read_text())
    assert [settings[task]["--epochs"] for task in ("classify", "jigsaw")] == [2, 1]
    assert [settings[task]["network"]["num_classes"] for task in ("classify", "jigsaw")] == [10, 24]
    assert f"| jigsaw (loss) | {ours['tau'][0]:.2f} [" in (whole / "study.md").read_text()
    assert (whole / "labels.png").stat().st_size > 5000


def test_a_stopped_study_goes_on_to_the_same_bytes(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(shared, "make", make_until_the_third)
        assert study(tmp_path) == 128 + signal.SIGTERM
    folder = tmp_path / "studies" / "study"
    assert not (folder / "study.json").exists()
    assert study(tmp_path) == 0
    assert (folder / "study.json").read_bytes() == (whole / "study.json").read_bytes()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--genotypes", "4"], "5 or more"),
        (["--blocks", "[0,0]"], "tile of 12 pixels"),
        (["--pretext_epochs", "2"], "other settings"),
        (["--", "--task", "rotation"], "behind --"),
        (["--", "--mixup", "0.2"], "reads none"),
    ],
)
def test_wrong_use_is_refused_in_one_line_and_touches_nothing(more, words, whole, capsys):
    before = tree(whole)
    assert study(whole.parents[1], *more) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    assert tree(whole).keys() == before.keys()
