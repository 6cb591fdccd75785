"""How time and memory grow with filters, blocks, batch, candidates and processes: one picture.

    OMP_NUM_THREADS=1 python -m benchmarks.growth [--out benchmarks/growth.png] [--json FILE]

Each point is measured in a process of its own, which gives its peak of memory too. A curve of time is drawn with the
multiply-accumulates of the same work, as multiples of the first point: it should not be steeper. Both scripts are also
run on the digits, by torchrun with two processes of one thread and by one process with two threads.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from matplotlib.figure import Figure

from benchmarks.common import Settings, make_parser, measure
from benchmarks.workloads import random_batch, step_of
from controller.sampling import uniform
from engine.precision import Precision
from engine.scoring import Scorer
from engine.tasks.classification import Classification
from models.cost import network_cost
from models.supernet import SuperNet
from utils.reports.log import write_json
from utils.system.device import describe_machine, keep_freed_memory, peak_memory

CPU = torch.device("cpu")
START = {"filters": 16, "blocks": 2, "batch": 64}
CURVES = {"filters": (8, 16, 32, 64), "blocks": (1, 2, 4, 8), "batch": (16, 64, 256, 1024), "candidates": (5, 20, 80)}
NETWORK = "--data digits --blocks [2,2] --child_out_filters 16 --stem quarter --device cpu"
SCRIPTS = {  # with its flags
    "search": f"train_search_cifar.py {NETWORK} --controller_steps 0 --valid_steps 1 --derive_samples 1",
    "retraining": f"retrainer_cifar.py {NETWORK}",
}


def point(name: str, value: int, repeats: int) -> dict[str, float]:
    """Seconds, multiply-accumulates and bytes of a step of the shared weights, or of scoring so many candidates."""
    keep_freed_memory(CPU)
    torch.manual_seed(0)
    settings, shape = Settings(CPU, Precision), START | {name: value}
    net = SuperNet(blocks=(shape["blocks"],) * 2, filters=shape["filters"], num_classes=10, stem="quarter")
    net, batch = settings.place(net), random_batch(settings, shape["batch"], 32)
    drawn = uniform(value if name == "candidates" else 10, 2, "type", torch.Generator().manual_seed(20))
    macs, before = [network_cost(g, net.spec, 32).macs * len(batch.labels) for g in drawn], peak_memory(CPU)
    task = Classification.search()
    if name == "candidates":
        scorer = Scorer(net, task, *task.choose_score("loss"), Precision())
        times = measure([partial(scorer.metrics, drawn, [batch] * 3)], repeats, CPU)
        work = 3 * sum(macs)
    else:
        step = step_of(settings, net, task, batch, heads=len(net.aux_heads), clip=None)
        times = measure([step(g, 0.2) for g in drawn], repeats, CPU)
        work = 3 * statistics.mean(macs)  # a step counts three forward passes
    return {"value": value, "seconds": statistics.median(times), "macs": work, "bytes": peak_memory(CPU) - before}


def images_per_second(command: str, processes: int, epochs: int) -> float:
    """Of the epochs but the first of a script on the digits, with two threads in all."""
    launcher = "-m torch.distributed.run --standalone --nproc_per_node 2".split() if processes > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        words = f"{command} --batch_size {128 // processes} --epochs {epochs} --result".split()
        threads = {**os.environ, "OMP_NUM_THREADS": str(2 // processes)}
        subprocess.run([sys.executable, *launcher, *words, folder], check=True, capture_output=True, env=threads)
        [metrics] = Path(folder).glob("*/*/metrics.jsonl")
        rates = [json.loads(line)["time/images_per_s"] for line in metrics.read_text().splitlines()]
    return statistics.median(rates[1:] or rates)


def picture(curves: Mapping[str, Sequence[Mapping[str, float]]], rates: Mapping[str, Sequence[float]]) -> Figure:
    """Time beside work for each curve, memory over batch and blocks, images a second by processes."""
    figure = Figure(figsize=(12, 5.5), dpi=110, layout="constrained")
    axes = figure.subplots(2, 3).flatten()
    for ax, (name, points) in zip(axes, curves.items(), strict=False):
        values = [p["value"] for p in points]
        for key, style, label in (("seconds", "o-k", "time"), ("macs", "--", "work (MACs)")):
            ax.loglog(values, [p[key] / points[0][key] for p in points], style, label=label, base=2)
        ax.set(
            title=f"{name}: {points[0]['seconds']:.3g} s at {values[0]}", xlabel=name, ylabel="times the first point"
        )
        ax.set_xticks(values, values)
        ax.legend()
    for name in ("batch", "blocks"):
        points = curves[name]
        values = [p["value"] / points[0]["value"] for p in points]
        axes[4].loglog(
            values, [p["bytes"] / 2**20 for p in points], "o-", base=2, label=f"{name}, from {points[0]['value']}"
        )
    axes[4].set(title="memory of a step, over the start", xlabel="times the first point", ylabel="MiB")
    axes[4].legend()
    for place, pair in enumerate(rates.values()):
        bars = axes[5].bar([3 * place, 3 * place + 1], pair, color=("0.3", "0.7"))
        axes[5].bar_label(bars, fmt="{:.0f}")
    axes[5].set_xticks([3 * i + j for i in range(len(rates)) for j in (0, 1)], ["threads", "processes"] * len(rates))
    axes[5].set(title=" and ".join(rates) + ", two of each", ylabel="images/s")
    axes[5].margins(y=0.15)  # room for the numbers
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, draw, and print one line a point."""
    parser = make_parser("benchmarks.growth", __doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/growth.png"), help="the picture")
    parser.add_argument("--tiny", action="store_true", help="two points a curve: shows that it runs, not how fast")
    args = parser.parse_args(argv)
    curves, repeats = {name: [] for name in CURVES}, 1 if args.tiny else 3
    for name, values in CURVES.items():
        for value in values[: 2 if args.tiny else None]:
            with get_context("spawn").Pool(1) as fresh:  # the peak of memory is one of the whole process
                curves[name].append(fresh.apply(point, (name, value, repeats)))
            print(name, {key: float(f"{number:.4g}") for key, number in curves[name][-1].items()}, flush=True)
    epochs = 1 if args.tiny else 4
    rates = {name: [images_per_second(path, n, epochs) for n in (1, 2)] for name, path in SCRIPTS.items()}
    print("images/s with two threads and with two processes:", rates)
    picture(curves, rates).savefig(args.out)
    if args.json:
        write_json(args.json, {"machine": describe_machine(CPU), "curves": curves, "images_per_s": rates})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
