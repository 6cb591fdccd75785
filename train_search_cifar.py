"""Search a cell architecture.

    python train_search_cifar.py --data digits --save first --epochs 5 --blocks "[1,1]" --child_out_filters 16
    torchrun --nproc_per_node 2 train_search_cifar.py --data ../data/cifar10 --save pair --sync_bn

An epoch trains the shared weights of a supernet on sampled genotypes, then the controller on the accuracy that
its genotypes reach with these weights, then reports. At the end sampled genotypes are ranked and the best are
written to genotypes.json, which retrainer_cifar.py reads (docs/method.md).
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from controller.derive import derive, genotype_document
from controller.policy import Controller
from controller.reinforce import Reinforce
from data.datasets import Dataset, find_dataset, load, num_outputs
from data.images import DataError
from data.loaders import Batch, Loader, derived_seed, forever, make_loader
from data.splits import split_indices
from models.backbone import SizeError, require_batch, require_size
from models.network import Network
from models.supernet import SuperNet
from ops.genotype import OPERATIONS, Genotype, GenotypeError, num_cells
from utils.checkpoint import CheckpointError
from utils.command import command
from utils.config import SearchConfig, UsageError, parse_search
from utils.distributed import World, synchronise_norms
from utils.engine import Averages, Meter, evaluate
from utils.log import write_json
from utils.losses import search_loss
from utils.resume import flags_of
from utils.schedule import drop_path_ramp
from utils.session import Session, session
from utils.training import Training

DROP_PATH = 0.35  # at the end of its ramp, also on photographs


@dataclass
class Search:
    """The parts of a search. ``training`` holds the shared weights and where the run stands."""

    config: SearchConfig
    dataset: Dataset
    supernet: SuperNet
    strategy: Reinforce
    training: Training
    weights: Loader
    rewards: Loader
    valid: Loader
    calibration: list[torch.Tensor]

    def paths(self, n: int, *names: object) -> list[Genotype]:
        """``n`` genotypes from the policy, the same in all processes."""
        drawn = self.strategy.paths(n, self.generator(*names))
        return list(self.training.world.from_main(drawn))

    def generator(self, *names: object) -> torch.Generator:
        return torch.Generator().manual_seed(derived_seed(self.config.seed, *names))


def train_weights(s: Search) -> None:
    """Phase 1: the shared weights, one sampled genotype a batch."""
    at, config = s.training.at, s.config
    paths = s.paths(len(s.weights), "paths", at.epoch)
    if at.epoch == 0:  # too little memory shows in the first step, not in the third hour
        paths[0] = Genotype.widest(len(paths[0].cells), s.supernet.sharing)
    drop_path = drop_path_ramp(at.epoch, config.epochs, DROP_PATH if config.drop_prob is None else config.drop_prob)
    averages = s.training.train_pass(
        s.weights,
        lambda images, step: s.training.wrapped(images, paths[step], drop_path),
        search_loss,
        seed=lambda step: derived_seed(config.seed, "drop_path", at.epoch, step, s.training.world.rank),
        describe=lambda step: f"genotype {paths[step]}",
    )
    at.record |= {
        "shared/loss": averages.loss,
        "shared/top1": averages.top1,
        "shared/lr": s.training.schedule.lr(at.epoch),
        "shared/drop_path": drop_path,
        "controller/distinct": len(set(paths)) / len(paths),
        **operation_shares(paths),
    }


def operation_shares(genotypes: Sequence[Genotype]) -> dict[str, float]:
    """The share of each operation among all edges of the genotypes."""
    taken = [op for genotype in genotypes for cell in genotype.cells for op in cell[1::2]]
    return {f"operations/{name}": taken.count(i) / len(taken) for i, name in enumerate(OPERATIONS)}


def score(s: Search, genotype: Genotype, batches: Iterable[Batch]) -> Averages:
    """How a genotype does with the shared weights, in evaluation, under the chosen batch-norm statistics."""
    meter = Meter(s.training.device, s.training.heads)
    with s.supernet.scoring(genotype, s.calibration):
        evaluate(
            batches,
            lambda images: s.supernet(images, genotype),
            precision=s.training.precision,
            meter=meter,
        )
    return meter.read(s.training.world.total)


def teach_controller(s: Search) -> None:
    """Phase 2: one update a reward batch."""
    at, steps = s.training.at, s.config.controller_steps
    batches = forever(s.rewards, at.epoch * steps + at.step)
    with s.training.reporter("controller", steps) as reporter:
        for step in range(at.step, steps):
            batch = next(batches)
            genotypes = s.strategy.propose(s.config.controller_samples, s.generator("propose", at.epoch, step))
            at.rows.append(s.strategy.learn([score(s, genotype, [batch]).top1 for genotype in genotypes]))
            at.step = step + 1
            reporter(step)
            s.training.stop.check()
    if at.rows:
        means = {key: sum(row[key] for row in at.rows) / len(at.rows) for key in at.rows[0]}
        at.record |= {f"controller/{key}": value for key, value in means.items()}


def report(s: Search) -> None:
    """Phase 3: freshly sampled genotypes, one validation batch each. Nothing is learned from it."""
    at, steps = s.training.at, s.config.valid_steps
    if not steps:
        return
    genotypes = s.paths(steps, "report", at.epoch)
    batches = forever(s.valid, at.epoch * steps + at.step)
    for step, batch in enumerate(islice(batches, steps - at.step), at.step):
        averages = score(s, genotypes[step], [batch])
        at.rows.append([averages.loss, averages.top1])
        at.step = step + 1
        s.training.stop.check()
    loss, top1 = (sum(column) / steps for column in zip(*at.rows, strict=True))
    at.record |= {"valid/loss": loss, "valid/top1": top1}


def run_epoch(s: Search) -> None:
    """All phases of an epoch, from where the run stands, and a checkpoint."""
    phases = {"weights": train_weights, "controller": teach_controller, "report": report}
    bound = {name: lambda phase=phase: phase(s) for name, phase in phases.items()}
    s.training.run_epoch(bound, s.weights.num_images)
    s.training.save()


def derive_result(s: Search) -> None:
    """Rank sampled genotypes on all reward images; write the best, and what each will cost to retrain."""
    config, training = s.config, s.training
    s.rewards.set_epoch(0)
    candidates = set(s.paths(config.derive_samples, "derive"))
    with training.reporter("derive", len(candidates)) as reporter:

        def score_on_all(genotype: Genotype) -> float:
            top1 = score(s, genotype, s.rewards).top1
            reporter(reporter.steps_done)
            training.stop.check()
            return top1

        ranked = derive(sorted(candidates), score_on_all, config.top_k)
    if not training.world.is_main:
        return
    path = training.log.folder / "genotypes.json"
    stem, size = s.dataset.preset.retrain_stem, s.dataset.preset.image_size

    def describe(rank: int, genotype: Genotype) -> dict[str, object]:
        arguments = {**s.supernet.arguments(), "stem": stem, "cells": genotype.to_lists()}
        arguments.pop("bn_stats")
        network = Network.from_arguments(arguments)
        aux = network.num_aux_parameters
        return {
            "parameters": network.num_parameters - aux,
            "aux_parameters": aux,
            "macs": network.macs(size),
            "retrain": retrain_command(config, path, rank),
        }

    facts = {
        **s.supernet.arguments(),
        "stem": stem,
        "image_size": size,
        "reward_images": len(s.rewards.images),
    }
    write_json(path, genotype_document(ranked, describe, facts))
    best = ranked[0]
    training.log.line(f"best of {len(candidates)}: {best.score:.2f} % of the reward images, {best.genotype}")
    training.log.line(f"retrain it with:  {retrain_command(config, path, 0)}")
    if config.tensorboard:
        training.log.line(f"look at the search with:  tensorboard --logdir {shlex.quote(str(path.parent))}")


def retrain_command(config: SearchConfig, path: Path, rank: int) -> str:
    """The command that trains a candidate; sharing and blocks come from the file."""
    words = ["python", "retrainer_cifar.py", "--save", config.save, "--data", config.data]
    given = {
        "--dataset": config.dataset if config.dataset != "auto" else None,
        "--num_class": config.num_class,
        "--image_size": config.image_size,
        "--antialias": config.antialias if config.antialias != "conv" else None,
        "--child_out_filters": config.child_out_filters,
        "--arch": f"{path}#{rank}",
    }
    for flag, value in given.items():
        words += [] if value is None else [flag, str(value)]
    return shlex.join(words)


def make_loaders(config: SearchConfig, world: World, device: torch.device, dataset: Dataset) -> dict[str, Loader]:
    """Loaders of the two disjoint parts of the training images and of the validation images."""
    shared, reward = split_indices(dataset.train.labels, config.reward_fraction, seed=config.seed)
    if not len(reward):
        raise UsageError("no class has two training images: nothing is left for rewards")
    parts = {
        "weights": (dataset.train.subset(shared), True),
        "rewards": (dataset.train.subset(reward), False),
        "valid": (dataset.val, False),
        "calibration": (dataset.train.subset(shared), False),
    }
    return {
        stream: make_loader(
            images,
            dataset.preset,
            stream=stream,
            augment=augment,
            shuffle=True,
            batch_size=config.batch_size,
            device=device,
            seed=config.seed,
            workers=config.workers,
            rank=world.rank,
            world_size=world.size,
        )
        for stream, (images, augment) in parts.items()
    }


def build(run: Session, dataset: Dataset, outputs: int) -> Search:
    """Networks, optimizers and loaders, every random number of them from the seed."""
    config, device, preset = run.config, run.device, dataset.preset
    loaders = make_loaders(config, run.world, device, dataset)
    torch.manual_seed(derived_seed(config.seed, "supernet"))
    supernet = SuperNet(
        config.blocks,
        config.child_out_filters,
        outputs,
        stem=config.stem or preset.search_stem,
        sharing=config.sharing,
        antialias=config.antialias,
        aux=config.child_use_aux_heads,
        bn_stats=config.bn_stats,
    ).to(device)
    for loader in loaders.values():
        require_batch(config.blocks, supernet.stem, preset.image_size, loader.smallest_batch)
    if config.sync_bn and run.world.size > 1:
        synchronise_norms(supernet)
    torch.manual_seed(derived_seed(config.seed, "controller"))
    strategy = Reinforce(
        Controller(num_cells(config.sharing, config.blocks), config.sharing),
        config.controller_lr,
        config.entropy_weight,
        baseline_decay=config.bl_dec,
    )
    calibration = loaders.pop("calibration")
    if config.bn_stats != "recalibrate":
        calibration = []
    training = Training(
        "search",
        supernet,
        torch.optim.SGD(
            supernet.parameters(),
            config.child_lr_max,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        ),
        run.precision,
        run.schedule,
        run.world,
        device,
        config.report_freq,
        flags=flags_of(config),
        facts={"network": supernet.arguments(), **dataset.facts()},
        extras={"strategy": strategy},
    )
    images = [batch.images for batch in islice(calibration, config.calibration_steps)]
    return Search(config, dataset, supernet, strategy, training, **loaders, calibration=images)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a search; see --help. Exits with 2 for what is refused and 1 for a fault during the run."""
    config = parse_search(argv)
    refusals = (DataError, GenotypeError, SizeError, CheckpointError)
    with command("train_search_cifar.py", refusals) as state, session(config, "search") as run:
        config = run.config
        if run.is_complete("genotypes.json"):
            run.note(f"{run.path.parent} is complete: nothing to do")
            return 0
        source = find_dataset(config.data, config.dataset, config.image_size, cutout=config.cutout, flip=config.flip)
        outputs = num_outputs(source, config.num_class, run.note)
        require_size(config.blocks, config.stem or source.preset.search_stem, source.preset.image_size)
        with run.world.main_first():
            dataset = load(source, bad_images=config.bad_images, cache=config.cache, log=run.note)
        s = build(run, dataset, outputs)
        if run.saved is not None:
            s.training.restore(run.saved, run.path)
        s.training.log = run.open_run({**dataset.facts(), **s.supernet.arguments()})
        state.started(s.training.log)
        s.training.run(lambda: run_epoch(s), lambda: derive_result(s))
    return 0


if __name__ == "__main__":
    sys.exit(main())
