"""How the time of a retraining step grows with its work: filters, blocks, batch.

    OMP_NUM_THREADS=1 python -m benchmarks.scaling [--repeats 3] [--only filters,blocks,batch] [--json FILE]

One of the three grows while the others stay at their base. On a log-log scale, the slope of time over
floating-point operations is 1 where time grows as the work does. Above 1.1 it is marked: a fault to find.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import log

import torch

from benchmarks import common
from benchmarks.common import Settings
from benchmarks.workloads import CLASSES, CLIP, DROP_PATH, TRAINING, random_batch, step_of
from engine.tasks.classification import Classification
from models.network import Network
from ops.genotype import parse_genotype
from utils.config import DEFAULT_ARCH
from utils.system.device import describe_machine, keep_freed_memory
from utils.system.numbers import positive_int

LIMIT = 1.1  # time that grows as the work has 1; the rest is left to noise
BASE = {"filters": 16, "blocks": 2, "batch": 32}  # two stages of so many normal blocks each
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
    # Slopes of the two halves, whatever the offset: fixed costs drop out of a difference.
    upper, lower = ((times[b] - times[a]) / (work[b] - work[a]) for a, b in ((middle, -1), (0, middle)))
    return upper / lower if lower else math.inf  # clocks may not tell the points of a tiny run apart


def point(s: Settings, *, filters: int, blocks: int, batch: int) -> dict[str, float]:
    """One training step of the default architecture with the full stem at 32x32: FLOPs and seconds."""
    torch.manual_seed(0)  # whatever the points before have drawn
    genotype = parse_genotype(DEFAULT_ARCH)
    net = Network(genotype=genotype, blocks=(blocks, blocks), filters=filters, num_classes=CLASSES)
    flops = 2 * TRAINING * net.macs(32) * batch  # a multiply-accumulate is two operations
    net = s.place(net)
    task = Classification.retrain()
    step = step_of(s, net, task, random_batch(s, batch, 32), heads=len(net.aux_heads), clip=CLIP)
    times = common.measure([step(DROP_PATH)], s.repeats, s.device, warmup=1)
    return {"flop": flops, "median_s": statistics.median(times), "min_s": min(times), "max_s": max(times)}


def curve(s: Settings, axis: str) -> dict[str, object]:
    """Points along one axis, in the order of their work, and the fit."""
    print(f"{axis} ...", file=sys.stderr, flush=True)
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


def rows(curves: Mapping[str, Mapping], matrix_gflops: float) -> Iterator[list[str]]:
    """Rows of the table of points."""
    for axis, c in curves.items():
        for p in c["points"]:
            rate = p["flop"] / p["median_s"] / 1e9
            spread = f"{common.duration(p['min_s'])} .. {common.duration(p['max_s'])}"
            cells = [f"{axis} {p[axis]}", f"{p['flop'] / 1e9:.3g}", common.duration(p["median_s"]), spread]
            yield [*cells, f"{rate:.3g}", f"{rate / matrix_gflops:.1%}"]


def verdicts(curves: Mapping[str, Mapping]) -> Iterator[str]:
    """A line for each curve."""
    for axis, c in curves.items():
        mark = f"  WORSE THAN LINEAR (above {LIMIT})" if c["worse_than_linear"] else ""
        yield (
            f"{axis}: time ~ FLOP ** {c['exponent']:.2f}, steepest between neighbours {c['steepest']:.2f}, "
            f"marginal cost x{c['marginal']:.2f}{mark}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the axes that the flags name, and print points and fits."""
    p = common.make_parser("benchmarks.scaling", __doc__)
    p.add_argument("--only", type=common.names_of(AXES), default=list(AXES), help=f"of {','.join(AXES)}")
    p.add_argument("--repeats", type=positive_int, default=3, help="steps after the warm-up (3)")
    common.add_flags(p)
    args = p.parse_args(argv)
    device, precision = common.start(p, args)
    keep_freed_memory(device)  # as retrainer_cifar.py does
    s = Settings(device, precision, False, args.channels_last, args.repeats, args.tiny)
    size = s.size(2048 if device.type == "cpu" else 8192, 128)  # large enough for a GPU to reach its rate
    rate = common.matrix_rate(device, size, common.reference_type(device)) / 1e9
    curves, machine = {axis: curve(s, axis) for axis in args.only}, describe_machine(device)
    print(f"{machine['device_name']}, {machine['threads']} threads, torch {torch.__version__}, {precision().name}")
    print(f"matrix product: {rate:,.0f} GFLOP/s")
    print(common.table(["one axis grows", "GFLOP", "median", "min .. max", "GFLOP/s", "share"], rows(curves, rate)))
    print("\n".join(verdicts(curves)))
    settings = {key: value for key, value in vars(args).items() if key != "json"}
    common.report(args.json, {"settings": settings, "machine": machine, "matrix_gflops": rate, "curves": curves})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
