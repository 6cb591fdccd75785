"""Whether the packages that an export needs are installed, which is asked before a training begins."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import torch
from torch.torch_version import TorchVersion

from utils.system.errors import UsageError

SUFFIXES = {"onnx": ".onnx", "torchscript": ".torchscript", "pt2": ".pt2"}
PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime")}
ONNX_TORCH = "2.7"  # an older torch writes onnx only with packages of its own time: below the versions that follow
ONNX_BEFORE = {"onnxscript": "0.3", "protobuf": "5"}


class ExportError(UsageError):
    """An export that cannot be made or is not equal to the network: one line."""


def require_packages(kind: str) -> None:
    """Raise ExportError for an unknown kind, or if a package that it needs is missing or too new for an old torch."""
    if kind not in SUFFIXES:
        raise ExportError(f"export kind {kind!r} is none of {', '.join(SUFFIXES)}")
    missing = [name for name in PACKAGES.get(kind, ()) if find_spec(name) is None]
    if missing:
        raise ExportError(f"the export to {kind} needs {', '.join(missing)}: pip install {' '.join(missing)}")
    if kind == "onnx" and TorchVersion(torch.__version__) < ONNX_TORCH:
        found = {name: _version(name) for name in ONNX_BEFORE}
        if any(TorchVersion(found[name]) >= limit for name, limit in ONNX_BEFORE.items()):
            older = " ".join(f'"{name}<{limit}"' for name, limit in ONNX_BEFORE.items())
            raise ExportError(
                f"torch {torch.__version__} cannot export to onnx with {', '.join(map(' '.join, found.items()))}: "
                f"pip install {older}, or torch {ONNX_TORCH} or newer, or --export torchscript or pt2"
            )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a copy without its description: it is tried
        return "0"
