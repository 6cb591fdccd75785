"""How long the work of a search and of a retraining takes, beside what the machine can do.

    OMP_NUM_THREADS=2 python -m benchmarks.steps
    python -m benchmarks.steps --only retrain_step,retrain_eval --compile --json after.json

What the columns mean is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial

import torch

from benchmarks import controllers, masks, mixtures, workloads
from benchmarks.common import (
    Row,
    add_flags,
    copy_rate,
    matrix_rate,
    observe,
    reference_type,
    report,
    rows_table,
    start,
)
from benchmarks.epoch import search_epoch
from benchmarks.workloads import Settings
from utils.system.device import describe_machine
from utils.system.numbers import positive_int

WORK: dict[str, Callable[[Settings], Row]] = {
    "supernet_step": workloads.supernet_step,
    "supernet_eval": workloads.supernet_eval,
    "sample_1": partial(controllers.sampling, n=1),
    "sample_64": partial(controllers.sampling, n=64),
    "update": controllers.update,
    "update_16_published": partial(controllers.update, n=16),
    "update_16_tuned": partial(controllers.update, n=16, recipe="tuned"),
    "learn": partial(controllers.update, alone=True),
    "search_epoch": search_epoch,
    "derive_apart": partial(workloads.derivation, together=False),
    # What follows changes how the process keeps its memory, as the retraining script does.
    "derive": partial(workloads.derivation, together=True),
    "retrain_step": workloads.retrain_step,
    "retrain_eval": workloads.retrain_eval,
    "darts_step": mixtures.darts_step,
    "darts_network_step": mixtures.darts_network_step,
    "segment_step": masks.segment_step,
    "lraspp_step": masks.lraspp_step,
    "shufflenet_step": workloads.yardstick_step,
    "shufflenet_eval": workloads.yardstick_eval,
}


def names(text: str) -> list[str]:
    """``a,b``: names of work."""
    asked = text.split(",")
    unknown = [name for name in asked if name not in WORK]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(WORK)}")
    return [name for name in WORK if name in asked]


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        "benchmarks.steps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    yes_no = argparse.BooleanOptionalAction
    add_flags(p)
    p.add_argument("--compile", action=yes_no, default=False, help="torch.compile of retrained network and yardstick")
    p.add_argument("--repeats", type=positive_int, default=5, help="rounds after the warm-up (5)")
    p.add_argument("--only", type=names, default=list(WORK), help=f"of {','.join(WORK)}")
    return p


def machine_facts(device: torch.device, size: int, mebibytes: int) -> dict[str, object]:
    """Rates of the machine and what it is."""
    rates = {"matrix_fp32_gflops": matrix_rate(device, size) / 1e9}
    if reference_type(device) == torch.bfloat16:
        rates["matrix_bf16_gflops"] = matrix_rate(device, size, torch.bfloat16) / 1e9
    rates["copy_gbytes_per_s"] = copy_rate(device, mebibytes) / 1e9
    return {**rates, **describe_machine(device)}


def run(s: Settings, only: Sequence[str]) -> dict[str, object]:
    """Measure; a line on standard error says how far it is."""
    size = s.size(2048 if s.device.type == "cpu" else 8192, 128)
    facts, found = machine_facts(s.device, size, s.size(256, 4)), {}
    for name in only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found[name] = observe(lambda work=WORK[name]: work(s), s.device, size).summary()
    return {"machine": facts, "work": found}


def main(argv: Sequence[str] | None = None) -> int:
    p = parser()
    args = p.parse_args(argv)
    device, precision = start(p, args)
    s = Settings(device, precision, args.compile, args.channels_last, args.repeats, args.tiny)
    document = {"settings": {k: v for k, v in vars(args).items() if k != "json"}, **run(s, args.only)}
    facts, work = document["machine"], document["work"]
    rates = "  ".join(f"{key} {facts[key]:,.0f}" for key in facts if key.startswith(("matrix", "copy")))
    print(f"{facts['device_name']}, {facts['threads']} threads, torch {torch.__version__}, {precision().name}: {rates}")
    print(rows_table(work))
    for name, summary in work.items():
        if "shares" in summary:
            print(f"{name}: " + "  ".join(f"{part} {share:.1%}" for part, share in summary["shares"].items()))
    report(args.json, document)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
