"""How the time of a retraining step grows with its work: filters, blocks, batch, threads.

    python -m benchmarks.scaling [--threads 1,2] [--repeats 3] [--only filters,blocks,batch] [--json FILE]

One of the three grows while the others stay at their base. On a log-log scale, the slope of time over
floating-point operations is 1 where time grows as the work does. Above 1.1 it is marked: a fault to find.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import log

import torch

from benchmarks.common import (
    add_flags,
    duration,
    matrix_rate,
    measure,
    reference_type,
    report,
    start,
    table,
)
from benchmarks.workloads import CLASSES, CLIP, DROP_PATH, TRAINING, Settings, random_batch, step_of
from engine.task import Classification
from models.network import Network
from ops.genotype import parse_genotype
from utils.config import DEFAULT_ARCH
from utils.system.device import describe_machine, keep_freed_memory
from utils.system.numbers import positive_int

LIMIT = 1.1
BASE = {"filters": 16, "blocks": 2, "batch": 32}
TINY_BASE = {"filters": 2, "blocks": 1, "batch": 2}
AXES = {"filters": (16, 24, 32, 48, 64), "blocks": (1, 2, 3, 4, 5, 6), "batch": (16, 32, 64, 128, 256)}
TINY_AXES = {"filters": (2, 4, 8), "blocks": (1, 2, 3), "batch": (2, 4, 8)}


def exponent(work: Sequence[float], times: Sequence[float]) -> float:
    """The slope of log time over log work, by least squares: t ~ work ** exponent."""
    return statistics.linear_regression([log(w) for w in work], [log(t) for t in times]).slope


def steepest(work: Sequence[float], times: Sequence[float]) -> float:
    """The largest slope between two neighbours: a cliff that the fit smooths away."""
    return max(log(t / s) / log(w / v) for (v, w), (s, t) in zip(pairwise(work), pairwise(times), strict=True))


def marginal(work: Sequence[float], times: Sequence[float]) -> float:
    """What more work costs in the upper half of the points / in the lower half: 1 on any straight line."""
    middle = len(work) // 2
    upper, lower = ((times[b] - times[a]) / (work[b] - work[a]) for a, b in ((middle, -1), (0, middle)))
    return upper / lower if lower else math.inf


def point(s: Settings, *, filters: int, blocks: int, batch: int) -> dict[str, float]:
    """One training step of the default architecture with the full stem at 32x32: FLOPs and seconds."""
    torch.manual_seed(0)
    net = Network(parse_genotype(DEFAULT_ARCH), (blocks, blocks), filters, CLASSES)
    flops = 2 * TRAINING * net.macs(32) * batch
    net = s.place(net)
    task = Classification.retrain()
    step = step_of(s, net, task, random_batch(s, batch, 32), heads=len(net.aux_heads), clip=CLIP)
    times = measure([step(DROP_PATH)], s.repeats, s.device, warmup=1)
    return {"flop": flops, "median_s": statistics.median(times), "min_s": min(times), "max_s": max(times)}


def curve(s: Settings, axis: str) -> dict[str, object]:
    """Points along one axis, in the order of their work, and the fit."""
    axes, base = (TINY_AXES, TINY_BASE) if s.tiny else (AXES, BASE)
    points = [{axis: value} | point(s, **(base | {axis: value})) for value in axes[axis]]
    work, times = ([p[key] for p in points] for key in ("flop", "median_s"))
    slope = exponent(work, times)
    return {
        "points": points,
        "exponent": slope,
        "steepest": steepest(work, times),
        "marginal": marginal(work, times),
        "worse_than_linear": slope > LIMIT,
    }


def run(s: Settings, threads: Sequence[int], axes: Sequence[str]) -> dict[str, dict]:
    """Curves by number of threads, which is put back at the end."""
    before, found = torch.get_num_threads(), {}
    dtype = reference_type(s.device)
    size = s.size(2048 if s.device.type == "cpu" else 8192, 128)
    try:
        for count in threads:
            torch.set_num_threads(count)
            result: dict = {"matrix_gflops": matrix_rate(s.device, size, dtype) / 1e9, "curves": {}}
            for axis in axes:
                print(f"{count} threads, {axis} ...", file=sys.stderr, flush=True)
                result["curves"][axis] = curve(s, axis)
            found[str(count)] = result
    finally:
        torch.set_num_threads(before)
    return found


def lines(found: Mapping[str, Mapping]) -> Iterator[list[str]]:
    """Rows of the table of points; with several numbers of threads, what they gain over the first."""
    first = next(iter(found.values()))
    for threads, result in found.items():
        for axis, c in result["curves"].items():
            for i, p in enumerate(c["points"]):
                rate = p["flop"] / p["median_s"] / 1e9
                gain = first["curves"][axis]["points"][i]["median_s"] / p["median_s"]
                spread = f"{duration(p['min_s'])} .. {duration(p['max_s'])}"
                cells = [f"{axis} {p[axis]}", threads, f"{p['flop'] / 1e9:.3g}", duration(p["median_s"]), spread]
                yield [*cells, f"{rate:.3g}", f"{rate / result['matrix_gflops']:.1%}", f"{gain:.2f}x"]


def verdicts(found: Mapping[str, Mapping]) -> Iterator[str]:
    for threads, result in found.items():
        for axis, c in result["curves"].items():
            mark = f"  WORSE THAN LINEAR (above {LIMIT})" if c["worse_than_linear"] else ""
            yield (
                f"{axis}, {threads} threads: time ~ FLOP ** {c['exponent']:.2f}, "
                f"steepest between neighbours {c['steepest']:.2f}, marginal cost x{c['marginal']:.2f}{mark}"
            )


def counts(text: str) -> list[int]:
    return [positive_int(part) for part in text.split(",")]


def axes(text: str) -> list[str]:
    """``filters,batch``: names of axes."""
    asked = text.split(",")
    if set(asked) - set(AXES):
        raise argparse.ArgumentTypeError(f"{text!r} is not among {', '.join(AXES)}")
    return asked


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        "benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    threads = [count for count in (1, 2) if count <= (os.cpu_count() or 1)]
    p.add_argument("--threads", type=counts, default=threads, help="on a CPU (1,2)")
    p.add_argument("--only", type=axes, default=list(AXES), help=f"of {','.join(AXES)}")
    p.add_argument("--repeats", type=positive_int, default=3, help="steps after the warm-up (3)")
    add_flags(p)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    p = parser()
    args = p.parse_args(argv)
    device, precision = start(p, args)
    keep_freed_memory(device)  # as retrainer_cifar.py does
    s = Settings(device, precision, False, args.channels_last, args.repeats, args.tiny)
    threads = args.threads if device.type == "cpu" else [torch.get_num_threads()]
    found = run(s, threads, args.only)
    machine = describe_machine(device)
    rates = ", ".join(f"{count} threads {result['matrix_gflops']:,.0f}" for count, result in found.items())
    print(f"{machine['device_name']}, torch {torch.__version__}, {precision().name}; matrix product, GFLOP/s: {rates}")
    header = ["one axis grows", "threads", "GFLOP", "median", "min .. max", "GFLOP/s", "share", "gain"]
    print(table(header, lines(found)))
    print("\n".join(verdicts(found)))
    settings = {key: value for key, value in vars(args).items() if key != "json"}
    report(args.json, {"settings": settings, "machine": machine, "threads": found})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
