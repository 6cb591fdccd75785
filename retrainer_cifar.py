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
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.datasets import Dataset, find_dataset, load, num_outputs
from data.images import DataError, Images
from data.loaders import Loader, derived_seed, make_loader
from data.mixing import MixedLoader
from data.predicting import Pictures
from data.presets import Preset, as_trained
from data.shares import HOLDOUT, LESS_HOLDOUT
from data.splits import split_indices
from data.workers import Reader
from models.network import Network
from models.spec import NetworkSpec
from models.supernet import SuperNet
from ops.genotype import Candidate, Genotype, GenotypeError, read_candidate
from utils.config import RetrainConfig, parse_retrain
from utils.reports import metrics as measures
from utils.reports import predict, report
from utils.reports.export import SUFFIXES, export, require_packages
from utils.reports.log import write_json
from utils.runs import resume, seeds
from utils.runs.session import Session, session
from utils.system import checkpoint
from utils.system.checkpoint import CheckpointError
from utils.system.command import Command, command
from utils.system.device import keep_freed_memory, pick_device
from utils.system.errors import UsageError
from utils.system.processes import launched, synchronise_norms
from utils.system.terminal import say, show, tell
from utils.training.ema import WeightAverage
from utils.training.engine import Averages, Meter, evaluate
from utils.training.losses import retrain_loss
from utils.training.recipes import Recipe, choose_recipe
from utils.training.schedule import drop_path_ramp
from utils.training.state import Training

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
    r.training.at.record |= tags("valid", meter.read(r.training.world.all_reduce_sum))


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
        result["export"] = export_network(chosen, path, config, r.dataset.facts(), first_images(r.test))
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


def first_images(loader: Loader) -> Tensor:
    """The images of the first batch."""
    loader.set_epoch(0)
    return next(iter(loader)).images


def export_network(
    network: Network, path: Path, config: RetrainConfig, facts: dict[str, Any], images: Tensor
) -> dict[str, Any]:
    """Write the network as one file, compared with itself on the images; returns what to report."""
    mean, std = facts["statistics"]["mean"], facts["statistics"]["std"]
    images = images[:32].cpu()
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
    parts = (LESS_HOLDOUT, HOLDOUT) if config.holdout else (None, None)
    world, plain = (run.world.rank, run.world.size), {"augment": False, "shuffle": False}
    augmented = loader(
        train,
        "train",
        world=world,
        part=parts[0],
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
        "valid": loader(valid, "valid", world=world, part=parts[1], **plain),
        "test": loader(dataset.val, "test", world=(0, 1), **plain),
    }


def network_spec(config: RetrainConfig, preset: Preset, blocks: Sequence[int], outputs: int) -> NetworkSpec:
    """The shape of the network."""
    return NetworkSpec(
        blocks,
        config.child_out_filters,
        outputs,
        config.stem or preset.retrain_stem,
        config.antialias,
        config.child_use_aux_heads,
    )


def build(run: Session, dataset: Dataset, genotype: Genotype, blocks: Sequence[int], outputs: int) -> Retraining:
    """Network, optimizer and loaders, every random number of them from the seed."""
    config, preset = run.config, dataset.preset
    recipe = choose_recipe(config.recipe, vars(config))
    loaders = make_loaders(run, dataset, recipe, outputs)
    torch.manual_seed(derived_seed(config.seed, "network"))
    spec = network_spec(config, preset, blocks, outputs)
    network = Network.of(genotype, spec)
    trained = loaders["train"]
    spec.require_batch(preset.image_size, trained.smallest_batch, trained.part.name, trained.remedy)
    if config.inherit and run.saved is None:
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
    with checkpoint.fitting(path):
        supernet = SuperNet.from_arguments(state["network"])
        checkpoint.load_weights(supernet, state["model"], path)
    mine, theirs = network.arguments(), supernet.arguments()
    differing = [key for key in mine if key in theirs and mine[key] != theirs[key]]
    if differing:
        named = ", ".join(f"{key} {theirs[key]} there but {mine[key]} here" for key in differing)
        raise CheckpointError(f"--inherit {run}: the search has another network: {named}")
    network.load_state_dict(supernet.inherit(network.genotype).state_dict())


def trained_network(state: dict[str, Any], path: Path) -> Network:
    """The network of a checkpoint, with the weights that are to be evaluated. Raises CheckpointError."""
    if state.get("kind") != "retrain":
        raise CheckpointError(f"{path} is no checkpoint of a retraining")
    with checkpoint.fitting(path):
        network = Network.from_arguments(state["network"])
        weights = checkpoint.fitted(network, state["model"], path)
        average = state["extras"].get("average")
        if average is not None:  # of parameters; statistics are not averaged
            averaged = checkpoint.fitted(network, average["weights"], "the average of weights")
            weights |= {name: averaged[name] for name, _ in network.named_parameters()}
        network.load_state_dict(weights)
    return network


def stored_candidate(state: dict[str, Any]) -> Candidate:
    """The genotype and the blocks of a checkpoint's network."""
    network = state["network"]
    return Candidate(Genotype.from_lists(network["cells"], network["sharing"]), tuple(network["blocks"]))


def choose_candidate(run: Session) -> Candidate:
    """What to train: what --arch says, but a run that goes on keeps the cells that its checkpoint has weights for.

    Raises UsageError for an --arch that was not the run's and holds another network.
    """
    config = run.config
    if run.saved is None:
        candidate = read_candidate(config.arch, config.sharing, config.blocks)
        blocks = candidate.blocks or DEFAULT_BLOCKS
        candidate.genotype.require_fit(blocks)
        return Candidate(candidate.genotype, blocks)
    with checkpoint.fitting(run.path):
        kept = stored_candidate(run.saved)
        anew = config.arch != run.saved["flags"]["arch"]
    try:
        same = read_candidate(config.arch, config.sharing, kept.blocks).genotype == kept.genotype
    except GenotypeError:
        if anew:
            raise
        same = False
    if anew and not same:
        raise UsageError(f"--arch {config.arch} is another network than that of the run that --resume goes on with")
    if not same:
        run.note(f"{config.arch} does not hold the run's network any more: going on with the checkpoint's")
    return kept


def use_checkpoint(config: RetrainConfig) -> None:
    """``--evaluate``: measure, predict with, or export a network, from its checkpoint alone."""
    path = Path(config.evaluate).expanduser()
    path = path / resume.CHECKPOINT if path.is_dir() else path
    state = checkpoint.load(path)
    network = trained_network(state, path)
    require_own_network(config, state, path)
    device = pick_device(config.device, config.gpu)
    keep_freed_memory(device)
    network.to(device).eval()
    with checkpoint.fitting(path):
        preset = as_trained(state["image_size"], state["statistics"]["mean"], state["statistics"]["std"])
        given = config.data if "data" in config.given else state["flags"]["data"]
        kind = config.dataset if {"data", "dataset"} & config.given else state["flags"]["dataset"]
    options = {"batch_size": config.batch_size, "device": device, "seed": config.seed, "workers": config.workers}
    options |= {"augment": False, "shuffle": False}
    if config.predict:
        outputs = output_names(state["classes"], network.num_classes)
        images = predict_images(Path(config.predict).expanduser(), network, preset, outputs, config.batch_size)
        export_beside(path, network, config, state, images)
        return
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
    export_beside(path, network, config, state, first_images(loader))


def export_beside(path: Path, network: Network, config: RetrainConfig, facts: dict[str, Any], images: Tensor) -> None:
    """``--export``: the network of the checkpoint at ``path``, beside it."""
    if config.export:
        target = path.with_name(f"network{SUFFIXES[config.export]}")
        say(export_network(network, target, config, facts, images)["line"])


def require_own_network(config: RetrainConfig, state: dict[str, Any], path: Path) -> None:
    """Refuse flags that --evaluate could only ignore: of another network, or of a training. Raises UsageError."""
    ignored = [name for name in ("resume", "seeds", "inherit") if name in config.given]
    if ignored:
        raise UsageError(f"--evaluate trains nothing: --{ignored[0]} has no part in it")
    with checkpoint.fitting(path):
        resume.require_same_network(config, state, path)
        own = stored_candidate(state)
    if "arch" in config.given and read_candidate(config.arch, config.sharing, own.blocks).genotype != own.genotype:
        raise UsageError(f"--arch {config.arch} is another network than that of {path}, which --evaluate measures")


def require_classes(path: Path, known: Sequence[str], name: str, found: Sequence[str]) -> None:
    """Refuse data of other classes than a checkpoint knows, naming the first that differs."""
    differing = resume.class_difference(known, found)
    if differing:
        raise UsageError(f"{path} knows other classes than {name}: {differing}")


def predict_images(path: Path, network: Network, preset: Preset, outputs: Sequence[str], batch_size: int) -> Tensor:
    """Print the likeliest classes of an image, or of all below a folder, and write predictions.csv here.

    Both line by line: memory does not grow with the folder. Returns the images of the first batch.
    """
    pictures, first = Pictures(path, bad=lambda error: tell(f"skipped: {error}", sys.stderr)), []

    def rows() -> Iterator[tuple[str, Tensor]]:
        for names, images in pictures.batches(preset, batch_size, network.head.weight.device):
            first[:] = first or [images]
            for name, values in zip(names, predict.probabilities(network, [images]), strict=True):
                tell(predict.top_line(name, values, outputs))
                yield name, values
        if not first:
            raise UsageError(f"--predict {show(path)}: no image was found; left out: {pictures.left_out() or 'none'}")

    target = Path("predictions.csv")
    predict.write_csv(target, rows(), outputs)
    tell(f"written to {target}" + (f"; left out: {pictures.left_out()}" if pictures.left_out() else ""))
    return first[0]


def train_once(config: RetrainConfig, state: Command) -> Path:
    """One retraining; returns its folder (of the first process)."""
    with session(config, "retrain") as run:
        config = run.config
        keep_freed_memory(run.device)
        if run.is_complete():
            run.note(f"{run.path.parent} is complete: nothing to do")
            if "export" in config.given and run.world.is_main:
                chosen = run.path.with_name("best.pt") if config.holdout else run.path
                given = config.given - {"resume", "inherit"}
                use_checkpoint(replace(config, evaluate=str(chosen), predict=None, given=given))
            return run.path.parent
        genotype, blocks = choose_candidate(run)
        source = find_dataset(config.data, config.dataset, config.image_size, cutout=config.cutout, flip=config.flip)
        outputs = num_outputs(source, config.num_class, run.note)
        network_spec(config, source.preset, blocks, outputs).require_size(source.preset.image_size)
        with run.world.main_first():
            dataset = load(source, bad_images=config.bad_images, cache=config.cache, log=run.note)
        run.require_same_data(dataset.facts())
        r = build(run, dataset, genotype, blocks, outputs)
        if run.saved is not None:
            r.training.restore(run.saved, run.path)
            if r.best.epoch >= 0:
                run.note(f"best so far: {r.best.top1:.2f} % in epoch {r.best.epoch}")
        r.training.log = run.open_run({**dataset.facts(), **r.network.arguments(), "epoch_images": r.train.num_images})
        state.started(r.training.log)
        r.training.run(lambda: run_epoch(r), lambda: finish(r))
        return run.world.broadcast(r.training.log.folder)


def train_seeds(config: RetrainConfig, state: Command) -> None:
    """``--seeds``: one run each, in a folder of its own, then mean, deviation and every value."""
    folders = {}
    for seed in config.seeds:
        one = replace(config, seed=seed, seeds=None, save=seeds.name_of(config.save, seed))
        folders[seed] = train_once(replace(one, given=config.given | {"seed", "save"}), state)
        if state.log is not None:
            state.log.close()
    if launched().is_main:
        tell(seeds.summarise(folders, Path(config.result).expanduser() / "retrain", config.save))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a retraining; see --help. Exits with 2 for what is refused and 1 for a fault during the run."""
    config = parse_retrain(argv)
    with command(PROG, GenotypeError) as state:
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
