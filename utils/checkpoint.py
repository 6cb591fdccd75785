"""Checkpoints: plain dicts of tensors and plain values, written whole or not at all."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utils.system.errors import UsageError
from utils.system.files import write_whole

WRAPPERS = ("module.", "_orig_mod.")


class CheckpointError(UsageError):
    """A checkpoint that cannot be read or does not fit: one line that names the file and what is wrong."""


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write beside the target, flush to the disk, then rename: a reader sees the old file or the new one.

    Raises OSError, with the old file untouched, when the disk is full.
    """
    try:
        write_whole(path, lambda file: torch.save(dict(state), file))
    except (OSError, RuntimeError) as error:
        raise OSError(f"{path.name} could not be written, the one before is kept: {error}") from error


def load(path: Path, map_location: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint with ``weights_only=True``: foreign objects in it are refused, never run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice on old pickles; what matters is refused below
            state = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} was not written by torch.save or holds Python objects other than tensors and plain values; it "
            "is not loaded, since loading could run code in it"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is damaged or no checkpoint: {reason}") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not a checkpoint")
    return state


def unwrap(model: nn.Module) -> nn.Module:
    """The network inside data-parallel and compiled wrappers, in any nesting."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None:
            inner = getattr(model, "module", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def clean_keys(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without the prefixes that wrappers put before every key."""
    cleaned = {}
    for key, value in weights.items():
        while key.startswith(WRAPPERS):
            key = key.split(".", 1)[1]
        cleaned[key] = value
    return cleaned


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], where: str | Path) -> None:
    """Fill every parameter and buffer; a missing, unexpected or misshapen one is an error that lists it."""
    model, weights = unwrap(model), clean_keys(weights)
    own = model.state_dict()
    misshapen = [k for k in own if k in weights and own[k].shape != weights[k].shape]
    faults = {
        "missing": [k for k in own if k not in weights],
        "unexpected": [k for k in weights if k not in own],
        "of another shape": misshapen,
    }
    found = [f"{what}: {', '.join(keys[:5])}{' ...' if len(keys) > 5 else ''}" for what, keys in faults.items() if keys]
    if found:
        raise CheckpointError(f"{where} does not fit the network; {'; '.join(found)}")
    model.load_state_dict(weights)
