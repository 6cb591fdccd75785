"""Whole epochs of the real search command on random CIFAR-shaped images, and where their time goes.

The command runs in this process with clocks around what it calls: none of its parts is built anew here.
"""

from __future__ import annotations

import runpy
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import wraps
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.common import Row
from benchmarks.workloads import CLASSES, TRAINING, Settings
from controller.reinforce import Reinforce
from engine import task
from engine.precision import Float16, Precision
from engine.run_state import Training
from models.cost import network_cost
from models.stems import Stemmed, stem_stride
from models.supernet import SuperNet
from utils.system.device import synchronise

SCRIPT = Path(__file__).resolve().parent.parent / "train_search_cifar.py"
SHARED = 0.8  # of the training images train the shared weights
UPDATES, REPORTS = 150 / 417, 20 / 417  # for each step of an epoch on CIFAR-10


class Clocks:
    """Seconds of every epoch, and of its parts where ``detailed``: then every part waits for the device."""

    def __init__(self, device: torch.device, detailed: bool) -> None:
        self.device, self.detailed = device, detailed
        self.epochs: list[dict[str, float]] = []
        self.now: dict[str, float] | None = None  # None outside the epochs: ranking at the end does not count

    def around(self, call: Callable, part: Callable[[tuple], str]) -> Callable:
        @wraps(call)
        def clocked(*args: Any, **kwargs: Any) -> Any:
            now = self.now
            if now is None:
                return call(*args, **kwargs)
            synchronise(self.device)
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                synchronise(self.device)
                name = part(args)
                now[name] = now.get(name, 0.0) + time.perf_counter() - began

        return clocked

    def opening(self, enters: Callable) -> Callable:
        """Starts the clock of an epoch where its first phase is entered."""

        @wraps(enters)
        def clocked(training: Training, phase: str) -> bool:
            if self.now is None:
                synchronise(self.device)
                self.now, self.began = {}, time.perf_counter()
            return enters(training, phase)

        return clocked

    def closing(self, close_epoch: Callable) -> Callable:
        """Stops it where the epoch is closed, before the checkpoint."""

        @wraps(close_epoch)
        def clocked(*args: Any, **kwargs: Any) -> Any:
            record = close_epoch(*args, **kwargs)
            synchronise(self.device)
            self.epochs.append({**self.now, "epoch": time.perf_counter() - self.began})
            self.now = None
            return record

        return clocked

    def counting(self, forward: Callable) -> Callable:
        """Adds up the floating-point operations, outside the clocks."""

        @wraps(forward)
        def counted(net: SuperNet, images: torch.Tensor, genotype: Any, *rest: Any) -> Any:
            if self.now is not None:
                x, by = (images.s1, stem_stride(net.spec.stem)) if isinstance(images, Stemmed) else (images, 1)
                flops = 2 * network_cost(genotype, net.spec, by * x.shape[-1]).macs * len(x)
                self.now["flops"] = self.now.get("flops", 0.0) + flops * (TRAINING if net.training else 1)
            return forward(net, images, genotype, *rest)

        return counted


@contextmanager
def clocks(device: torch.device, *, detailed: bool) -> Iterator[Clocks]:
    """Clocks around the calls of a search, for as long as the block runs."""
    c = Clocks(device, detailed)
    new: list[tuple[Any, str, Callable]] = [
        (Training, "enters", c.opening(Training.enters)),
        (Training, "close_epoch", c.closing(Training.close_epoch)),
    ]
    if detailed:
        forward = c.around(SuperNet.forward, lambda args: "training" if args[0].training else "evaluation")
        new.append((SuperNet, "forward", c.counting(forward)))
        # Stems run on their own where genotypes are scored, and within a forward pass in training.
        stem = c.around(SuperNet.stem, lambda args: "within" if args[0].training else "evaluation")
        new.append((SuperNet, "stem", stem))
        for owner, name in ((Precision, "step"), (Float16, "step"), (task, "search_loss")):
            new.append((owner, name, c.around(getattr(owner, name), lambda _args: "training")))
        for name in ("ask", "sample", "tell"):
            new.append((Reinforce, name, c.around(getattr(Reinforce, name), lambda _args: "controller")))
    old = [(owner, name, getattr(owner, name)) for owner, name, _ in new]
    try:
        for owner, name, call in new:
            setattr(owner, name, call)
        yield c
    finally:
        for owner, name, call in old:
            setattr(owner, name, call)


def write_images(root: Path, train: int, val: int) -> None:
    """Random 32x32 images in class folders."""
    random = np.random.default_rng(0)
    for side, count in (("train", train), ("val", val)):
        for i in range(count):
            folder = root / side / f"class{i % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png", compress_level=0)


def search(s: Settings, folder: Path, steps: int, epochs: int, *, detailed: bool) -> list[dict[str, float]]:
    """Run the command; what its clocks say of every epoch but the first, which warms up."""
    counts = {"controller_steps": max(1, round(UPDATES * steps)), "valid_steps": max(1, round(REPORTS * steps))}
    flags = {
        **{"data": folder, "dataset": "folder", "result": folder / "result", "device": s.device, "epochs": epochs + 1},
        **{"precision": s.precision().name, "batch_size": s.size(96, 20), "child_out_filters": s.size(16, 4)},
        **{"blocks": list(s.blocks), "derive_samples": 1, "top_k": 1, "searcher": "rl", **counts},
    }
    words = [word for key, value in flags.items() for word in (f"--{key}", str(value))]
    with clocks(s.device, detailed=detailed) as c, redirect_stdout(StringIO()):
        runpy.run_path(str(SCRIPT), run_name="benchmark")["main"]([*words, "--no-tensorboard"])
    return c.epochs[1:]


def search_epoch(s: Settings) -> Row:
    """Seconds of an epoch; in a second run, with clocks around its parts, their shares.

    ``network``: forward, loss, backward and update of the shared weights, and forward where genotypes are scored.
    """
    batch = s.size(96, 20)
    images = s.size(960, 100)
    shared = round(SHARED * images)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), images, 2 * batch)
        plain = search(s, Path(folder), shared // batch, s.repeats, detailed=False)
        detailed = search(s, Path(folder), shared // batch, max(1, s.repeats // 2), detailed=True)
    names = ("training", "evaluation", "controller")
    shares = {name: statistics.mean(e.get(name, 0.0) / e["epoch"] for e in detailed) for name in names}
    shares |= {"network": shares["training"] + shares["evaluation"], "rest": 1 - sum(shares.values())}
    flops = statistics.mean(e["flops"] for e in detailed)
    return Row("search_epoch", [e["epoch"] for e in plain], shared, [flops], parts=shares)
