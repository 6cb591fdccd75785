import os
import pickle
import resource

import pytest
import torch
from torch import nn

from engine.averaging import WeightAverage
from utils.system.checkpoint import CheckpointError, fitted, fitting, load, load_weights, require_finite, save, unwrap


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


@pytest.mark.parametrize("held", [True, False])
def test_a_write_that_fails_keeps_the_old_file_and_leaves_no_other(held, tmp_path):
    path = tmp_path / "checkpoint.pt"
    if held:
        save(path, {"epoch": 1})
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, usual[1]))  # as a full disk: half of it is written
        kept = ", the one before is kept" if held else ""
        with pytest.raises(OSError, match=rf"checkpoint\.pt could not be written{kept}: File too large"):
            save(path, {"weights": torch.zeros(9999)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert list(tmp_path.iterdir()) == ([path] if held else [])
    assert not held or load(path) == {"epoch": 1}


def test_a_reader_never_sees_a_file_that_is_being_written(tmp_path, monkeypatch):
    path, replace, seen = tmp_path / "checkpoint.pt", os.replace, []
    save(path, {"epoch": 1})

    def watched(*paths):
        seen.append(load(path))
        replace(*paths)

    monkeypatch.setattr(os, "replace", watched)
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


WRAPPERS = ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module." * 3]


@pytest.mark.parametrize("prefix", WRAPPERS)
@pytest.mark.parametrize("inside", [False, True])
def test_names_that_wrappers_add_are_understood_anywhere_in_a_path(prefix, inside):
    """In the weights of a network and in their average alike."""

    def renamed(key: str) -> str:
        layer, _, rest = key.partition(".")
        return f"{layer}.{prefix}{rest}" if inside else prefix + key

    weights = {key: value + 1 for key, value in small().state_dict().items()}
    wrapped = {renamed(key): value for key, value in weights.items()}
    model, average = small(), WeightAverage(small(), 0.9)
    load_weights(model, wrapped, "here")
    average.load_state_dict({"weights": wrapped, "updates": 3})
    for network in (model, average.network):
        assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())


def test_a_layer_that_is_called_as_a_wrapper_names_things_keeps_its_name():
    model = nn.Sequential(nn.Module())
    model[0].module = nn.Linear(2, 2)
    assert set(fitted(model, model.state_dict(), "here")) == {"0.module.weight", "0.module.bias"}


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, "no tensor of numbers: 0.bias"),
        ([0.0] * 3, "no tensor of numbers: 0.bias"),
        (torch.zeros(3).to_sparse(), "no tensor of numbers: 0.bias"),
        (torch.zeros(3, dtype=torch.long), "of another kind of number: 0.bias"),
        (torch.zeros(3, dtype=torch.complex64), "of another kind of number: 0.bias"),
        (torch.tensor([1.0, torch.nan, 1.0]), "not finite: 0.bias"),
        (torch.tensor([1.0, -torch.inf, 1.0]), "not finite: 0.bias"),
        (torch.zeros(3, 1), "of another shape: 0.bias"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_a_value_that_no_network_can_have_is_refused_by_name(value, fault):
    weights = {**small().state_dict(), "0.bias": value}
    for load_it in (
        lambda: load_weights(small(), weights, "some.pt"),
        lambda: WeightAverage(small(), 0.9).load_state_dict({"weights": weights, "updates": 1}),
    ):
        with pytest.raises(CheckpointError) as error:
            load_it()
        assert fault in one_line(error)


@pytest.mark.parametrize("weights", [None, [], torch.zeros(1), {1: torch.zeros(1)}])
def test_weights_without_names_are_refused(weights):
    with pytest.raises(CheckpointError, match=r"some\.pt holds a .* in place of named weights"):
        load_weights(small(), weights, "some.pt")


def test_weights_that_are_there_twice_are_refused():
    weights = small().state_dict()
    with pytest.raises(CheckpointError, match=r"there twice: 0\.bias"):
        load_weights(small(), {**weights, "module.0.bias": weights["0.bias"]}, "some.pt")


def test_weights_of_another_precision_are_taken():
    weights = {k: v.double() if v.is_floating_point() else v for k, v in small().state_dict().items()}
    model = small()
    load_weights(model, weights, "here")
    assert model[0].weight.dtype is torch.float32


def test_a_flipped_bit_is_refused_or_harms_nothing(tmp_path):
    """Anywhere in the file; in a tensor it is always refused, by the checksum."""
    state = {"model": small().state_dict(), "flags": {"seed": 2}}
    save(tmp_path / "whole.pt", state)
    content, path, taken = (tmp_path / "whole.pt").read_bytes(), tmp_path / "flipped.pt", 0
    refusals = set()
    tensors = content.index(state["model"]["0.weight"].numpy().tobytes())
    for position in [*range(0, len(content), 11), *range(tensors, tensors + 24)]:
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            found = load(path)
        except CheckpointError as error:
            refusals.add(str(error).partition(" is damaged")[0].partition(" was not")[0].partition(" holds")[0])
        else:
            taken += 1
            assert not tensors <= position < tensors + 24
            assert found["flags"] == state["flags"]
            assert all(torch.equal(value, found["model"][key]) for key, value in state["model"].items())
    assert refusals == {str(path)}
    assert taken < len(content) / 22  # padding and what no reader looks at


def test_what_does_not_fit_names_the_file_and_an_optimizer_that_is_not_finite_is_refused():
    with (
        pytest.raises(CheckpointError, match=r"some\.pt does not hold what belongs there: there is no 'position'"),
        fitting("some.pt"),
    ):
        {}["position"]
    with pytest.raises(CheckpointError, match=r"some\.pt: extras\.strategy\.0 is not finite"), fitting("some.pt"):
        require_finite({"strategy": [torch.tensor(torch.nan)]}, "extras")


def test_wrappers_are_taken_off_in_any_nesting():
    inner = small()
    inside, outside = nn.Module(), nn.Module()
    inside.module, outside._orig_mod = inner, inside
    assert unwrap(inner) is inner
    assert unwrap(outside) is inner
