"""What the measurements share: clocks, the rates of the machine, and rows that print as a table or as JSON."""

from __future__ import annotations

import argparse
import ctypes
import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.precision import PRECISIONS, Precision, choose_precision
from utils.reports.log import write_json
from utils.system.device import peak_memory, pick_device, synchronise
from utils.system.errors import UsageError

Work = Callable[[], object]


def seconds(work: Work, device: torch.device) -> float:
    """One call, from an idle device to an idle device."""
    synchronise(device)
    began = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - began


def measure(works: Sequence[Work], repeats: int, device: torch.device, warmup: int | None = None) -> list[float]:
    """Seconds of every call of ``repeats`` rounds over the works, round after round, after ``warmup`` others."""
    warmup = (2 if len(works) == 1 else 1) if warmup is None else warmup
    for work in [*works] * warmup:  # choosing kernels, filling caches, compiling
        work()
    # Round after round, and not work by work: what else the machine does then falls on all of them.
    return [seconds(work, device) for _ in range(repeats) for work in works]


def reference_type(device: torch.device) -> torch.dtype:
    """What the matrix rate is taken in: bfloat16 where there are units for it, else float32."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def matrix_rate(device: torch.device, size: int = 2048, dtype: torch.dtype = torch.float32, repeats: int = 5) -> float:
    """FLOP/s of a square matrix product, the median of ``repeats``."""
    a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)  # no allocation in the measured call
    # A product of n x n takes n^3 multiplications and as many additions.
    return 2 * size**3 / statistics.median(measure([lambda: torch.mm(a, b, out=out)], repeats, device))


def copy_rate(device: torch.device, mebibytes: int = 256, repeats: int = 5) -> float:
    """Bytes a second, read and written, of copying more than the caches hold; the median of ``repeats``."""
    source = torch.ones(mebibytes << 18, device=device)  # 2^18 numbers of four bytes are a mebibyte
    target = torch.empty_like(source)
    # Once read, once written.
    return 2 * source.nbytes / statistics.median(measure([lambda: target.copy_(source)], repeats, device))


def forget_peak(device: torch.device) -> None:
    """Let ``peak_memory`` start from now. Where a process cannot do so, it goes on from before."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what torch keeps of the last row
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError, AttributeError):  # Linux with glibc alone
        ctypes.CDLL(None).malloc_trim(0)  # what the last row freed is no part of this one
        Path("/proc/self/clear_refs").write_text("5")  # 5: the kernel resets the peak of this process


@dataclass
class Row:
    """One measurement.

    ``seconds``: of every call; ``flops``: of the works that they go through in turns. ``images``: in a call.
    ``per``: what a call makes so many of, for times per piece. ``parts``: shares of the time. ``rate``: FLOP/s of
    the matrix product right before and after.
    """

    seconds: list[float]
    images: int | None = None
    flops: Sequence[float] = ()
    per: int = 1
    parts: Mapping[str, float] = field(default_factory=dict)
    rate: float = math.nan
    peak: int = 0

    def summary(self) -> dict[str, object]:
        """Plain values; what does not apply is left out."""
        each = [s / self.per for s in self.seconds]
        middle = statistics.median(each)  # a mean would follow single slow calls
        values = {"median_s": middle, "min_s": min(each), "max_s": max(each), "calls": len(each)}
        if self.images:
            values["images_per_s"] = self.images / self.per / middle
        if self.flops:
            # Calls go through the works in turns.
            rates = [self.flops[i % len(self.flops)] / s for i, s in enumerate(self.seconds)]
            values["gflop"] = statistics.mean(self.flops) / 1e9
            values["share_of_matrix_rate"] = statistics.median(rates) / self.rate
        values |= {"matrix_gflops": self.rate / 1e9, "peak_memory_bytes": self.peak}
        return values | ({"shares": dict(self.parts)} if self.parts else {})


@dataclass(frozen=True)
class Settings:
    """How to measure. ``tiny``: the smallest sizes that run, which say nothing about speed."""

    device: torch.device
    precision: Callable[[], Precision]
    compiled: bool = False
    channels_last: bool = False
    repeats: int = 5
    tiny: bool = False

    def size(self, full: int, tiny: int) -> int:
        """A size of the work."""
        return tiny if self.tiny else full

    @property
    def blocks(self) -> tuple[int, int]:
        """Normal blocks of each stage."""
        return (1, 1) if self.tiny else (4, 4)

    def place(self, x: nn.Module | Tensor) -> nn.Module | Tensor:
        """On the device, in the memory format."""
        return x.to(self.device, memory_format=torch.channels_last if self.channels_last else torch.preserve_format)


def observe(work: Callable[[], Row], device: torch.device, size: int) -> Row:
    """A row with the matrix rate around it and the most memory that was in use during it."""
    dtype = reference_type(device)
    before = matrix_rate(device, size, dtype, 3)
    forget_peak(device)
    row = work()
    row.peak = peak_memory(device)
    # A machine that others use changes its pace: taken on both sides of the row, the rate is that of its time.
    row.rate = (before + matrix_rate(device, size, dtype, 3)) / 2
    return row


def duration(value: float) -> str:
    """Seconds with three digits, in s, ms or us."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if value * factor >= 1 or unit == "us":  # the largest unit in which it is 1 or more
            break
    return f"{value * factor:.3g} {unit}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    lines = [list(header), *map(list, rows)]
    first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
    return "\n".join(
        "  ".join([cells[0].ljust(first), *(c.rjust(w) for c, w in zip(cells[1:], others, strict=True))]).rstrip()
        for cells in lines
    )


def rows_table(summaries: Mapping[str, Mapping]) -> str:
    """The table of ``benchmarks.steps``."""
    optional = {"images_per_s": "{:,.0f}", "gflop": "{:.3g}", "share_of_matrix_rate": "{:.1%}"}
    rows = []
    for name, s in summaries.items():
        spread = f"{duration(s['min_s'])} .. {duration(s['max_s'])}"
        values = [form.format(s[key]) if key in s else "" for key, form in optional.items()]
        rows.append([name, duration(s["median_s"]), spread, *values, f"{s['peak_memory_bytes'] / 2**20:,.0f} MiB"])
    return table(["work", "median", "min .. max", "images/s", "GFLOP", "share", "memory"], rows)


def make_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser of a measurement, which prints the text of its module."""
    raw = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog, description=description, formatter_class=raw, allow_abbrev=False)


def names_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """The type of a flag that takes some of the ``known`` names with commas; they keep the order of the known ones."""

    def names(text: str) -> list[str]:
        words = text.split(",")
        unknown = [word for word in words if word not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(known)}")
        return [name for name in known if name in words]  # the order matters: see WORK in steps.py

    return names


def add_flags(p: argparse.ArgumentParser) -> None:
    """The flags of measurements of networks."""
    yes_no = argparse.BooleanOptionalAction
    p.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto (cpu)")
    p.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the networks (fp32)")
    p.add_argument("--channels_last", action=yes_no, default=True, help="memory format of our networks (yes)")
    p.add_argument("--tiny", action=yes_no, default=False, help="smallest sizes: shows that it runs, not how fast")
    p.add_argument("--json", metavar="FILE", help="write everything there too")


def start(p: argparse.ArgumentParser, args: argparse.Namespace) -> tuple[torch.device, Callable[[], Precision]]:
    """The device and the precision that were asked for; exit status 2 without them."""
    try:
        device = pick_device(args.device)
        choose_precision(args.precision, device)  # refuses now what it could not make for every row
    except UsageError as error:
        p.error(str(error))
    return device, partial(choose_precision, args.precision, device)


def report(path: str | None, document: Mapping) -> None:
    """Write the JSON that was asked for."""
    if path is not None:
        write_json(Path(path), document)
