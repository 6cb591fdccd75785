"""What the measurements share: clocks, the rates of the machine, and rows that print as a table or as JSON."""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.precision import Precision
from utils.system.device import memory_format, synchronise

Work = Callable[[], object]


def measure(works: Sequence[Work], repeats: int, device: torch.device, warmup: int = 1) -> list[float]:
    """Seconds of every call of ``repeats`` rounds over the works, from an idle device to an idle device.

    ``warmup``: rounds before them, in which kernels are chosen and caches filled.
    """
    for work in [*works] * warmup:
        work()
    times = []
    # Round after round, and not work by work: what else the machine does then falls on all of them.
    for work in [*works] * repeats:
        synchronise(device)
        began = time.perf_counter()
        work()
        synchronise(device)
        times.append(time.perf_counter() - began)
    return times


def matrix_rate(device: torch.device, size: int, repeats: int = 3) -> float:
    """FLOP/s of a square matrix product, the median: in bfloat16 on GPUs, which have units for it, else in float32."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)  # no allocation in the measured call
    # A product of n x n takes n^3 multiplications and as many additions.
    return 2 * size**3 / statistics.median(measure([lambda: torch.mm(a, b, out=out)], repeats, device))


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
        values["matrix_gflops"] = self.rate / 1e9
        return values | ({"shares": dict(self.parts)} if self.parts else {})


@dataclass(frozen=True)
class Settings:
    """How to measure. ``tiny``: the smallest sizes that run, which say nothing about speed."""

    device: torch.device
    precision: Callable[[], Precision]
    compiled: bool = False
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
        """On the device, in the memory format of a run."""
        return x.to(self.device, memory_format=memory_format(self.device))


def duration(value: float) -> str:
    """Seconds with three digits, in s, ms or us."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if value * factor >= 1 or unit == "us":  # the largest unit in which it is 1 or more
            break
    return f"{value * factor:.3g} {unit}"


def table(summaries: Mapping[str, Mapping]) -> str:
    """Rows in aligned columns: the first to the left, the others to the right."""
    optional = {"images_per_s": "{:,.0f}", "gflop": "{:.3g}", "share_of_matrix_rate": "{:.1%}"}
    lines = [["work", "median", "min .. max", "images/s", "GFLOP", "share"]]
    for name, s in summaries.items():
        spread = f"{duration(s['min_s'])} .. {duration(s['max_s'])}"
        values = [form.format(s[key]) if key in s else "" for key, form in optional.items()]
        lines.append([name, duration(s["median_s"]), spread, *values])
    first, *others = (max(map(len, column)) for column in zip(*lines, strict=True))
    return "\n".join(
        "  ".join([cells[0].ljust(first), *(c.rjust(w) for c, w in zip(cells[1:], others, strict=True))]).rstrip()
        for cells in lines
    )


def make_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser of a measurement, which prints the text of its module."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog, description=description, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything there too")
    return parser


def names_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """The type of a flag that takes some of the ``known`` names with commas; they keep the order of the known ones."""

    def names(text: str) -> list[str]:
        words = text.split(",")
        unknown = [word for word in words if word not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(known)}")
        return [name for name in known if name in words]  # the order matters: see WORK in steps.py

    return names
