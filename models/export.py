"""A trained network as one file that runs without this repository, ONNX or torch's own pt2.

The file is run and compared with the network before it gets its name.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from models.folding import folded
from utils.system.errors import UsageError
from utils.system.files import whole_file

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
ONNX_TORCH = "2.7"  # an older torch writes ONNX only with packages of its own time
BATCHES = (1, 2, 32)  # sizes that every file is run with
TOLERANCE = 1e-3  # of the largest logit
ANY_BATCH = ({0: torch.export.Dim("batch", min=1, max=2**31 - 1)},)  # torch 2.6 refuses to leave the end open
METADATA = "metadata.json"

Run = Callable[[Tensor], Tensor]


class ExportError(UsageError):
    """An export that cannot be made or does not equal the network: one line."""


def require_packages(kind: str) -> None:
    """Raise ExportError if a package that an export needs is missing; asked before a training begins."""
    if kind != "onnx":
        return
    missing = [name for name in ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise ExportError(f"--export onnx needs {', '.join(missing)}: pip install -r requirements-optional.txt")
    if TorchVersion(torch.__version__) < ONNX_TORCH:
        raise ExportError(f"--export onnx needs torch {ONNX_TORCH} or newer, not {torch.__version__}; or --export pt2")


class Deployed(nn.Module):
    """A network as it is exported: its outputs for images, and nothing else."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Turn normalised images (N, 3, S, S) into logits (N, K), or (N, K, S, S) of masks."""
        return self.network(images)[0]  # the second are auxiliary logits: none in evaluation


def export_network(
    network: nn.Module, folder: Path, kind: str, *, facts: Mapping[str, Any], classes: Sequence[str], images: Tensor
) -> dict[str, Any]:
    """Write ``network.onnx`` or ``network.pt2`` into the folder; returns what to report, with a ``line`` to show.

    It is a copy for evaluation: no auxiliary heads, batch norms folded, any number of images. ``facts``: of the data,
    as a checkpoint holds them. ``images``: normalised (N, 3, S, S), which the file is run on before it gets its name.
    Raises ExportError, and leaves the file that was there before, if anything goes wrong or its answers differ from
    those of the network.
    """
    require_packages(kind)
    size, path = facts["image_size"], Path(folder) / f"network.{kind}"
    metadata = {"classes": list(classes), "image_size": size, **facts["statistics"], "arguments": network.arguments()}
    images = images[:32].detach().to("cpu", torch.float32)
    bare = copy.deepcopy(network).to("cpu", torch.float32)
    bare.aux_heads = nn.ModuleList()
    eager = Deployed(bare).eval()
    write, read = FORMATS[kind]
    try:
        with whole_file(path, path.suffix) as temporary, _quiet(), torch.no_grad():
            write(folded(eager), torch.zeros(2, 3, size, size), temporary, metadata)  # a pt2 file keeps its example
            difference = _compare(read(temporary), images, eager(images), path.name)
    except ExportError:
        raise
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0]
        raise ExportError(f"{path.name} cannot be written as {kind}: {type(error).__name__}: {line}") from error
    report = {"path": str(path), "size_bytes": path.stat().st_size, "largest_difference": difference}
    parameters = sum(parameter.numel() for parameter in eager.parameters())  # before batch norms are folded
    report["line"] = (
        f"exported {path}: {report['size_bytes'] / 1e6:.2f} MB, {parameters} parameters, {network.macs(size)} MACs, "
        f"largest difference of a logit {difference:.1e}"
    )
    return report


def _compare(run: Run, images: Tensor, expected: Tensor, name: str) -> float:
    """The largest difference of a logit, over all images and over batches of 1, 2 and 32 of them."""
    largest = 0.0
    for size in (*BATCHES, len(images)):
        rows = torch.arange(size) % len(images)
        difference, agree = agreement(run(images[rows]), expected[rows])
        if not agree:
            raise ExportError(f"{name} differs from the network: their logits are up to {difference:.3g} apart")
        largest = max(largest, difference)
    return largest


def agreement(logits: Tensor, expected: Tensor) -> tuple[float, bool]:
    """The largest difference of a logit, and whether it is within the tolerance of the largest expected logit."""
    if logits.shape != expected.shape:
        return float("inf"), False
    difference = (logits - expected).abs().max().item()
    return difference, difference <= TOLERANCE * max(expected.abs().max().item(), 1e-3)  # false for nan, too


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters warn, print and log about their own insides: kept from the console."""
    level, nowhere = logging.root.manager.disable, io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(level)


def _write_pt2(deployed: nn.Module, images: Tensor, path: Path, metadata: Mapping[str, Any]) -> None:
    program = torch.export.export(deployed, (images,), dynamic_shapes=ANY_BATCH)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # with the paths of this machine
    torch.export.save(program, path, extra_files={METADATA: json.dumps(metadata)})


def _write_onnx(deployed: nn.Module, images: Tensor, path: Path, metadata: Mapping[str, Any]) -> None:
    names = {"input_names": ["images"], "output_names": ["logits"], "dynamic_shapes": ANY_BATCH}
    program = torch.onnx.export(deployed, (images,), dynamo=True, external_data=False, verbose=False, **names)
    for graph in (program.model.graph, *program.model.functions.values()):
        for node in graph:
            node.metadata_props.clear()  # the paths of this machine, half of a small file
    program.model.metadata_props.update({key: json.dumps(value) for key, value in metadata.items()})
    program.save(path)


def _read_onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


# What writes a network as one file, and what makes a function of such a file. The name is its suffix too.
FORMATS = {"onnx": (_write_onnx, _read_onnx), "pt2": (_write_pt2, lambda path: torch.export.load(path).module())}
