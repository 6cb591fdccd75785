"""Train the network of a genotype from scratch; evaluate, use and export it.

    python retrainer_cifar.py --data digits --save first --epochs 8 --blocks "[1,1]" --child_out_filters 16
    python retrainer_cifar.py --data ../data/cifar10 --save winner --arch result/search/.../genotypes.json#0
    python retrainer_cifar.py --evaluate result/retrain/.../checkpoint.pt

``--arch`` is a JSON list of encodings or a file that train_search_cifar.py wrote (docs/method.md).
"""

from __future__ import annotations

import json
import math
import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from data.datasets import Dataset, find_dataset, load, num_outputs
from data.images import DataError, Images, decode_all
from data.listing import Notes, image_names
from data.loaders import Loader, derived_seed, make_loader
from data.mixing import MixedLoader
from data.presets import Preset, as_trained
from data.splits import split_indices
from data.workers import Reader
from models.backbone import require_batch, require_size
from models.network import Network
from models.supernet import SuperNet
from ops.genotype import Genotype, read_candidate
from utils import checkpoint, measures, predict, report, resume
from utils.checkpoint import CheckpointError
from utils.command import Command, command
from utils.config import RetrainConfig, parse_retrain
from utils.distributed import launched, synchronise_norms
from utils.ema import WeightAverage
from utils.engine import Averages, Meter, evaluate
from utils.export import SUFFIXES, export, require_packages
from utils.log import write_json
from utils.losses import retrain_loss
from utils.recipes import Recipe, choose_recipe
from utils.runtime import keep_freed_memory, pick_device
from utils.schedule import drop_path_ramp
from utils.session import Session, session
from utils.system.errors import UsageError
from utils.system.terminal import say, tell
from utils.training import Training

PROG = "retrainer_cifar.py"
DEFAULT_BLOCKS = (4, 4)
SHIFT = 1 / 8  # of the side: how far images are moved to measure shift consistency


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
    """The parts of a retraining. ``training`` holds the weights and where the run stands.

    ``average``: of the weights, which is evaluated in their place. ``test``: read once, at the end; the images of
    ``valid`` where nothing is held out.
    """

    config: RetrainConfig
    recipe: Recipe
    dataset: Dataset
    network: Network
    average: WeightAverage | None
    training: Training
    train: Loader | MixedLoader
    valid: Loader
    test: Loader
    best: Best

    @property
    def evaluated(self) -> Network:
        """The network whose accuracy counts."""
        if self.average is None:
            return self.network
        self.average.take_statistics()
        return self.average.network


def train_network(r: Retraining) -> None:
    """Phase 1 of an epoch: every training image once."""
    config, training = r.config, r.training
    epoch = training.at.epoch
    highest = r.dataset.preset.drop_prob if config.drop_prob is None else config.drop_prob
    drop_path = drop_path_ramp(epoch, config.epochs, highest, r.recipe.drop_path_until)
    averages = training.train_pass(
        r.train,
        lambda images, _step: training.wrapped(images, drop_path),
        partial(retrain_loss, smoothing=r.recipe.label_smoothing, aux_weight=config.aux_weight),
        seed=lambda step: derived_seed(config.seed, "drop_path", epoch, step, training.world.rank),
        describe=lambda _step: f"genotype {r.network.genotype}",
        clip=config.grad_clip,
        on_step=(lambda: None) if r.average is None else r.average.update,
    )
    training.world.average_statistics(r.network)
    schedule = {"train/lr": training.schedule.lr(epoch), "train/drop_path": drop_path}
    training.at.record |= {**tags("train", averages), **schedule}


def validate(r: Retraining) -> None:
    """Phase 2: every validation image once."""
    meter = Meter(r.training.device, r.training.heads)
    network = r.evaluated.eval()
    r.valid.set_epoch(0)
    evaluate(r.valid, network, precision=r.training.precision, meter=meter)
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
    record = training.run_epoch(phases, r.train.num_images)
    training.notes["last_top1"] = record["valid/top1"]
    if r.best.improve(record["valid/top1"], epoch):
        training.save("best.pt")
    training.end_epoch(record)


def finish(r: Retraining) -> None:
    """What the run gave: measures of the chosen network, report, export. The first process does it alone."""
    log, config, network = r.training.log, r.config, r.network
    if not r.training.world.is_main:
        return
    chosen_on = "holdout" if config.holdout else "val"
    chosen = r.evaluated
    if config.holdout:
        chosen = trained_network(checkpoint.load(log.folder / "best.pt", r.training.device), log.folder / "best.pt")
        chosen = chosen.to(r.training.device)
    names = output_names(r.dataset.classes, network.num_classes)
    measured = measure(chosen, r.test, names, config.seed)
    write_json(log.folder / "measures.json", measured)
    aux = network.num_aux_parameters
    result = {
        "last_top1": r.training.notes["last_top1"],
        "best_top1": r.best.top1,
        "best_epoch": r.best.epoch,
        "chosen_on": chosen_on,
        "measured": "best on the holdout" if config.holdout else "last",
        **{f"val_{key}": measured[key] for key in ("top1", "top5", "loss", "calibration_error", "shift_consistency")},
        "parameters": network.num_parameters - aux,
        "aux_parameters": aux,
        "macs": network.macs(r.dataset.preset.image_size),
        "genotype": network.genotype.to_lists(),
        "sharing": network.genotype.sharing,
        "recipe": asdict(r.recipe),
    }
    if config.export:
        path = log.folder / f"network{SUFFIXES[config.export]}"
        result["export"] = export_network(chosen, path, config, r.dataset.facts(), r.test)
        log.line(result["export"]["line"])
    with log.decoration("the confusion picture"):
        if log.writer is not None:
            picture = measures.confusion_figure(torch.tensor(measured["confusion"]), names)
            log.figure("measures/confusion", picture, config.epochs)
    report.write(log, result=result)
    last, best = result["last_top1"], r.best
    log.line(
        f"{chosen_on} accuracy: last {last:.2f} %, best {best.top1:.2f} % (epoch {best.epoch}, picked on {chosen_on})"
    )
    if config.holdout:
        log.line(f"val accuracy of the best on the holdout, read once: {measured['top1']:.2f} %")
    if config.tensorboard:
        log.line(f"look at it with:  tensorboard --logdir {shlex.quote(str(log.folder))}")


def output_names(classes: Sequence[str], outputs: int) -> list[str]:
    """A name for every output: the classes, then those that the data has no class for."""
    return [*classes, *(f"output {i}" for i in range(len(classes), outputs))]


@torch.inference_mode()
def measure(network: Network, loader: Loader, classes: Sequence[str], seed: int) -> dict[str, Any]:
    """All measures of a network on the images of a loader."""
    network.eval()
    predictions = measures.Predictions()
    loader.set_epoch(0)
    for batch in loader:
        predictions.update(network(batch.images)[0], batch.labels)
    found = measures.summary(*predictions.read(), classes)
    loader.set_epoch(0)
    shift = max(1, round(SHIFT * loader.preset.image_size))
    found["shift_consistency"] = measures.shift_consistency(
        lambda images: network(images)[0],
        (batch.images for batch in loader),
        shift,
        generator=torch.Generator().manual_seed(derived_seed(seed, "shift")),
    )
    return found


def export_network(
    network: Network, path: Path, config: RetrainConfig, facts: dict[str, Any], loader: Loader
) -> dict[str, Any]:
    """Write the network as one file, compared with itself on images of the loader; returns what to report."""
    mean, std = facts["statistics"]["mean"], facts["statistics"]["std"]
    loader.set_epoch(0)
    images = next(iter(loader)).images[:32].cpu()
    if config.export_normalise:
        images = images * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    written = export(
        network.cpu(),
        path,
        config.export,
        image_size=facts["image_size"],
        classes=output_names(facts["classes"], network.num_classes),
        mean=mean,
        std=std,
        normalise=config.export_normalise,
        images=images,
        arguments=network.arguments(),
    )
    speed = written.latency_ms["file"]
    line = (
        f"exported {written.path}: {written.size_bytes / 1e6:.2f} MB, {written.parameters} parameters, "
        f"{network.macs(facts['image_size'])} MACs, largest difference of a logit {written.largest_difference:.1e}, "
        f"{speed[1]:.2f} ms at batch 1, {speed[32]:.2f} ms at batch 32"
    )
    return {**asdict(written), "path": str(written.path), "line": line}


def parameter_groups(network: torch.nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay on parameters of two or more dimensions only: not on batch norms."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def make_loaders(run: Session, dataset: Dataset, recipe: Recipe, outputs: int) -> dict[str, Any]:
    """Loaders of the training images, augmented and shuffled, of those that choose the epoch, and of val/."""
    config = run.config
    pin = run.device.type != "cpu"
    reader = Reader(config.workers, pin_memory=pin, processes=run.world.size, note=run.note)

    def loader(images: Images, stream: str, *, world: tuple[int, int], **options) -> Loader:
        return make_loader(
            images,
            dataset.preset,
            stream=stream,
            batch_size=config.batch_size,
            device=run.device,
            seed=config.seed,
            reader=reader,
            rank=world[0],
            world_size=world[1],
            **options,
        )

    train, valid = dataset.train, dataset.val
    if config.holdout:
        rest, held_out = split_indices(train.labels, config.holdout, seed=config.seed)
        if not len(held_out):
            raise DataError(f"--holdout {config.holdout} leaves no image of {len(train)} to choose on")
        train, valid = train.subset(rest), train.subset(held_out)
    world, plain = (run.world.rank, run.world.size), {"augment": False, "shuffle": False}
    augmented = loader(
        train,
        "train",
        world=world,
        augment=True,
        shuffle=True,
        resolution_jitter=config.resolution_jitter,
        policy=recipe.augment,
        erasing=recipe.random_erasing,
    )
    if recipe.mixup or recipe.cutmix:
        augmented = MixedLoader(augmented, outputs, mixup=recipe.mixup, cutmix=recipe.cutmix)
    return {
        "train": augmented,
        "valid": loader(valid, "valid", world=world, **plain),
        "test": loader(dataset.val, "test", world=(0, 1), **plain),
    }


def build(run: Session, dataset: Dataset, genotype: Genotype, blocks: Sequence[int], outputs: int) -> Retraining:
    """Network, optimizer and loaders, every random number of them from the seed."""
    config, preset = run.config, dataset.preset
    recipe = choose_recipe(config.recipe, vars(config))
    loaders = make_loaders(run, dataset, recipe, outputs)
    torch.manual_seed(derived_seed(config.seed, "network"))
    network = Network(
        genotype,
        blocks,
        config.child_out_filters,
        outputs,
        stem=config.stem or preset.retrain_stem,
        antialias=config.antialias,
        aux=config.child_use_aux_heads,
    )
    require_batch(blocks, network.stem, preset.image_size, loaders["train"].smallest_batch)
    if config.inherit:
        inherit(network, Path(config.inherit).expanduser())
    network.to(run.device)
    if config.sync_bn and run.world.size > 1:
        synchronise_norms(network)
    average = WeightAverage(network, recipe.ema) if recipe.ema else None
    best = Best()
    optimizer = torch.optim.SGD(
        parameter_groups(network, config.weight_decay),
        config.child_lr_max,
        momentum=config.momentum,
        nesterov=recipe.nesterov and config.momentum > 0,
    )
    training = Training(
        "retrain",
        network,
        optimizer,
        run.precision,
        replace(run.schedule, warmup=recipe.lr_warmup_epochs),
        run.world,
        run.device,
        config.report_freq,
        flags=resume.flags_of(config),
        facts={"network": network.arguments(), **dataset.facts()},
        compiled=config.compile,
        extras={"best": best} if average is None else {"best": best, "average": average},
    )
    return Retraining(config, recipe, dataset, network, average, training, best=best, **loaders)


def inherit(network: Network, run: Path) -> None:
    """Give the network the weights that the supernet of a search holds for its genotype. Raises CheckpointError."""
    path = run / resume.CHECKPOINT if run.is_dir() else run
    state = resume.read_run(path, "search")
    supernet = SuperNet(**state["network"])
    checkpoint.load_weights(supernet, state["model"], path)
    mine, theirs = network.arguments(), supernet.arguments()
    differing = [key for key in mine if key in theirs and mine[key] != theirs[key]]
    if differing:
        named = ", ".join(f"{key} {theirs[key]} there but {mine[key]} here" for key in differing)
        raise CheckpointError(f"--inherit {run}: the search has another network: {named}")
    network.load_state_dict(supernet.inherit(network.genotype).state_dict())


def trained_network(state: dict[str, Any], path: Path) -> Network:
    """The network of a checkpoint, with the weights that are to be evaluated. Raises CheckpointError."""
    if state.get("kind") != "retrain" or "cells" not in state.get("network", {}):
        raise CheckpointError(f"{path} is no checkpoint of a retraining")
    network = Network.from_arguments(state["network"])
    average = state["extras"].get("average")
    checkpoint.load_weights(network, state["model"] if average is None else average["weights"], path)
    if average is not None:  # statistics are not averaged
        own = {key: value for key, value in state["model"].items() if "running_" in key or "num_batches" in key}
        network.load_state_dict(own, strict=False)
    return network


def use_checkpoint(config: RetrainConfig) -> None:
    """``--evaluate``: measure, predict with, or export a network, from its checkpoint alone."""
    path = Path(config.evaluate).expanduser()
    path = path / resume.CHECKPOINT if path.is_dir() else path
    state = checkpoint.load(path)
    network = trained_network(state, path)
    device = pick_device(config.device, config.gpu)
    keep_freed_memory(device)
    network.to(device).eval()
    preset = as_trained(state["image_size"], state["statistics"]["mean"], state["statistics"]["std"])
    options = {"batch_size": config.batch_size, "device": device, "seed": config.seed, "workers": config.workers}
    options |= {"augment": False, "shuffle": False}
    if config.predict:
        predict_images(Path(config.predict).expanduser(), network, preset, state["classes"], options)
        return
    given = config.data if "data" in config.given else state["flags"]["data"]
    kind = config.dataset if {"data", "dataset"} & config.given else state["flags"]["dataset"]
    source = find_dataset(given, kind, preset.image_size)
    if not source.name.startswith("cifar"):  # whose class names come with the download
        require_classes(path, state["classes"], source.name, source.classes)
    log = partial(tell, stream=sys.stderr)
    dataset = load(source, bad_images=config.bad_images, cache=config.cache, log=log)
    require_classes(path, state["classes"], dataset.name, dataset.classes)
    loader = make_loader(dataset.val, preset, stream="test", **options)
    found = measure(network, loader, output_names(state["classes"], network.num_classes), config.seed)
    shown = ("images", "loss", "top1", "top5", "calibration_error", "shift_consistency")
    say(json.dumps({**{key: found[key] for key in shown}, "per_class": found["per_class"]}, indent=1))
    if config.export:
        target = path.with_name(f"network{SUFFIXES[config.export]}")
        say(export_network(network, target, config, state, loader)["line"])


def require_classes(path: Path, known: Sequence[str], name: str, found: Sequence[str]) -> None:
    """Refuse data of other classes than a checkpoint knows, naming the first that differs."""
    pairs = enumerate(zip(known, found, strict=False))
    differing = [f"class {i} is {a!r} there, {b!r} here" for i, (a, b) in pairs if a != b]
    if len(known) != len(found):
        differing = [f"{len(known)} there, {len(found)} here"]
    if differing:
        raise UsageError(f"{path} knows other classes than {name}: {differing[0]}")


def predict_images(path: Path, network: Network, preset: Preset, classes: Sequence[str], options: dict) -> None:
    """Print the likeliest classes of an image, or of all in a folder, and write predictions.csv here."""
    if path.is_dir():
        files = [path / name for name in image_names(path, Notes(path))]
    else:
        files = [path] if path.is_file() else []
    if not files:
        raise UsageError(f"--predict {path}: there is no image")
    pixels, good, bad = decode_all(files, preset.decoded_size, keep=True, skip_bad=True, what="decoding")
    for message in bad:
        tell(f"skipped: {message}", sys.stderr)
    if not good:
        raise UsageError(f"--predict {path}: no image can be decoded")
    images = Images(torch.zeros(len(good), dtype=torch.long), preset.decoded_size, pixels)
    loader = make_loader(images, preset, stream="predict", **options)
    batches: Iterable[torch.Tensor] = (batch.images for batch in loader)
    names = [files[i].name for i in good]
    rows = list(zip(names, predict.probabilities(network, batches), strict=True))
    outputs = output_names(classes, network.num_classes)
    for name, values in rows:
        tell(predict.top_line(name, values, outputs))
    target = Path("predictions.csv")
    predict.write_csv(target, rows, outputs)
    tell(f"written to {target}")


def train_once(config: RetrainConfig, state: Command) -> Path:
    """One retraining; returns its folder (of the first process)."""
    with session(config, "retrain") as run:
        config = run.config
        keep_freed_memory(run.device)
        if run.is_complete():
            run.note(f"{run.path.parent} is complete: nothing to do")
            return run.path.parent
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
            if r.best.epoch >= 0:
                run.note(f"best so far: {r.best.top1:.2f} % in epoch {r.best.epoch}")
        r.training.log = run.open_run({**dataset.facts(), **r.network.arguments(), "epoch_images": r.train.num_images})
        state.started(r.training.log)
        r.training.run(lambda: run_epoch(r), lambda: finish(r))
        return run.world.from_main(r.training.log.folder)


def train_seeds(config: RetrainConfig, state: Command) -> None:
    """``--seeds``: one run each, in a folder of its own, then mean, deviation and every value."""
    top1 = {}
    for seed in config.seeds:
        given = config.given | {"seed", "save"}
        folder = train_once(
            replace(config, seed=seed, seeds=None, save=f"{config.save}-seed{seed}", given=given), state
        )
        if state.log is not None:
            state.log.close()
        top1[seed] = json.loads((folder / report.RESULT).read_text(encoding="utf-8"))["val_top1"]
    values = list(top1.values())
    mean, deviation = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    path = Path(config.result).expanduser() / "retrain" / f"{config.save}-seeds.json"
    if not launched().is_main:
        return
    write_json(path, {"val_top1": top1, "mean": mean, "deviation": deviation})
    tell(f"val accuracy over {len(values)} seeds: {mean:.2f} +- {deviation:.2f} % {values}; written to {path}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a retraining; see --help. Exits with 2 for what is refused and 1 for a fault during the run."""
    config = parse_retrain(argv)
    with command(PROG) as state:
        if config.predict and not config.evaluate:
            raise UsageError("--predict needs --evaluate CHECKPOINT: the network to predict with")
        if config.export:
            require_packages(config.export)
        if config.evaluate:
            use_checkpoint(config)
        elif config.seeds:
            train_seeds(config, state)
        else:
            train_once(config, state)
    return 0


if __name__ == "__main__":
    sys.exit(main())
