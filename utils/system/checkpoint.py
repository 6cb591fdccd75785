"""Checkpoints: plain dicts of tensors and plain values, written whole or not at all, verified when they are read."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from utils.system.errors import UsageError
from utils.system.files import write_whole
from utils.system.terminal import reason, show, some

WRAPPERS = ("module", "_orig_mod")  # what data-parallel and compiled modules put into the names of what they hold


class CheckpointError(UsageError):
    """A checkpoint that cannot be read or does not fit: one line that names the file and what is wrong."""


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Save a state: write beside the target, flush to the disk, then rename: a reader sees the old file or the new one.

    Raises OSError, with the old file untouched, when the disk is full.
    """
    content = io.BytesIO()  # of a file on a full disk, torch.save would say no more than "unexpected pos 64 vs 0"
    torch.save(dict(state), content)
    try:
        # A kill between two writes would leave half a file: it is renamed only when it is on the disk.
        write_whole(path, lambda file: file.write(content.getbuffer()))
    except OSError as error:
        kept = ", the one before is kept" if path.exists() else ""
        raise OSError(f"{path.name} could not be written{kept}: {reason(error)}") from error


def load(path: Path, map_location: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint with ``weights_only=True``: foreign objects in it are refused, never run.

    The checksums that torch.save puts into the file are compared first: torch.load itself never does.
    """
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice on old pickles; what matters is refused below
            # Not after loading: a flipped bit could still be a number, and training would go on with it.
            _verify(file)
            state = torch.load(file, map_location=map_location, weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{show(path)} does not exist") from None
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{show(path)} was not written by torch.save or holds Python objects other than tensors and plain values; "
            "it is not loaded, since loading could run code in it"
        ) from None
    except Exception as error:  # whatever the readers of zip, pickle and torch raise at damaged bytes
        why = reason(error) if isinstance(error, OSError) else (str(error).splitlines() or [""])[0]
        raise CheckpointError(
            f"{show(path)} is damaged or no checkpoint: {show(why) or type(error).__name__}"
        ) from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{show(path)} holds a {type(state).__name__}, not a checkpoint")
    return state


def _verify(file: IO[bytes]) -> None:
    """Compare every part of the archive with its checksum. Files older than torch 1.6 are no archives and have none."""
    if file.read(4) == b"PK\x03\x04":  # the first bytes of every zip archive
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} does not match")
    file.seek(0)


@contextmanager
def fitting(path: str | Path) -> Iterator[None]:
    """Use what a checkpoint holds within the body: a value that is missing or of another kind refuses the file."""
    try:
        yield
    except CheckpointError as error:
        raise error if show(path) in str(error) else CheckpointError(f"{show(path)}: {error}") from None
    except torch.OutOfMemoryError:  # too large for this device, and no fault of the file
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        what = f"there is no {error}" if isinstance(error, KeyError) else reason(error)
        raise CheckpointError(f"{show(path)} does not hold what belongs there: {what[:300]}") from None


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside data-parallel and compiled wrappers, in any nesting."""
    while True:
        inner = getattr(model, "_orig_mod", None)  # of torch.compile
        if inner is None:
            inner = getattr(model, "module", None)  # of data-parallel wrappers
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _plain(key: str) -> str:
    """A key without the parts that wrappers put before it or between its own."""
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)


def fitted(model: nn.Module, weights: Any, where: str | Path) -> dict[str, Tensor]:
    """Put weights under the model's names and check every one: the only way into a network.

    Parts of names that wrappers add are understood anywhere. Whatever is missing, unexpected, there twice, no
    tensor, of another shape or kind of number, or not finite raises CheckpointError, which lists it.
    """
    if not isinstance(weights, Mapping) or not all(isinstance(key, str) for key in weights):
        raise CheckpointError(f"{show(where)} holds a {type(weights).__name__} in place of named weights")
    expected = unwrap(model).state_dict()
    # A layer of the model may itself be called as wrappers name things, so both sides are compared without them.
    names = {_plain(key): key for key in expected}
    values: dict[str, Any] = {}
    faults: dict[str, list[str]] = {"missing": []}
    for key, value in weights.items():
        name = names.get(_plain(key), _plain(key))
        fault = "there twice" if name in values else _fault(expected.get(name), value)
        values[name] = value
        if fault:
            faults.setdefault(fault, []).append(name)
    # First in the line, and known last.
    faults["missing"] = [key for key in expected if key not in values]
    lists = "; ".join(f"{fault}: {some(keys)}" for fault, keys in faults.items() if keys)
    if lists:
        raise CheckpointError(f"{show(where)} does not fit the network; {lists}")
    return values


def _fault(expected: Tensor | None, value: Any) -> str | None:
    """What is wrong with the value for a tensor of the model; None if nothing is."""
    if expected is None:
        return "unexpected"
    # Sparse, quantised and meta tensors have no plain numbers that could be copied.
    if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_quantized or value.is_meta:
        return "no tensor of numbers"
    if value.is_floating_point() != expected.is_floating_point() or value.is_complex() or value.dtype is torch.bool:
        return "of another kind of number"
    if value.shape != expected.shape:
        return "of another shape"
    return None if bool(value.isfinite().all()) else "not finite"


def load_weights(model: nn.Module, weights: Any, where: str | Path) -> None:
    """Fill every parameter and buffer with weights that :func:`fitted` accepts."""
    unwrap(model).load_state_dict(fitted(model, weights, where))


def require_finite(values: Any, where: str) -> None:
    """Refuse a tensor that is not finite anywhere within nested dicts and lists, by its place there."""
    if isinstance(values, Mapping | list | tuple):
        for key, value in values.items() if isinstance(values, Mapping) else enumerate(values):
            require_finite(value, f"{where}.{key}")
    elif isinstance(values, Tensor) and not bool(values.isfinite().all()):
        raise CheckpointError(f"{show(where)} is not finite")


def is_number(value: Any) -> bool:
    """Whether it is a plain number; a nan is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def require_like(value: Any, fresh: Any, where: str) -> None:
    """Refuse a value of another kind than that of a fresh start, where None may have become a number since."""
    if isinstance(fresh, Mapping):
        if not isinstance(value, Mapping):
            raise CheckpointError(f"{where} is of another kind")
        for key in fresh.keys() & value.keys():  # what is missing is the reader's to judge, who knows older files
            require_like(value[key], fresh[key], f"{where}.{key}")
        return
    if isinstance(fresh, Tensor):
        alike = isinstance(value, Tensor) and value.shape == fresh.shape
    elif isinstance(fresh, list | tuple):
        alike = isinstance(value, list | tuple)
    elif fresh is None or is_number(fresh):
        alike = is_number(value) or (fresh is None and value is None)
    else:
        alike = isinstance(value, type(fresh))
    if not alike:
        raise CheckpointError(f"{where} is of another kind")


def require_sound(optimizer: torch.optim.Optimizer, fresh: Sequence[Mapping[str, Any]]) -> None:
    """Refuse what ``load_state_dict`` has taken, which is anything, where no step could be made with it.

    ``fresh``: the groups as they were before.
    """
    for group, before in zip(optimizer.param_groups, fresh, strict=True):
        if missing := before.keys() - group.keys():
            raise CheckpointError(f"optimizer has no {min(missing)}")
        require_like(group, {name: value for name, value in before.items() if name != "params"}, "optimizer")
        for name in before.keys() & {"momentum", "dampening", "weight_decay"}:  # the flags of the run
            if group[name] != before[name]:
                raise CheckpointError(f"optimizer.{name} is {group[name]}, not {before[name]}")
    names = {frozenset(values) for values in optimizer.state.values()}  # or TypeError, of what is no dict
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            fits = isinstance(value, Tensor) and value.shape in ((), getattr(parameter, "shape", ()))
            if len(names) > 1 or not (fits or value is None or is_number(value)):
                raise CheckpointError(f"optimizer.{name} is of another kind")
