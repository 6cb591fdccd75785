"""The device of a run, repeatability, and facts about the machine that belong in a run's record."""

from __future__ import annotations

import ctypes
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor, nn

from utils.system.errors import UsageError
from utils.system.threads import usable_cpus

PACKAGES = ("torch", "torchvision", "numpy", "tensorboard", "scikit-learn", "pytorch-optimizer")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # as in glibc's malloc.h


def pick_device(name: str = "auto", gpu: int | None = None, local_rank: int = 0) -> torch.device:
    """Choose the device. ``auto``: a CUDA GPU, else an Apple GPU, else the CPU; ``gpu``: which of the CUDA GPUs.

    ``local_rank``: with several processes on a machine, each takes the GPU of its number. Raises UsageError
    where the device is not there.
    """
    if gpu is not None and name in ("auto", "cuda"):
        if name == "auto" and not torch.cuda.is_available():
            return torch.device("cpu")  # the published commands pass --gpu everywhere
        name = f"cuda:{gpu}"
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", local_rank)
        # Asked for some memory, a device that is not there says so now and not in the first step.
        torch.empty(1, device=device)
        if device.type == "meta":
            raise RuntimeError("it computes nothing")
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    if device.type == "cuda":
        torch.cuda.set_device(device)  # NCCL and plain `cuda` tensors go by it
    return device


def memory_format(device: torch.device) -> torch.memory_format:
    """The layout that networks run fastest in: channels_last on CPUs (measured: benchmarks/README.md) and CUDA GPUs,
    whose convolutions are written for it; the plain one elsewhere. Weights in it are enough: outputs follow."""
    return torch.channels_last if device.type in ("cpu", "cuda") else torch.contiguous_format


def choose_kernels(*, deterministic: bool, tf32: bool) -> None:
    """Choose torch's kernels for a run.

    ``deterministic``: the same bits on every run, also on a GPU, where the fastest kernels do not give that.
    ``tf32``: float32 products with 10 bits of mantissa on GPUs that have it. cuDNN does not try its kernels out:
    these networks wait for launches, and trying took 40 s before the first step of a run (benchmarks/README.md).
    """
    # cuBLAS reads it when it is first used.
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads such memory; it costs 13 %
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("high" if tf32 else "highest")


def keep_freed_memory(device: torch.device) -> None:
    """Let memory that tensors gave back stay with the process for the next ones; on CPUs with glibc.

    By default large tensors come from the system and return to it again and again, and it clears every page anew: up to
    half of an evaluation (benchmarks/README.md). What a process holds does not exceed its own peak.
    """
    if device.type != "cpu":
        return
    with suppress(AttributeError, OSError, TypeError):  # another C library: as it is
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)  # no mapping for one tensor alone, which ends when it is freed
        mallopt(M_TRIM_THRESHOLD, -1)  # -1: the top of the heap is never given back


def recompile_limit() -> str:
    """The name that torch's configuration has for how often one function is compiled: torch 2.7 renamed it."""
    return "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else "cache_size_limit"


def compile_blocks(model: nn.Module, backend: str = "inductor") -> None:
    """Compile each of ``model.blocks`` in place.

    Cells of a kind share what is compiled, so that it takes a fraction of the time of the whole; the drop-path
    probability, which changes every epoch, stays outside.
    """
    # Past the limit torch would run a block uncompiled.
    config, limit = torch._dynamo.config, recompile_limit()
    setattr(config, limit, max(64, getattr(config, limit)))  # kinds x modes x batch sizes
    for block in model.blocks:
        block.compile(backend=backend)


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was told, before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@torch.inference_mode()
def measure_latency(network: Callable[[Tensor], object], images: Tensor, *, warmup: int = 3, runs: int = 10) -> float:
    """Measure the milliseconds of one forward pass: the median of ``runs``, after ``warmup`` others."""
    times = []
    for run in range(warmup + runs):
        synchronise(images.device)
        began = time.perf_counter()
        network(images)
        synchronise(images.device)
        # The first passes choose kernels and fill caches.
        if run >= warmup:
            times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def peak_memory(device: torch.device) -> int:
    """The most bytes that were in use: of the GPU where there is one, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    # In bytes on macOS, in KiB elsewhere.
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if platform.system() == "Darwin" else 1024)


def describe_machine(device: torch.device) -> dict[str, object]:
    """List revision, versions and hardware, as plain values."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {
        "revision": _revision(),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "usable_cpus": usable_cpus(),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        # platform.processor() is often empty on Linux.
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _revision() -> str | None:
    """The git revision of this code, with ``+`` where it was changed since; None outside a repository."""
    root = Path(__file__).resolve().parents[2]
    try:
        run = [
            subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10)
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    if run[0].returncode:
        return None
    return run[0].stdout.strip() + ("+" if run[1].stdout.strip() else "")
