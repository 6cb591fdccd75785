"""Run every operation and networks of every space forward and backward while the allocator looks for damage.

    python -m tests.heap_scan            1 to 16 channels, all heads and stems, maps of 4 to 224 pixels: half an hour
    python -m tests.heap_scan --short    a few of them: seconds

Every case is a process of its own, which damage ends at the latest when the memory beside it is given back. On small
maps, and on other processors, damage may pass unseen; so convolutions that oneDNN is known to damage memory in
(ops.stacked) count as well, by their shapes. The status is 1 if there is any, with the names of the cases.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from models.mixture import COLUMNS
from models.network import Network
from models.spec import NetworkSpec, SizeError
from models.structures import STRUCTURES
from models.supernet import SuperNet
from ops.genotype import Genotype
from ops.primitives import ANTIALIAS
from ops.registry import OPERATIONS, STACKED
from ops.space import SPACES, EdgeSpace, Space
from ops.stacked import project, reduce
from tests.golden_stacks import EDGES, mixture

PRELOAD = "libc_malloc_debug.so.0"  # where glibc 2.34 and newer keep the checks
HEADS = ("classify", "segment", "detect")
MAPS = (4, 7, 8, 16, 17, 32, 33, 64, 112, 128, 224)
BATCH = 2
LIMIT_S = 120


class Case(NamedTuple):
    """Something to run on maps of several sizes: ``build`` gives the layers, which read (N, channels, size, size)."""

    name: str
    build: Callable[[], nn.Module]
    channels: int
    sizes: Sequence[int]


class EveryPath(nn.Module):
    """All operations of a supernet."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.supernet = SuperNet.of(spec)
        self.paths: list[object] = list(genotypes(spec.search_space, spec.search_space.operations).values())
        if spec.space == "darts":
            self.paths = [mixture(*torch.full((2, EDGES, len(COLUMNS)), 1 / len(COLUMNS)))]

    def forward(self, images: Tensor) -> list:
        """(N, 3, H, W) -> what the supernet gives along each path."""
        return [self.supernet(images, path) for path in self.paths]


class StridedPointwise(TorchDispatchMode):
    """Note the 1x1 convolutions of a stride, those below 16 channels whose weight gradient damages memory."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Run an operation of torch."""
        if function is torch.ops.aten.convolution.default:
            weight, stride, groups = args[1], args[3], args[8]
            if tuple(weight.shape[2:]) == (1, 1) and max(stride) > 1 and groups == 1 and weight.shape[1] < 16:
                self.shapes.append(tuple(args[0].shape))
        return function(*args, **(kwargs or {}))


def genotypes(space: Space, names: Sequence[str]) -> dict[str, Genotype]:
    """For each operation the genotype that applies it to both inputs of a cell, or on all of its edges."""
    if isinstance(space, EdgeSpace):
        cells = {name: [[space.known.index(name)] * space.length] for name in names}
    else:
        cells = {name: [[0, space.known.index(name), 1, space.known.index(name)] * space.nodes] * 2 for name in names}
    sharing = space.sharing or "type"
    return {name: Genotype.from_lists(lists, sharing, space.name) for name, lists in cells.items()}


def operations(channels: Sequence[int], sizes: Sequence[int]) -> Iterator[Case]:
    """Every operation of every space at both strides, and what brings states to the channels of a cell."""
    for c in channels:
        for name, stride in product(STACKED, (1, 2)):
            yield Case(f"{name}, stride {stride}", partial(STACKED[name], c, stride, True), c, sizes)
        for name, stride, blur in product(OPERATIONS, (1, 2), ANTIALIAS):
            if c % 2 == 0:
                build = partial(OPERATIONS[name], c, c * stride, stride, blur)
                yield Case(f"slnas {name}, stride {stride}, blur {blur}", build, c, sizes)
        for name, out in product((reduce, project), (2, 7, 16)):
            yield Case(f"{name.__name__} to {out}", partial(name, c, out, True), c, sizes)


def networks(filters: Sequence[int], sizes: Sequence[int]) -> Iterator[Case]:
    """Networks of every space, stem, head and operation."""
    for spec, head in product(specs(filters), HEADS):
        for name, genotype in genotypes(spec.search_space, spec.search_space.known).items():
            spec = replace(spec, head=head, aux=head == "classify")
            yield Case(f"network of {name}: {spec}", partial(Network.of, genotype, spec), 3, fitting(spec, sizes))


def supernets(filters: Sequence[int], sizes: Sequence[int]) -> Iterator[Case]:
    """Supernets of every space that has one, and stem."""
    for spec in specs(filters):
        if spec.search_space.searched:
            yield Case(f"supernet: {spec}", partial(EveryPath, spec), 3, fitting(spec, sizes))


def specs(filters: Sequence[int]) -> Iterator[NetworkSpec]:
    """Small shapes of every space and stem."""
    for space, width in product(SPACES.values(), filters):
        for stem in dict.fromkeys(STRUCTURES[space.name].stems):
            yield NetworkSpec((3,) if space.stacked else (1, 1), width, 3, stem, space=space.name)


def fitting(spec: NetworkSpec, sizes: Sequence[int]) -> list[int]:
    """The sizes of images that networks of this shape take."""
    taken = []
    for size in sizes:
        with suppress(SizeError):
            spec.require_size(size)
            taken.append(size)
    return taken


def tensors(value: object) -> Iterator[Tensor]:
    """The floating point tensors in tuples and lists."""
    if isinstance(value, Tensor) and value.requires_grad:
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors(part)


def run(case: Case) -> list[tuple[int, ...]]:
    """Run a case forward and backward on maps of all its sizes; the shapes of convolutions that damage memory."""
    layers = case.build().to(memory_format=torch.channels_last)
    with StridedPointwise() as strided:
        for size in case.sizes:
            x = torch.randn(BATCH, case.channels, size, size).to(memory_format=torch.channels_last).requires_grad_()
            sum(output.square().mean() for output in tensors(layers(x))).backward()
    return strided.shapes


def status_of(case: Case) -> int:
    """Run a case in a process of its own; its exit status, negative for a signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 2
    try:
        signal.alarm(LIMIT_S)  # damage may also end in waiting for ever
        shapes = run(case)
        status = bool(shapes)
        if shapes:
            print(f"{case.name}: 1x1 convolutions of stride 2 of {shapes}", flush=True)
    finally:
        os._exit(status)


def checking() -> dict[str, str]:
    """The environment of a process whose memory is looked at when it is freed, and then filled with rubbish."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
    try:
        ctypes.CDLL(PRELOAD)
        environment["LD_PRELOAD"] = PRELOAD
    except OSError:  # an older glibc, which checks by itself, or another C library, which does not
        pass
    return environment


def main(words: Sequence[str]) -> int:
    """Run the scan where memory is checked; the status is 1 if anything was damaged."""
    parser = argparse.ArgumentParser("python -m tests.heap_scan", description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few channels and sizes")
    args = parser.parse_args(words)
    if "MALLOC_CHECK_" not in os.environ:  # which the C library reads when a process starts
        os.execve(sys.executable, [sys.executable, "-m", "tests.heap_scan", *words], checking())
    if args.short:
        cases = [*operations((4,), (64,)), *supernets((4,), (64,))]
    else:
        cases = [*operations(range(1, 17), MAPS), *supernets((2, 4, 8, 12), MAPS), *networks((2, 4, 8, 12), MAPS)]
    damaged = {case.name: status for case in cases if (status := status_of(case))}
    for name, status in damaged.items():
        print(f"{name}: {signal.Signals(-status).name if status < 0 else 'by shape'}")
    print(f"{len(damaged)} of {len(cases)} cases damage memory")
    return bool(damaged)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
