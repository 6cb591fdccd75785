"""Reports of runs that finished, that were stopped, and that were killed while they wrote."""

import json
import shutil
import signal

import pytest

from tests.harness import finished, only_run, start, stop_after
from utils.reports import report

pytestmark = pytest.mark.pictures

SMALL = ["--image_size", "16", "--train_images", "500", "--no-tensorboard"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    result = tmp_path_factory.mktemp("search")
    return finished("search", result, *SMALL, "--searcher", "random", "--epochs", "2")


@pytest.fixture(scope="module")
def retrained(tmp_path_factory):
    result = tmp_path_factory.mktemp("retrain")
    return finished("retrain", result, *SMALL, "--epochs", "3", "--seed", "5")


def killed(folder, target):
    """A copy of a run as a kill leaves it: no result, and the last line of metrics.jsonl cut in the middle."""
    shutil.copytree(folder, target)
    for name in ("result.json", "report.json", "report.md", "genotypes.json", "measures.json"):
        (target / name).unlink(missing_ok=True)
    text = (target / "metrics.jsonl").read_text()
    (target / "metrics.jsonl").write_text(text[: -len(text.splitlines()[-1]) // 2])
    return target


def lines_of(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a report: rows of cells."""
    found, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split(" | ")] if "---" not in line else None)
        elif rows:
            found.append([row for row in rows if row is not None])
            rows = []
    return found


def shown(capsys, *folders) -> str:
    assert report.main([str(folder) for folder in folders]) == 0
    return capsys.readouterr().out


def test_the_report_of_a_run_is_what_the_tool_prints_of_it(searched, retrained, capsys, tmp_path):
    for folder in (searched, retrained):
        text = shown(capsys, folder)
        beside = text.replace(f"]({folder}/", "](")  # in the folder itself, pictures need no path
        assert beside == (folder / "report.md").read_text()
        assert "![loss.png](loss.png)" in beside
        assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
        assert report.main([str(folder), "-o", str(tmp_path / "out.md")]) == 0
        assert (tmp_path / "out.md").read_text() == text
        assert not capsys.readouterr().out


@pytest.mark.parametrize("kind", ["searched", "retrained"])
def test_costs_are_sums_over_the_epochs_in_metrics(kind, request):
    folder = request.getfixturevalue(kind)
    lines, found = lines_of(folder), json.loads((folder / "report.json").read_text())
    cost, result = found["cost"], json.loads((folder / "result.json").read_text())
    phases = {"searched": ("weights", "strategy", "report"), "retrained": ("train", "valid")}[kind]
    for name in phases:
        assert cost["seconds"][name] == pytest.approx(sum(line[f"time/{name}_s"] for line in lines))
    assert cost["seconds"].get("derive") == result.get("derive_s")
    assert cost["total_s"] == pytest.approx(sum(cost["seconds"].values()))
    assert cost["CPU_hours"] == pytest.approx(cost["total_s"] / 3600)
    images = {"searched": 400, "retrained": 500}[kind]  # a fifth is kept for rewards
    assert cost["images"] == pytest.approx(images * len(lines), abs=5 * len(lines))
    assert cost["images_per_s"] == pytest.approx(cost["images"] / cost["seconds"][phases[0]])
    assert cost["peak_memory_bytes"] == max(line["memory/peak_bytes"] for line in lines)
    assert found["complete"] is True
    assert found["last_epoch"] == lines[-1]
    assert {key: found[key] for key in result} == result


def test_settings_are_those_that_differ_from_the_defaults(retrained):
    changed = json.loads((retrained / "report.json").read_text())["changed_flags"]
    assert changed["seed"] == 5
    assert changed["epochs"] == 3
    assert changed["tensorboard"] is False
    assert not changed.keys() & {"momentum", "recipe", "holdout", "arch"}


def test_learning_curves_and_candidates_are_those_in_the_files(searched, capsys):
    lines, document = lines_of(searched), json.loads((searched / "genotypes.json").read_text())
    text = shown(capsys, searched)
    *_, curves, ranked = tables(text)
    assert curves[0] == ["epoch", "shared/loss", "controller/reward", "valid/loss", "valid/top1"]
    for line, row in zip(lines, curves[1:], strict=True):
        assert [float(cell) for cell in row] == pytest.approx([line[tag] for tag in curves[0]], rel=1e-3)
    for candidate, row in zip(document["candidates"], ranked[1:], strict=True):
        assert [int(row[0]), int(row[2]), int(row[3])] == [candidate[k] for k in ("rank", "parameters", "macs")]
        assert float(row[1]) == pytest.approx(candidate["score"], rel=1e-3)
        assert row[4] == ("yes" if candidate["pareto"] else "no")
        assert json.loads(row[5].strip("`")) == candidate["cells"]
    assert document["candidates"][0]["retrain"] in text


@pytest.mark.parametrize("kind", ["searched", "retrained"])
def test_a_killed_run_is_reported_as_far_as_it_went(kind, request, tmp_path, capsys):
    whole = request.getfixturevalue(kind)
    folder = killed(whole, tmp_path / whole.parent.name / whole.name)
    text = shown(capsys, folder)
    *_, facts, curves = tables(text)
    rows = {row[0]: row[1] for row in facts}
    lines = lines_of(whole)[:-1]
    assert rows["complete"] == "no"
    assert int(rows["epochs done"]) == len(lines) == len(curves) - 1
    assert float(rows["last valid/top1 (%)"]) == pytest.approx(lines[-1]["valid/top1"], rel=1e-3)
    (folder / "metrics.jsonl").unlink()
    assert "| epochs done | 0 |" in shown(capsys, folder)


def test_a_stopped_run_is_reported(tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_after(patch, 8, signal.SIGTERM)  # an epoch looks for one 7 times
        assert start("retrain", tmp_path, *SMALL, "--epochs", "2") == 128 + signal.SIGTERM
    folder = only_run(tmp_path, "retrain")
    capsys.readouterr()
    assert not (folder / "result.json").exists()
    text = shown(capsys, folder)
    assert "| complete | no |" in text
    assert "| epochs done | 1 |" in text


def test_runs_side_by_side_show_first_what_differs(searched, retrained, tmp_path, capsys):
    other = killed(retrained, tmp_path / "retrain" / "other")
    config = json.loads((other / "config.json").read_text())
    config["flags"]["momentum"] = 0.5
    (other / "config.json").write_text(json.dumps(config))
    settings, facts, *_ = tables(shown(capsys, retrained, other))
    assert settings[0] == ["setting", f"retrain {retrained.name}", "retrain other"]
    assert settings[1] == ["momentum", "0.9", "0.5"]
    assert all(row[1] == row[2] for row in settings[2:])
    assert {row[0] for row in settings[2:]} >= {"epochs", "seed", "image_size", "child_out_filters"}
    rows = {row[0]: row[1:] for row in facts}
    assert rows["complete"] == ["yes", "no"]
    assert rows["epochs done"] == ["3", "2"]
    assert rows["parameters"][1] == ""
    settings, *_ = tables(shown(capsys, searched, retrained, other))
    differs = [len(set(row[1:])) > 1 for row in settings[1:]]
    assert differs == sorted(differs, reverse=True)
    assert ["searcher", "random", "", ""] in settings


@pytest.mark.parametrize("content", [None, "", "{", "[1]", "{}", '{"candidates": []}'])
def test_a_folder_that_is_no_run_is_refused_in_one_line(content, retrained, tmp_path, capsys):
    folder = tmp_path / "nothing"
    if content is not None:
        folder.mkdir()
        (folder / "config.json").write_text(content)
    assert report.main([str(retrained), str(folder)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert str(folder) in captured.err
    assert not captured.out


def test_a_file_that_cannot_be_written_is_refused_in_one_line(retrained, tmp_path, capsys):
    assert report.main([str(retrained), "-o", str(tmp_path / "none" / "out.md")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
