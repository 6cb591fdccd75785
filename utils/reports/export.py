"""A trained network as one file that runs without this repository, compared with it before the file is left."""

from __future__ import annotations

import copy
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.folding import fold_batch_norms
from utils.reports.export_needs import SUFFIXES, ExportError, require_packages
from utils.reports.metrics import agreement
from utils.system.checkpoint import unwrap
from utils.system.device import measure_latency
from utils.system.files import whole_file

BATCHES = (1, 2, 32)  # sizes that every file is run with
TIMED_BATCHES = (1, 32)
TOLERANCE = 1e-3  # of the largest logit
ANY_BATCH = ({0: torch.export.Dim("batch", min=1, max=2**31 - 1)},)  # torch 2.6 refuses to leave the end open
METADATA = "metadata.json"


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote. ``largest_difference``: of a logit from eager; ``parameters``: without auxiliary heads and
    before ``folded`` batch norms went into convolutions. ``latency_ms``: medians by batch size, of the network as it
    was given (``eager``, on ``device``) and of the ``file`` (on the CPU)."""

    path: Path
    size_bytes: int
    largest_difference: float
    parameters: int
    folded: int
    device: str
    latency_ms: dict[str, dict[int, float]]


class Deployed(nn.Module):
    """The network as it is exported: logits (N, K) of images (N, 3, S, S), and nothing else.

    With ``statistics``, mean and std as (2, 3, 1, 1), it takes images in [0, 1] and normalises them.
    """

    def __init__(self, network: nn.Module, statistics: Tensor | None) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("statistics", statistics)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise where asked, then (N, 3, S, S) -> (N, K)."""
        if self.statistics is not None:
            images = (images - self.statistics[0]) / self.statistics[1]
        return self.network(images)[0]


class Loaded(nn.Module):
    """An exported file that was read again, as a module that ``.eval()`` may be called on."""

    def __init__(self, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.forward = torch.no_grad()(run)


def export(
    network: nn.Module,
    path: Path,
    kind: str,
    *,
    image_size: int,
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    normalise: bool,
    images: Tensor,
    arguments: Mapping[str, Any],
) -> ExportReport:
    """Write a copy of ``network`` for evaluation: no auxiliary heads, batch norms folded, any number of images.

    The file is loaded again and run on ``images`` before it gets its name: real ones, (N, 3, S, S), as it will be
    given, in [0, 1] with ``normalise``, else normalised. The five before and ``arguments`` become its metadata.
    Raises ExportError, and leaves what was at ``path`` before, if anything goes wrong or the answers differ.
    """
    require_packages(kind)
    metadata = {"classes": list(classes), "image_size": image_size, "mean": list(mean), "std": list(std)}
    metadata |= {"normalise": normalise, "arguments": dict(arguments)}
    path, device = Path(path), next(network.parameters()).device
    images = images.detach().to("cpu", torch.float32)
    eager = Deployed(_stripped(network), torch.tensor([mean, std]).view(2, 3, 1, 1) if normalise else None).eval()
    expected = _expected(eager, images, image_size=image_size, classes=len(classes))
    smaller = copy.deepcopy(eager).requires_grad_(False)
    folded = fold_batch_norms(smaller)
    try:
        with whole_file(path, SUFFIXES[kind]) as temporary, _quiet():
            _write(smaller, image_size, temporary, kind=kind, metadata=metadata)
            loaded, _ = _read(temporary, kind)
            difference = _compare(loaded, images, expected, path.name)
            speed = {"file": _latencies(loaded, images), "eager": _latencies(eager.to(device), images.to(device))}
    except ExportError:
        raise
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0]
        raise ExportError(f"{path.name} cannot be written as {kind}: {type(error).__name__}: {line}") from error
    parameters = sum(parameter.numel() for parameter in eager.parameters())
    return ExportReport(path, path.stat().st_size, difference, parameters, folded, str(device), speed)


def read_metadata(path: Path, kind: str) -> dict[str, Any]:
    """What an exported file says of itself: classes, image_size, mean, std, normalise, arguments."""
    require_packages(kind)
    with _quiet():
        return _read(Path(path), kind)[1]


def _stripped(network: nn.Module) -> nn.Module:
    """A copy for evaluation on the CPU in float32, without auxiliary heads and outside of wrappers."""
    network = copy.deepcopy(unwrap(network)).to("cpu", torch.float32).eval()
    network.aux_heads = nn.ModuleList()
    return network


@torch.no_grad()
def _expected(eager: Deployed, images: Tensor, *, image_size: int, classes: int) -> Tensor:
    """The logits that the file has to give. Raises ExportError for images or names that do not fit."""
    if images.ndim != 4 or not len(images) or tuple(images.shape[1:]) != (3, image_size, image_size):
        raise ExportError(f"the images are {tuple(images.shape)}, not (N, 3, {image_size}, {image_size})")
    if eager.statistics is not None and (images.min() < 0 or images.max() > 1):
        raise ExportError("with normalisation inside the file, its images are in [0, 1]; these are not")
    logits = eager(images)
    if logits.shape[1] != classes:
        raise ExportError(f"the network tells {logits.shape[1]} classes apart, but {classes} are named")
    return logits


def _compare(loaded: Loaded, images: Tensor, expected: Tensor, name: str) -> float:
    """The largest difference of a logit, over all images and over batches of 1, 2 and 32 of them."""
    largest = 0.0
    for size in (*BATCHES, len(images)):
        difference, agree = agreement(loaded(_cycled(images, size)), _cycled(expected, size), TOLERANCE)
        if not agree:
            raise ExportError(f"{name} answers otherwise than the network: its logits are {difference:.3g} apart")
        largest = max(largest, difference)
    return largest


def _latencies(network: nn.Module, images: Tensor) -> dict[int, float]:
    return {size: measure_latency(network, _cycled(images, size)) for size in TIMED_BATCHES}


def _cycled(rows: Tensor, count: int) -> Tensor:
    return rows[torch.arange(count, device=rows.device) % len(rows)]


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


def _write_torchscript(deployed: nn.Module, images: Tensor, path: Path, metadata: Mapping[str, Any]) -> None:
    traced = torch.jit.trace(deployed, images, check_trace=False)
    torch.jit.save(traced, path, _extra_files={METADATA: json.dumps(metadata)})


def _read_torchscript(path: Path) -> tuple[Callable[[Tensor], Tensor], dict[str, Any]]:
    files = {METADATA: ""}
    return torch.jit.load(path, map_location="cpu", _extra_files=files), json.loads(files[METADATA])


def _write_pt2(deployed: nn.Module, images: Tensor, path: Path, metadata: Mapping[str, Any]) -> None:
    program = torch.export.export(deployed, (images,), dynamic_shapes=ANY_BATCH)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # with the paths of this machine
    torch.export.save(program, path, extra_files={METADATA: json.dumps(metadata)})


def _read_pt2(path: Path) -> tuple[Callable[[Tensor], Tensor], dict[str, Any]]:
    files = {METADATA: ""}
    return torch.export.load(path, extra_files=files).module(), json.loads(files[METADATA])


def _write_onnx(deployed: nn.Module, images: Tensor, path: Path, metadata: Mapping[str, Any]) -> None:
    names = {"input_names": ["images"], "output_names": ["logits"], "dynamic_shapes": ANY_BATCH}
    program = torch.onnx.export(deployed, (images,), dynamo=True, external_data=False, verbose=False, **names)
    for graph in (program.model.graph, *program.model.functions.values()):
        for node in graph:
            node.metadata_props.clear()  # the paths of this machine, half of a small file
    program.model.metadata_props.update({key: json.dumps(value) for key, value in metadata.items()})
    program.save(path)


def _read_onnx(path: Path) -> tuple[Callable[[Tensor], Tensor], dict[str, Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])

    return run, {key: json.loads(value) for key, value in properties.items()}


# By the names of export_needs.SUFFIXES: what writes a network as one file, and what reads such a file again.
FORMATS = {
    "onnx": (_write_onnx, _read_onnx),
    "torchscript": (_write_torchscript, _read_torchscript),
    "pt2": (_write_pt2, _read_pt2),
}


def _write(deployed: nn.Module, size: int, path: Path, *, kind: str, metadata: Mapping[str, Any]) -> None:
    write, _ = FORMATS[kind]
    images = torch.zeros(2, 3, size, size)  # no real ones: a file of torch.export keeps them
    write(deployed, images, path, metadata)


def _read(path: Path, kind: str) -> tuple[Loaded, dict[str, Any]]:
    _, read = FORMATS[kind]
    run, metadata = read(path)
    return Loaded(run), metadata
