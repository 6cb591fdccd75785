import pickle

import pytest
import torch
from torch import nn

from utils.checkpoint import CheckpointError, clean_keys, load, load_weights, save, unwrap


class Foreign:
    """What a checkpoint must not hold; unpickling it would be noticed."""

    def __reduce__(self):
        return print, ("this code ran",)


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_round_trip(tmp_path):
    state = {"tensor": torch.arange(3), "list": [1, 2.5, None, "text"], "nested": {"flag": True, "pair": (1, 2)}}
    save(tmp_path / "a.pt", state)
    loaded = load(tmp_path / "a.pt")
    assert torch.equal(loaded.pop("tensor"), state.pop("tensor"))
    assert loaded == state


@pytest.mark.parametrize("fault", [OSError("no space left on device"), RuntimeError("PytorchStreamWriter failed")])
def test_a_write_that_fails_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch, fault):
    path = tmp_path / "checkpoint.pt"
    save(path, {"epoch": 1})

    def half(_state, file):
        file.write(b"half")
        raise fault

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match=r"checkpoint\.pt"):
        save(path, {"epoch": 2})
    monkeypatch.undo()
    assert load(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_a_file_that_is_being_written(tmp_path, monkeypatch):
    path, whole, seen = tmp_path / "checkpoint.pt", torch.save, []
    save(path, {"epoch": 1})

    def watched(state, file):
        whole(state, file)
        seen.append(load(path))

    monkeypatch.setattr(torch, "save", watched)
    save(path, {"epoch": 2})
    assert seen == [{"epoch": 1}]
    assert load(path) == {"epoch": 2}


@pytest.mark.parametrize("foreign", [Foreign(), {"a": Foreign()}, {"config": [Foreign()]}])
def test_foreign_objects_are_refused_and_never_run(tmp_path, capsys, foreign):
    torch.save(foreign, tmp_path / "new.pt")
    torch.save(foreign, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(foreign, protocol=2))
    for name in ("new.pt", "old.pt", "plain.pt"):
        with pytest.raises(CheckpointError) as error:
            load(tmp_path / name)
        assert name in one_line(error)
    assert "this code ran" not in capsys.readouterr().out


def test_every_truncation_is_refused_with_one_line_that_names_the_file(tmp_path):
    save(tmp_path / "whole.pt", {"model": small().state_dict()})
    content = (tmp_path / "whole.pt").read_bytes()
    path = tmp_path / "cut.pt"
    for length in [0, 1, 2, 10, *range(100, len(content), 100), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError) as error:
            load(path)
        assert "cut.pt" in one_line(error)


def test_absent_folder_text_and_other_values_are_refused(tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("absent.pt", "text.pt", "list.pt", "."):
        with pytest.raises(CheckpointError) as error:
            load(tmp_path / name)
        assert str(tmp_path / name) in one_line(error)


def test_weights_that_do_not_fit_are_listed(tmp_path):
    weights = small().state_dict()
    weights.pop("0.weight")
    weights["2.bias"] = torch.zeros(1)
    weights["0.bias"] = torch.zeros(5)
    model = small()
    with pytest.raises(CheckpointError) as error:
        load_weights(model, weights, "some.pt")
    text = one_line(error)
    assert "some.pt" in text
    assert "missing: 0.weight" in text
    assert "unexpected: 2.bias" in text
    assert "of another shape: 0.bias" in text
    assert all(torch.equal(value, small().state_dict()[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module." * 3]
)
def test_prefixes_of_wrappers_are_stripped_in_any_nesting(prefix):
    weights = {key: value + 1 for key, value in small().state_dict().items()}
    model = small()
    load_weights(model, {prefix + key: value for key, value in weights.items()}, "here")
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert list(clean_keys({f"{prefix}a.module.b": torch.zeros(1)})) == ["a.module.b"]


def test_wrappers_are_taken_off_in_any_nesting():
    inner = small()
    inside, outside = nn.Module(), nn.Module()
    inside.module, outside._orig_mod = inner, inside
    assert unwrap(inner) is inner
    assert unwrap(outside) is inner
