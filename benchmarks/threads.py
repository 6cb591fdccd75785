"""What waiting threads cost, on an idle machine and beside processes that keep its cores busy.

    python -m benchmarks.threads [--repeats 5] [--json FILE]

Every way of waiting is a fresh process, since libgomp reads its variables once, when torch loads it. Each process times
the supernet step and the retraining step of benchmarks.workloads, alone and beside as many spinning processes as there
are cores; a way that has not ended after ``--limit`` seconds is "not done".
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from utils.system.threads import SPINNING, SPINS, THREADS, usable_cpus

ROWS = ("supernet_step", "retrain_step")
WAYS: dict[str, dict[str, str]] = {  # the environment of each, beside the number of threads
    "torch's default": {"OMP_WAIT_POLICY": ""},  # set, so that ours stays away; empty is none to libgomp
    "bounded spin": {"GOMP_SPINCOUNT": SPINS},
    "one thread": {THREADS: "1"},
}


def step_seconds(repeats: int) -> dict[str, float]:
    """The median seconds of both steps in this process."""
    # Not at the top: the process that starts the others needs neither.
    import torch

    from benchmarks.common import Settings
    from benchmarks.steps import WORK
    from engine.precision import Precision

    settings = Settings(torch.device("cpu"), Precision, repeats=repeats)
    return {name: statistics.median(WORK[name](settings).seconds) for name in ROWS}


def timed(way: Mapping[str, str], threads: int, repeats: int, limit: float) -> dict[str, float] | None:
    """The same in a fresh process that waits in this way; None where it is not done within the limit."""
    # What the user set would hold for every way.
    environment = {name: value for name, value in os.environ.items() if name not in SPINNING}
    command = [sys.executable, "-m", "benchmarks.threads", "--measure", "--repeats", str(repeats)]
    options = {"cwd": Path(__file__).resolve().parents[1], "capture_output": True, "text": True, "timeout": limit}
    try:
        process = subprocess.run(command, env={**environment, THREADS: str(threads), **way}, check=True, **options)
    except subprocess.TimeoutExpired:
        return None
    return json.loads(process.stdout)


def spin() -> None:
    """Keep one core busy until the process is ended."""
    while True:
        pass


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Let so many processes spin beside the body."""
    spinning = [multiprocessing.Process(target=spin, daemon=True) for _ in range(processes)]
    for process in spinning:
        process.start()
    try:
        yield
    finally:
        for process in spinning:
            process.kill()  # a spinning process looks at no request
            process.join()


def milliseconds(times: Mapping[str, float] | None) -> str:
    """Both steps in one cell of the table."""
    return "not done" if times is None else " / ".join(f"{1000 * times[name]:.0f} ms" for name in ROWS)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every way, idle and busy, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=float, default=150.0)
    parser.add_argument("--measure", action="store_true", help="time the steps of this process, as JSON")
    parser.add_argument("--json", metavar="FILE")
    flags = parser.parse_args(argv)
    if flags.measure:  # the process that `timed` starts
        print(json.dumps(step_seconds(flags.repeats)))
        return 0
    cores, results = usable_cpus(), {}
    for way, environment in WAYS.items():
        results[way] = {"idle": timed(environment, cores, flags.repeats, flags.limit)}
        # As many spinning processes as threads: every thread has to take turns with one.
        with busy(cores):
            results[way]["busy"] = timed(environment, cores, flags.repeats, flags.limit)
    print(f"{' / '.join(ROWS)}, {cores} threads, {flags.repeats} rounds, medians")
    print("| | idle | busy |\n|---|---|---|")
    for way, times in results.items():
        print(f"| {way} | {milliseconds(times['idle'])} | {milliseconds(times['busy'])} |")
    if flags.json:
        Path(flags.json).write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
