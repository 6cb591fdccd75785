"""How long the work of a search and of a retraining takes, beside what the machine can do.

    OMP_NUM_THREADS=2 python -m benchmarks.steps
    python -m benchmarks.steps --only retrain_step,retrain_eval --compile --json after.json

What the columns mean is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import train_search_cifar
from benchmarks import common, workloads
from benchmarks.common import Row, Settings
from controller.policy import Controller, LogitScale
from controller.reinforce import Reinforce
from engine.configuration import parse_search
from engine.precision import PRECISIONS, choose_precision
from utils.reports.log import write_json
from utils.system.device import describe_machine, pick_device
from utils.system.errors import UsageError
from utils.system.numbers import positive_int

PHASES = ("weights", "strategy", "report")  # of an epoch, as metrics.jsonl has their seconds
UPDATES, REPORTS = 150 / 417, 20 / 417  # for each step of an epoch on CIFAR-10: 40,000 images in batches of 96
SHARED = 0.8  # of the training images train the shared weights


def sampling(s: Settings, n: int) -> Row:
    """Times per genotype of drawing ``n`` in one pass of the controller."""
    torch.manual_seed(0)
    # Two encodings: --sharing type.
    controller, generator = Controller(2).to(s.device), torch.Generator().manual_seed(0)
    draw = torch.no_grad()(partial(controller.sample, n, generator))
    # Short calls: five times as many.
    times = common.measure([draw], s.size(5, 1) * s.repeats, s.device, warmup=s.size(5, 1))
    return Row(times, per=n)


def update(s: Settings, *, n: int = 1, recipe: str = "published") -> Row:
    """Times per genotype of an update with ``n``: sampling them, backward, optimizer, as ``--recipe`` has these."""
    torch.manual_seed(0)
    c, generator = parse_search(["--recipe", recipe]), torch.Generator().manual_seed(0)
    logit_scale = LogitScale(c.connection_bound, c.operation_bound, c.controller_temperature)
    learning = {"optimizer": c.controller_optimizer, "advantage": c.advantage, "entropy_in_loss": c.entropy_in_loss}
    controller, calls = Controller(2, logit_scale=logit_scale).to(s.device), itertools.count()
    strategy = Reinforce(controller, c.controller_lr, c.entropy_weight, updates=10_000, **learning)

    def work() -> None:
        strategy.ask(n, generator)
        # Rewards that differ, in percent: alike ones would teach nothing, and gradients near 0 take longer.
        first = next(calls)
        strategy.tell([50.0 + (first + k) % 7 for k in range(n)])

    times = common.measure([work], s.size(5, 1) * s.repeats, s.device, warmup=s.size(5, 1))
    return Row(times, per=n)


def write_images(root: Path, train: int, val: int) -> None:
    """Random 32x32 images in class folders."""
    random = np.random.default_rng(0)
    for side, count in (("train", train), ("val", val)):
        for i in range(count):
            folder = root / side / f"class{i % workloads.CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            # No compression: noise cannot be compressed.
            Image.fromarray(pixels).save(folder / f"{i}.png", compress_level=0)


def search_epoch(s: Settings) -> Row:
    """Epochs of the search command on random CIFAR-shaped images, and the shares of their phases.

    The command runs in this process, and the seconds are those of its metrics.jsonl. The first epoch warms up.
    """
    batch, images = s.size(96, 20), s.size(960, 100)
    steps = round(SHARED * images) // batch
    # So few images leave few steps: updates and reports are cut down alike, or they would be nearly all of the epoch.
    counts = {"controller_steps": max(1, round(UPDATES * steps)), "valid_steps": max(1, round(REPORTS * steps))}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), images, 2 * batch)  # val/: two batches, for the reports
        flags = {
            **{"data": folder, "dataset": "folder", "result": f"{folder}/result", "device": s.device},
            **{"precision": s.precision().name, "batch_size": batch, "child_out_filters": s.size(16, 4), **counts},
            **{"blocks": list(s.blocks), "epochs": s.repeats + 1, "derive_samples": 1, "top_k": 1, "searcher": "rl"},
        }
        words = [word for key, value in flags.items() for word in (f"--{key}", str(value))]
        # The command talks of its epochs, and the table alone is for standard output.
        with redirect_stdout(StringIO()):
            train_search_cifar.main([*words, "--no-tensorboard"])
        [path] = Path(folder, "result").glob("search/*/metrics.jsonl")
        epochs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][1:]
    shares = {name: statistics.fmean(e[f"time/{name}_s"] / e["time/epoch_s"] for e in epochs) for name in PHASES}
    return Row([e["time/epoch_s"] for e in epochs], round(SHARED * images), parts=shares)


WORK: dict[str, Callable[[Settings], Row]] = {
    "supernet_step": workloads.supernet_step,
    "supernet_eval": workloads.supernet_eval,
    "sample_1": partial(sampling, n=1),
    "sample_64": partial(sampling, n=64),
    "update": update,
    "update_16_published": partial(update, n=16),
    "update_16_tuned": partial(update, n=16, recipe="tuned"),
    "search_epoch": search_epoch,
    # What follows changes how the process keeps its memory, as the retraining script does.
    "derive": workloads.derivation,
    "retrain_step": partial(workloads.retraining, training=True),
    "retrain_eval": partial(workloads.retraining, training=False),
    "shufflenet_step": partial(workloads.shufflenet, training=True),
    "shufflenet_eval": partial(workloads.shufflenet, training=False),
}


def run(s: Settings, only: Sequence[str]) -> dict[str, dict]:
    """Measure; a line on standard error says how far it is."""
    size, summaries = s.size(2048 if s.device.type == "cpu" else 8192, 128), {}  # a GPU needs more to reach its rate
    for name in only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        before = common.matrix_rate(s.device, size)
        row = WORK[name](s)
        # A machine that others use changes its pace: taken on both sides of the row, the rate is that of its time.
        row.rate = (before + common.matrix_rate(s.device, size)) / 2
        summaries[name] = row.summary()
    return summaries


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the flags name, and print it as a table."""
    p, yes_no = common.make_parser("benchmarks.steps", __doc__), argparse.BooleanOptionalAction
    p.add_argument("--device", default="cpu", help="cpu, cuda, mps or auto (cpu)")
    p.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the networks (fp32)")
    p.add_argument("--compile", action=yes_no, default=False, help="torch.compile of retrained network and yardstick")
    p.add_argument("--repeats", type=positive_int, default=5, help="rounds after the warm-up (5)")
    p.add_argument("--only", type=common.names_of(WORK), default=list(WORK), help=f"of {','.join(WORK)}")
    p.add_argument("--tiny", action=yes_no, default=False, help="smallest sizes: shows that it runs, not how fast")
    args = p.parse_args(argv)
    try:
        device = pick_device(args.device)
        choose_precision(args.precision, device)  # refuses now what it could not make for every row
    except UsageError as error:
        p.error(str(error))
    precision = partial(choose_precision, args.precision, device)
    settings = Settings(device, precision, args.compile, args.repeats, args.tiny)
    machine, work = describe_machine(device), run(settings, args.only)
    print(f"{machine['device_name']}, {machine['threads']} threads, torch {torch.__version__}, {precision().name}")
    print(common.table(work))
    for name, summary in work.items():
        if "shares" in summary:
            print(f"{name}: " + "  ".join(f"{part} {share:.1%}" for part, share in summary["shares"].items()))
    if args.json:
        write_json(args.json, {"settings": vars(args), "machine": machine, "work": work})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
