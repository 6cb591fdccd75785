"""Train the network of a genotype from scratch.

    python retrainer_cifar.py --data digits --save first --epochs 8 --blocks "[1,1]" --child_out_filters 16
    python retrainer_cifar.py --data ../data/cifar10 --save winner --arch result/search/.../genotypes.json#0

``--arch`` is a JSON list of encodings or a file that train_search_cifar.py wrote (docs/method.md).
"""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from data.datasets import Dataset, find_dataset, load, num_outputs
from data.images import DataError
from data.loaders import Loader, derived_seed, make_loader
from models.backbone import SizeError, require_batch, require_size
from models.network import Network
from ops.genotype import Genotype, GenotypeError, read_candidate
from utils import report
from utils.checkpoint import CheckpointError
from utils.command import command
from utils.config import RetrainConfig, parse_retrain
from utils.distributed import synchronise_norms
from utils.engine import Averages, Meter, evaluate
from utils.losses import retrain_loss
from utils.resume import flags_of
from utils.schedule import drop_path_ramp
from utils.session import Session, session
from utils.training import Training

DROP_PATH_UNTIL = 0.7  # of the epochs; constant afterwards
DEFAULT_BLOCKS = (4, 4)


@dataclass
class Best:
    """The best validation so far: top-1 in percent and its epoch, counted from 0. A nan is never the best."""

    top1: float = -math.inf
    epoch: int = -1

    def improve(self, top1: float, epoch: int) -> bool:
        if not top1 > self.top1:
            return False
        self.top1, self.epoch = top1, epoch
        return True

    def state_dict(self) -> dict[str, float]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, float]) -> None:
        vars(self).update(state)


@dataclass
class Retraining:
    """The parts of a retraining. ``training`` holds the weights and where the run stands."""

    config: RetrainConfig
    dataset: Dataset
    network: Network
    training: Training
    train: Loader
    valid: Loader
    best: Best


def train_network(r: Retraining) -> None:
    """Phase 1 of an epoch: every training image once."""
    config, training = r.config, r.training
    epoch = training.at.epoch
    highest = r.dataset.preset.drop_prob if config.drop_prob is None else config.drop_prob
    drop_path = drop_path_ramp(epoch, config.epochs, highest, DROP_PATH_UNTIL)
    averages = training.train_pass(
        r.train,
        lambda images, _step: training.wrapped(images, drop_path),
        partial(retrain_loss, smoothing=config.label_smoothing, aux_weight=config.aux_weight),
        seed=lambda step: derived_seed(config.seed, "drop_path", epoch, step, training.world.rank),
        describe=lambda _step: f"genotype {r.network.genotype}",
        clip=config.grad_clip,
    )
    training.world.average_statistics(r.network)
    training.at.record |= {
        **tags("train", averages),
        "train/lr": training.schedule.lr(epoch),
        "train/drop_path": drop_path,
    }


def validate(r: Retraining) -> None:
    """Phase 2: every validation image once."""
    meter = Meter(r.training.device, r.training.heads)
    r.network.eval()
    r.valid.set_epoch(0)
    evaluate(r.valid, r.network, precision=r.training.precision, meter=meter)
    r.training.at.record |= tags("valid", meter.read(r.training.world.total))


def tags(side: str, averages: Averages) -> dict[str, float]:
    """Averages under the names that TensorBoard shows."""
    aux = {f"{side}/aux{i}_top1": top1 for i, top1 in enumerate(averages.aux_top1)}
    return {f"{side}/loss": averages.loss, f"{side}/top1": averages.top1, **aux}


def run_epoch(r: Retraining) -> None:
    """Both phases of an epoch, from where the run stands, and the checkpoints."""
    training = r.training
    phases = {"train": lambda: train_network(r), "valid": lambda: validate(r)}
    epoch = training.at.epoch
    top1 = training.run_epoch(phases, r.train.num_images)["valid/top1"]
    training.notes["last_top1"] = top1
    if r.best.improve(top1, epoch):
        training.save("best.pt")
    training.save()


def finish(r: Retraining) -> None:
    """What the run gave, in its report and on the console. Both accuracies are of the images in val/."""
    log, network = r.training.log, r.network
    if not r.training.world.is_main:
        return
    last, aux = r.training.notes["last_top1"], network.num_aux_parameters
    report.write(
        log.folder,
        result={
            "last_top1": last,
            "best_top1": r.best.top1,
            "best_epoch": r.best.epoch,
            "chosen_on": "val",
            "parameters": network.num_parameters - aux,
            "aux_parameters": aux,
            "macs": network.macs(r.dataset.preset.image_size),
            "genotype": network.genotype.to_lists(),
            "sharing": network.genotype.sharing,
        },
    )
    log.line(f"validation accuracy: last {last:.2f} %, best {r.best.top1:.2f} % (epoch {r.best.epoch}, picked on val/)")
    if r.config.tensorboard:
        log.line(f"look at it with:  tensorboard --logdir {shlex.quote(str(log.folder))}")


def parameter_groups(network: torch.nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay on parameters of two or more dimensions only: not on batch norms."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def make_loaders(run: Session, dataset: Dataset) -> tuple[Loader, Loader]:
    """Loaders of the training images, augmented and shuffled, and of the validation images, in order."""
    config = run.config

    def loader(images, stream: str, training: bool) -> Loader:
        return make_loader(
            images,
            dataset.preset,
            stream=stream,
            augment=training,
            shuffle=training,
            resolution_jitter=config.resolution_jitter,
            batch_size=config.batch_size,
            device=run.device,
            seed=config.seed,
            workers=config.workers,
            rank=run.world.rank,
            world_size=run.world.size,
        )

    return loader(dataset.train, "train", True), loader(dataset.val, "valid", False)


def build(run: Session, dataset: Dataset, genotype: Genotype, blocks: Sequence[int], outputs: int) -> Retraining:
    """Network, optimizer and loaders, every random number of them from the seed."""
    config, preset = run.config, dataset.preset
    train, valid = make_loaders(run, dataset)
    torch.manual_seed(derived_seed(config.seed, "network"))
    network = Network(
        genotype,
        blocks,
        config.child_out_filters,
        outputs,
        stem=config.stem or preset.retrain_stem,
        antialias=config.antialias,
        aux=config.child_use_aux_heads,
    ).to(run.device)
    require_batch(blocks, network.stem, preset.image_size, train.smallest_batch)
    if config.sync_bn and run.world.size > 1:
        synchronise_norms(network)
    best = Best()
    training = Training(
        "retrain",
        network,
        torch.optim.SGD(parameter_groups(network, config.weight_decay), config.child_lr_max, momentum=config.momentum),
        run.precision,
        run.schedule,
        run.world,
        run.device,
        config.report_freq,
        flags=flags_of(config),
        facts={"network": network.arguments(), **dataset.facts()},
        extras={"best": best},
    )
    return Retraining(config, dataset, network, training, train, valid, best)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a retraining; see --help. Exits with 2 for what is refused and 1 for a fault during the run."""
    config = parse_retrain(argv)
    refusals = (DataError, GenotypeError, SizeError, CheckpointError)
    with command("retrainer_cifar.py", refusals) as state, session(config, "retrain") as run:
        config = run.config
        if run.is_complete():
            run.note(f"{run.path.parent} is complete: nothing to do")
            return 0
        candidate = read_candidate(config.arch, config.sharing, config.blocks)
        blocks = candidate.blocks or DEFAULT_BLOCKS
        candidate.genotype.require_fit(blocks)
        source = find_dataset(config.data, config.dataset, config.image_size, cutout=config.cutout, flip=config.flip)
        outputs = num_outputs(source, config.num_class, run.note)
        require_size(blocks, config.stem or source.preset.retrain_stem, source.preset.image_size)
        with run.world.main_first():
            dataset = load(source, bad_images=config.bad_images, cache=config.cache, log=run.note)
        r = build(run, dataset, candidate.genotype, blocks, outputs)
        if run.saved is not None:
            r.training.restore(run.saved, run.path)
            run.note(f"best so far: {r.best.top1:.2f} % in epoch {r.best.epoch}")
        r.training.log = run.open_run({**dataset.facts(), **r.network.arguments(), "epoch_images": r.train.num_images})
        state.started(r.training.log)
        r.training.run(lambda: run_epoch(r), lambda: finish(r))
    return 0


if __name__ == "__main__":
    sys.exit(main())
