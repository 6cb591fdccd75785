"""What can be done with a finished network from its checkpoint alone: measure it, predict with it, export it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from data.datasets import KINDS, Dataset, find_dataset, load, output_names
from data.decoding import DataError
from data.loaders import make_loader, read_first_batch
from data.predicting import Pictures
from data.presets import Preset, as_trained
from engine.tasks import TASKS, Task
from models.export import export_network, require_packages
from models.network import Network
from models.stored import require_same_cells, trained_network
from utils.config import RetrainConfig
from utils.runs import resume
from utils.runs.context import RunContext
from utils.runs.same_data import require_classes
from utils.system import checkpoint
from utils.system.device import keep_freed_memory, pick_device
from utils.system.errors import UsageError
from utils.system.seeds import derived_seed
from utils.system.terminal import say, tell


def require_retrainable(config: RetrainConfig) -> None:
    """Refuse what a retraining cannot do, and packages that it would miss in the end. Raises UsageError."""
    task = TASKS[config.task]
    if not task.uses_labels:
        raise UsageError(f"--task {config.task} is for searches: retrain what one found on labels, without it")
    if config.predict and not config.evaluate:
        raise UsageError("--predict needs --evaluate CHECKPOINT: the network to predict with")
    if config.export:
        require_packages(config.export)
        task.require_exportable()
    if not config.evaluate:
        task.require_packages()


def use_complete_run(context: RunContext) -> Path:
    """Export the network of a run that has nothing left to train, if that was asked for; its folder."""
    config, path = context.config, context.earlier.path
    if "export" in config.given and context.world.is_main:
        chosen = path.with_name("best.pt") if config.holdout else path  # what the run measured at its end
        given = config.given - {"resume", "inherit"}
        use_checkpoint(replace(config, evaluate=str(chosen), predict=None, given=given))
    return path.parent


def use_checkpoint(config: RetrainConfig) -> None:
    """``--evaluate``: measure, predict with, or export a network, from its checkpoint alone."""
    path = resume.checkpoint_in(config.evaluate)
    state = checkpoint.load(path)
    network = trained_network(state, path)
    resume.require_own_network(config, state, path)
    if "arch" in config.given:
        require_same_cells(config.arch, config.sharing, state, path)
    device = pick_device(config.device, config.gpu)
    keep_freed_memory(device)  # the maps of these networks take megabytes each
    network.to(device).eval()
    with checkpoint.fitting(path):
        # As the network saw images, whatever data are given now.
        preset = as_trained(state["image_size"], state["statistics"]["mean"], state["statistics"]["std"])
        names = output_names(list(map(str, state["classes"])), network.num_classes)
        task = TASKS[resume.trained_task(config, state, path)].retrain()
    if config.export:
        task.require_exportable()
    if config.predict:
        pictures = Pictures(Path(config.predict).expanduser(), bad=say_skipped)
        images = task.predict(network, pictures, names, preset=preset, batch_size=config.batch_size)
    else:
        task.require_packages()
        dataset = checkpoint_data(config, state, path, preset, task.targets)
        images = measure(config, network, task, dataset, preset, names)
    if config.export:
        report = export_network(network, path.parent, config.export, facts=state, classes=names, images=images)
        say(report["line"])


def measure(
    config: RetrainConfig, network: Network, task: Task, dataset: Dataset, preset: Preset, names: list[str]
) -> torch.Tensor:
    """Print all measures of a network on val/, as JSON; the images of the first batch."""
    loader = make_loader(
        dataset.val,
        preset,
        stream="test",
        batch_size=config.batch_size,
        device=next(network.parameters()).device,
        seed=config.seed,
        workers=config.workers,
        augment=False,
        shuffle=False,
    )
    # The same shifts as at the end of a retraining with this seed, so that measures compare.
    generator = torch.Generator().manual_seed(derived_seed(config.seed, "shift"))
    measures = task.measures(network, loader, names, generator)
    printed = ("images", "per_class", *task.result_measures)
    say(json.dumps({key: measures[key] for key in measures if key in printed}, indent=1))
    return read_first_batch(loader).images


def checkpoint_data(
    config: RetrainConfig, state: Mapping[str, Any], path: Path, preset: Preset, targets: str
) -> Dataset:
    """The data that a checkpoint was trained on, or those given now, which must have the same classes.

    ``targets``: what its task reads of an image.
    """
    with checkpoint.fitting(path):
        data = config.data if "data" in config.given else state["flags"]["data"]  # the data may have moved since
        kind = config.dataset if {"data", "dataset"} & config.given else state["flags"]["dataset"]
        if not isinstance(data, str) or kind not in tuple(KINDS):
            raise ValueError(f"--data {data!r} --dataset {kind!r}")
    source = find_dataset(data, kind, preset.image_size, targets=targets, bad_images=config.bad_images)
    if not source.name.startswith("cifar"):  # whose class names come with the download
        # Before images are read, which can take minutes.
        require_classes(path, state["classes"], source.name, source.classes)
    dataset = load(source, bad_images=config.bad_images, cache=config.cache, log=say_aside)
    require_classes(path, state["classes"], dataset.name, dataset.classes)
    return dataset


def say_aside(text: str) -> None:
    """A line on standard error: standard output is for the result."""
    tell(text, sys.stderr)


def say_skipped(error: DataError) -> None:
    """That a picture was left out, and why."""
    say_aside(f"skipped: {error}")
