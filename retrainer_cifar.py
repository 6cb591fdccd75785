"""Train the network of a genotype from scratch; evaluate, use and export it.

    python retrainer_cifar.py --data digits --save first --epochs 8 --blocks "[1,1]" --child_out_filters 16
    python retrainer_cifar.py --data ../data/cifar10 --save winner --arch result/search/.../genotypes.json#0
    python retrainer_cifar.py --evaluate result/retrain/.../checkpoint.pt

``--arch`` is a JSON list of encodings or a file that train_search_cifar.py wrote (docs/method.md, sections 1 and 5).
"""

from __future__ import annotations

from utils.system.threads import bound_threads

bound_threads()  # torch reads this when it is imported

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from data.datasets import Dataset, find_dataset, load, num_outputs
from data.images import DataError
from data.loader_sets import make_retrain_loaders
from data.loaders import Loader, make_loader
from data.mixing import MixedLoader
from data.predicting import Pictures
from data.presets import Preset, as_trained
from engine.advice import advise
from engine.best import Best
from engine.ema import WeightAverage
from engine.export import export_network, require_packages
from engine.optimizers import make_sgd
from engine.passes import NotFiniteError, evaluate, train_pass
from engine.recipes import Recipe, choose_recipe
from engine.run_state import Training
from engine.schedule import drop_path_ramp
from engine.tasks import TASKS, Task
from engine.tasks.pictures import SHOWN
from models.folding import folded
from models.network import Network
from models.spec import NetworkSpec
from models.stored import chosen_candidate, inherit_weights, kept_candidate, require_same_cells, trained_network
from models.structures import STRUCTURES
from ops.genotype import Candidate, GenotypeError
from utils.config import RetrainConfig, parse_retrain
from utils.reports.evaluate import first_batch, output_names
from utils.reports.retrain_end import write_retraining
from utils.runs import resume, seeds
from utils.runs.clock import DATA, WRITING
from utils.runs.same_data import require_classes
from utils.runs.session import Session, session
from utils.system import checkpoint
from utils.system.command import Command, command
from utils.system.device import keep_freed_memory, pick_device
from utils.system.errors import UsageError
from utils.system.processes import launched, synchronise_norms
from utils.system.seeds import derived_seed
from utils.system.terminal import say, tell


@dataclass
class Retraining:
    """The parts of a retraining. ``training`` holds the weights and where the run stands.

    ``average``: of the weights, which is evaluated in their place. ``test``: read once, at the end; the images of
    ``valid`` where nothing is held out. ``seen``: the images of pictures between epochs, once there was one.
    """

    config: RetrainConfig
    recipe: Recipe
    task: Task
    dataset: Dataset
    network: Network
    average: WeightAverage | None
    training: Training
    best: Best
    train: Loader | MixedLoader
    valid: Loader
    test: Loader
    seen: Any = None

    @property
    def evaluated(self) -> Network:
        """The network whose accuracy counts."""
        if self.average is None:
            return self.network
        self.average.take_statistics()
        return self.average.network


def retrain(r: Retraining) -> None:
    """The whole retraining, from where the run stands: epochs of two phases, then what the network gives."""
    training, measure = r.training, f"valid/{r.task.measure}"
    with training.stoppable():
        for epoch in training.epochs():
            if training.enters("train"):
                training.add(train(r, epoch))
            if training.enters("valid"):
                training.add(validate(r))
            record = training.close_epoch("train", r.train.num_images)
            training.notes["last_top1"] = record[measure]
            if r.best.improve(record[measure], epoch):
                training.save("best.pt")
            training.end_epoch(record, r.task.measure)
            show_epoch(r, epoch)
        finish(r)


def train(r: Retraining, epoch: int) -> dict[str, float]:
    """Phase 1 of an epoch: every training image once."""
    config, training, steps = r.config, r.training, len(r.train)
    drop_path = drop_paths(r, epoch, steps)
    meter = r.task.meter(training.device, training.heads)
    try:
        train_pass(
            training.wrapped,
            r.train,
            r.task,
            arguments=[[(p,)] for p in by_cell(r, drop_path)],
            seeds=[derived_seed(config.seed, "drop_path", epoch, step, training.world.rank) for step in range(steps)],
            optimizer=training.optimizer,
            precision=training.precision,
            meter=meter,
            clip=config.grad_clip,
            average=r.average,
            mean=training.world.mean,
            progress=training,
        )
    except NotFiniteError as error:
        raise NotFiniteError(error.step, f"epoch {epoch}, genotype {r.network.genotype}") from None
    training.world.average_statistics(r.network)
    metrics = meter.read(training.world.all_reduce_sum)
    return {
        **{f"train/{name}": value for name, value in metrics.items()},
        "train/lr": training.schedule.lr(epoch),
        "train/drop_path": drop_path[-1],
    }


def drop_paths(r: Retraining, epoch: int, steps: int) -> list[float]:
    """The drop path of every step of an epoch."""
    config, recipe = r.config, r.recipe
    highest = r.dataset.preset.drop_prob if config.drop_prob is None else config.drop_prob
    at = [epoch + (step + 1) / steps if recipe.drop_path_by_step else epoch for step in range(steps)]
    return [drop_path_ramp(e, config.epochs, highest, recipe.drop_path_until) for e in at]


def by_cell(r: Retraining, drop_path: Sequence[float]) -> list[float | torch.Tensor]:
    """The same as the network takes it: where it grows from cell to cell, (cells,) for every step."""
    if not r.recipe.drop_path_by_layer:
        return list(drop_path)
    cells = len(r.network.blocks)
    share = torch.arange(1, cells + 1, device=r.training.device) / cells
    return [p * share if p else p for p in drop_path]


def validate(r: Retraining) -> dict[str, float]:
    """Phase 2: every validation image once."""
    training = r.training
    r.valid.set_epoch(0)
    network = r.evaluated if training.compiled else folded(r.evaluated)  # compiled blocks are one piece already
    metrics = evaluate(
        network.eval(),
        training.clock.waiting(r.valid),
        r.task,
        precision=training.precision,
        meter=r.task.meter(training.device, training.heads),
        total=training.world.all_reduce_sum,
    )
    return {f"valid/{name}": value for name, value in metrics.items()}


def show_epoch(r: Retraining, epoch: int) -> None:
    """Now and then, what the network makes of a few validation images, always the same ones, beside the truth."""
    log = r.training.log
    if not log.writer or epoch % r.config.report_freq:
        return
    with r.training.clock.part(WRITING), log.decoration("the picture of predictions"):
        r.seen = r.seen or first_batch(r.valid, SHOWN)
        names = output_names(r.dataset.classes, r.network.num_classes)
        picture = r.task.picture(r.evaluated, r.seen, r.dataset.preset, names)
        if picture is not None:
            log.figure("predictions", picture, epoch)


def finish(r: Retraining) -> None:
    """What the run gave: measures of the chosen network, report, export. The first process does it alone."""
    log, config = r.training.log, r.config
    if not r.training.world.is_main:
        return
    chosen = r.evaluated
    if config.holdout:
        best = log.folder / "best.pt"
        chosen = trained_network(checkpoint.load(best, r.training.device), best).to(r.training.device)
    advice, options = None, {"clip": config.grad_clip, "workers": config.workers, "compiles": True}
    if config.advise:
        advice = advise(r.training, r.task, r.train, [(0.0,)], **options)
    with r.training.clock.part(WRITING):
        write_retraining(
            log,
            chosen,
            r.network,
            r.task,
            r.test,
            best=r.best,
            last=r.training.notes["last_top1"],
            recipe=r.recipe,
            facts=r.dataset.facts(),
            holdout=bool(config.holdout),
            generator=torch.Generator().manual_seed(derived_seed(config.seed, "shift")),
            export=config.export,
            export_normalise=config.export_normalise,
            epochs=config.epochs,
            clock=r.training.clock,
            advice=advice,
        )


def network_spec(config: RetrainConfig, preset: Preset, candidate: Candidate, outputs: int) -> NetworkSpec:
    """The shape of the network."""
    return NetworkSpec(
        candidate.blocks,
        config.child_out_filters,
        outputs,
        config.stem or STRUCTURES[candidate.genotype.space].stem(not preset.is_small, in_search=False),
        config.antialias,
        config.child_use_aux_heads,
        candidate.genotype.space,
        TASKS[config.task].retrain().head,
    )


def make_loaders(run: Session, dataset: Dataset, recipe: Recipe, outputs: int) -> dict[str, Loader | MixedLoader]:
    """Loaders of the training images, of those that choose the epoch, and of val/; mixed where the recipe says so."""
    config, device = run.config, run.device
    loaders = make_retrain_loaders(
        dataset.train,
        dataset.val,
        dataset.preset,
        holdout=config.holdout,
        rank=run.world.rank,
        world_size=run.world.size,
        augmentation={
            "resolution_jitter": config.resolution_jitter,
            "policy": recipe.augment,
            "erasing": recipe.random_erasing,
        },
        batch_size=config.batch_size,
        device=device,
        seed=config.seed,
        workers=config.workers,
    )
    task = TASKS[config.task]
    loaders = {name: task.wrap(loader) for name, loader in loaders.items()}
    if recipe.mixup or recipe.cutmix:
        if not task.uses_labels:
            raise UsageError(f"--mixup and --cutmix mix labels, and --task {config.task} has none")
        loaders["train"] = MixedLoader(loaders["train"], outputs, mixup=recipe.mixup, cutmix=recipe.cutmix)
    return loaders


def build(run: Session, dataset: Dataset, candidate: Candidate, spec: NetworkSpec) -> Retraining:
    """Network, optimizer and loaders, every random number of them from the seed."""
    config = run.config
    recipe = choose_recipe(config.recipe, vars(config))
    loaders = make_loaders(run, dataset, recipe, spec.num_classes)
    torch.manual_seed(derived_seed(config.seed, "network"))
    network, images = Network.of(candidate.genotype, spec), loaders["train"]
    side = TASKS[config.task].input_side(dataset.preset.image_size)
    spec.require_batch(side, images.smallest_batch, images.split.name, images.remedy)
    if config.inherit and run.saved is None:
        path = resume.checkpoint_in(Path(config.inherit).expanduser())
        inherit_weights(network, resume.read_run(path, "search"), config.inherit, path)
    network.drop_before_head(recipe.dropout)
    network.to(run.device)
    if config.sync_bn:
        synchronise_norms(network, run.world, run.device)
    average = WeightAverage(network, recipe.ema) if recipe.ema else None
    best = Best()
    optimizer = make_sgd(
        network.parameters(),
        config.child_lr_max,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=recipe.nesterov,
        spare_norms=not recipe.decay_norms,
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
        clock=run.clock,
        extras={"best": best} if average is None else {"best": best, "average": average},
    )
    task = TASKS[config.task].retrain(recipe.label_smoothing, config.aux_weight)
    return Retraining(config, recipe, task, dataset, network, average, training, best, **loaders)


def assemble(run: Session, candidate: Candidate) -> Retraining:
    """Read the data and build what trains the candidate on them. Refuses what does not fit together."""
    config = run.config
    task = TASKS[config.task]
    task.require_packages()
    options = {"cutout": config.cutout, "flip": config.flip, "targets": task.targets}
    options["bad_images"] = config.bad_images
    source = find_dataset(config.data, config.dataset, config.image_size, **options)
    outputs = task.retrain().outputs(num_outputs(source, config.num_class, run.note))
    spec = network_spec(config, source.preset, candidate, outputs)
    size = source.preset.image_size
    spec.require_size(task.input_side(size), task.input_title(size))
    options = {"bad_images": config.bad_images, "cache": config.cache, "train_images": config.train_images}
    with run.clock.part(DATA), run.world.main_first():
        dataset = load(source, **options, labels=task.uses_labels, log=run.note)
    run.require_same_data(dataset.facts())
    return build(run, dataset, candidate, spec)


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
        if run.saved is None:
            candidate = chosen_candidate(
                config.arch, config.sharing, config.blocks, layers=config.layers, space=config.space
            )
        else:
            candidate = kept_candidate(config.arch, config.sharing, run.saved, run.path, run.note, config.space)
        r = assemble(run, candidate)
        if run.saved is not None:
            r.training.restore(run.saved, run.path)
            if r.best.epoch >= 0:
                run.note(f"best so far: {r.best.top1:.2f} % in epoch {r.best.epoch}")
        r.training.log = run.open_run(
            {**r.dataset.facts(), **r.network.arguments(), "epoch_images": r.train.num_images}
        )
        state.started(r.training.log)
        retrain(r)
        return run.world.broadcast(r.training.log.folder)


def use_checkpoint(config: RetrainConfig) -> None:
    """``--evaluate``: measure, predict with, or export a network, from its checkpoint alone."""
    path = resume.checkpoint_in(Path(config.evaluate).expanduser())
    state = checkpoint.load(path)
    network = trained_network(state, path)
    resume.require_own_network(config, state, path)
    if "arch" in config.given:
        require_same_cells(config.arch, config.sharing, state, path)
    device = pick_device(config.device, config.gpu)
    keep_freed_memory(device)
    network.to(device).eval()
    names = output_names(state["classes"], network.num_classes)
    with checkpoint.fitting(path):
        preset = as_trained(state["image_size"], state["statistics"]["mean"], state["statistics"]["std"])
    task = TASKS[resume.trained_task(config, state, path)].retrain()
    if config.export:
        task.require_exportable()
    if config.predict:
        pictures = Pictures(Path(config.predict).expanduser(), bad=say_skipped)
        images = task.predict(network, pictures, names, preset=preset, batch_size=config.batch_size)
    else:
        task.require_packages()
        loader = make_loader(
            checkpoint_data(config, state, path, preset, task.targets).val,
            preset,
            stream="test",
            batch_size=config.batch_size,
            device=device,
            seed=config.seed,
            workers=config.workers,
            augment=False,
            shuffle=False,
        )
        generator = torch.Generator().manual_seed(derived_seed(config.seed, "shift"))
        found = task.measures(network, loader, names, generator)
        shown = ("images", "per_class", *task.result_measures)
        say(json.dumps({key: found[key] for key in found if key in shown}, indent=1))
        images = first_batch(loader).images
    if config.export:
        options = {"facts": state, "classes": names, "images": images, "normalise": config.export_normalise}
        say(export_network(network, path.parent, config.export, **options)["line"])


def checkpoint_data(
    config: RetrainConfig, state: Mapping[str, Any], path: Path, preset: Preset, targets: str
) -> Dataset:
    """The data that a checkpoint was trained on, or those given now, which must have the same classes.

    ``targets``: what its task reads of an image.
    """
    with checkpoint.fitting(path):
        given = config.data if "data" in config.given else state["flags"]["data"]
        kind = config.dataset if {"data", "dataset"} & config.given else state["flags"]["dataset"]
    source = find_dataset(given, kind, preset.image_size, targets=targets, bad_images=config.bad_images)
    if not source.name.startswith("cifar"):  # whose class names come with the download
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


def train_seeds(config: RetrainConfig, state: Command) -> None:
    """``--seeds``: one run each, in a folder of its own, then mean, std and every value."""
    folders = {}
    for seed in config.seeds:
        one = replace(config, seed=seed, seeds=None, save=seeds.name_of(config.save, seed))
        folders[seed] = train_once(replace(one, given=config.given | {"seed", "save"}), state)
        if state.log is not None:
            state.log.close()
    if launched().is_main:
        measure = TASKS[config.task].result_measures[0]
        tell(seeds.summarise(folders, Path(config.result).expanduser() / "retrain", config.save, measure))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a retraining; see --help. Exits with 2 for what is refused and 1 for a fault during the run."""
    config = parse_retrain(argv)
    with command("retrainer_cifar.py", GenotypeError) as state:
        if not TASKS[config.task].uses_labels:
            raise UsageError(
                f"--task {config.task} is for searches: retrain what one found on labels, without it; "
                "python -m studies.labels trains networks on both and compares them"
            )
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
