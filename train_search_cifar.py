"""Search a cell architecture.

    python train_search_cifar.py --data digits --save first --epochs 5 --blocks "[1,1]" --child_out_filters 16
    torchrun --nproc_per_node 2 train_search_cifar.py --data ../data/cifar10 --save pair --sync_bn

An epoch trains the shared weights of a supernet on sampled genotypes, then the strategy on the accuracy that its
genotypes reach with these weights, then reports. At the end sampled genotypes are ranked and the best are written
to genotypes.json, which retrainer_cifar.py reads (docs/method.md).
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch

from controller.constraints import Constraints, pareto_front
from controller.pictures import likely_pictures
from controller.ranking import Ranked, genotype_document, rank
from controller.sampling import Fits, NothingFitsError, uniform
from controller.statistics import Seen, shares, spread, warnings
from controller.strategies import Strategy, make_strategy
from data.datasets import Dataset, find_dataset, load, num_outputs
from data.loaders import Batch, Loader, derived_seed, forever, make_search_loaders
from data.presets import Preset
from data.workers import Reader
from models.deployment import Deployment
from models.spec import NetworkSpec
from models.supernet import SuperNet
from ops.genotype import Genotype, GenotypeError, num_cells
from utils.config import SearchConfig, parse_search
from utils.reports import plots, report
from utils.reports.log import write_json
from utils.runs.handover import retrain_command
from utils.runs.resume import flags_of
from utils.runs.session import Session, session
from utils.system.command import command
from utils.system.device import measure_latency
from utils.system.errors import UsageError
from utils.system.files import write_figure
from utils.system.processes import synchronise_norms
from utils.training.engine import Averages, Meter, evaluate
from utils.training.losses import search_loss
from utils.training.schedule import drop_path_ramp
from utils.training.state import Training

DROP_PATH = 0.35  # at the end of its ramp, also on photographs


@dataclass
class Search:
    """The parts of a search. ``training`` holds the shared weights and where the run stands."""

    config: SearchConfig
    dataset: Dataset
    supernet: SuperNet
    strategy: Strategy
    limits: Constraints
    seen: Seen
    deployment: Deployment
    training: Training
    weights: Loader
    rewards: Loader
    valid: Loader
    calibration: list[torch.Tensor]

    def generator(self, *names: object) -> torch.Generator:
        return torch.Generator().manual_seed(derived_seed(self.config.seed, *names))

    def drawn(self, draw: Callable[[int, torch.Generator, Fits | None], Sequence[Genotype]], n: int, *names: object):
        """``n`` genotypes from a method of the strategy, the same in all processes."""
        try:
            return list(self.training.world.broadcast(draw(n, self.generator(*names), self.limits.filter)))
        except NothingFitsError as error:
            raise UsageError(self.limits.explained(error)) from None


def train_weights(s: Search) -> None:
    """Phase 1: the shared weights, one sampled genotype a batch; uniform ones during the warm-up."""
    at, config = s.training.at, s.config
    s.limits.take_acceptance()
    paths = s.drawn(s.strategy.sample, len(s.weights), "paths", at.epoch)
    accepted = s.limits.take_acceptance()
    if at.epoch < config.warmup_epochs:
        cells = len(paths[0].cells)
        paths = list(uniform(len(paths), cells, config.sharing, s.generator("warm-up", at.epoch)))
    s.seen.add(paths)
    if at.epoch == 0:  # too little memory shows in the first step, not in the third hour
        paths[0] = Genotype.widest(len(paths[0].cells), config.sharing)
    highest = DROP_PATH if config.drop_prob is None else config.drop_prob
    drop_path = drop_path_ramp(at.epoch, config.epochs, highest)
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
        "controller/seen": len(s.seen),
        **shares(paths),
    }
    if s.limits.filter:
        at.record["controller/accepted"] = accepted


def score(s: Search, genotype: Genotype, batches: Iterable[Batch]) -> Averages:
    """How a genotype does with the shared weights, in evaluation, under the chosen batch-norm statistics."""
    meter = Meter(s.training.device, s.training.heads)
    with s.supernet.scoring(genotype, s.calibration):
        evaluate(batches, lambda images: s.supernet(images, genotype), precision=s.training.precision, meter=meter)
    return meter.read(s.training.world.all_reduce_sum)


def teach(s: Search) -> None:
    """Phase 2: one update of the strategy a reward batch."""
    at, steps = s.training.at, s.config.controller_steps
    if at.epoch < s.config.warmup_epochs or not steps:
        return
    batches = forever(s.rewards, at.epoch * steps + at.step)
    with s.training.reporter("strategy", steps) as reporter:
        for step in range(at.step, steps):
            batch = next(batches)
            genotypes = s.drawn(s.strategy.ask, s.config.controller_samples, "propose", at.epoch, step)
            s.seen.add(genotypes)
            scores = [s.limits.reward(score(s, genotype, [batch]).top1, genotype) for genotype in genotypes]
            at.rows.append(s.strategy.tell(scores))
            at.step = step + 1
            reporter(step)
            s.training.stop.check()
    means = {key: sum(row[key] for row in at.rows) / steps for key in at.rows[0]}
    at.record |= {f"controller/{key}": value for key, value in means.items()}
    s.training.log.histogram("controller/rewards", [row["reward"] for row in at.rows], at.epoch)


def look(s: Search) -> None:
    """Phase 3: freshly sampled genotypes, one validation batch each. Nothing is learned from it."""
    at, steps = s.training.at, s.config.valid_steps
    if not steps:
        return
    genotypes = s.drawn(s.strategy.sample, steps, "report", at.epoch)
    batches = forever(s.valid, at.epoch * steps + at.step)
    for step, batch in enumerate(islice(batches, steps - at.step), at.step):
        averages = score(s, genotypes[step], [batch])
        at.rows.append([averages.loss, averages.top1])
        at.step = step + 1
        s.training.stop.check()
    loss, top1 = (sum(column) / steps for column in zip(*at.rows, strict=True))
    at.record |= {"valid/loss": loss, "valid/top1": top1}


def run_epoch(s: Search) -> None:
    """All phases of an epoch, from where the run stands; then warnings, pictures and a checkpoint."""
    phases = {"weights": train_weights, "strategy": teach, "report": look}
    epoch = s.training.at.epoch
    bound = {name: lambda phase=phase: phase(s) for name, phase in phases.items()}
    record = s.training.run_epoch(bound, s.weights.num_images)
    unusual: list[str] = []
    if epoch >= s.config.warmup_epochs and s.config.controller_steps:
        sample = s.drawn(s.strategy.sample, 20, "sample", epoch)
        entropy = record.get("controller/entropy")
        s.training.notes.setdefault("entropy", entropy)
        first = s.training.notes["entropy"]
        unusual = warnings(sample, entropy=entropy, first=first, moved=s.strategy.has_moved())
    s.training.end_epoch(record)
    for text in unusual:
        s.training.log.line(f"warning: {text}")
    if epoch % s.config.report_freq == 0 or epoch == s.config.epochs - 1:
        with s.training.log.decoration("pictures of the controller"):
            for tag, picture in likely_pictures(s.strategy, plots.heat_map) if s.training.log.writer else ():
                s.training.log.figure(tag, picture, epoch)


def derive_result(s: Search) -> None:
    """Rank sampled genotypes on all reward images; write the best, and what each will cost to retrain."""
    config, training, limits = s.config, s.training, s.limits
    began = time.perf_counter()
    s.rewards.set_epoch(0)
    drawn = s.drawn(s.strategy.sample, config.derive_samples, "derive")
    candidates = sorted(genotype for genotype in set(drawn) if limits.weight or limits.meets(genotype))
    if not candidates:
        raise UsageError(limits.explained(NothingFitsError(f"none of {len(drawn)} genotypes meets the limits")))
    with training.reporter("derive", len(candidates)) as reporter:

        def score_on_all(genotype: Genotype) -> float:
            top1 = score(s, genotype, s.rewards).top1
            reporter(reporter.steps_done)
            training.stop.check()
            return top1

        ranked = rank(candidates, score_on_all, len(candidates))
    if training.world.is_main:
        front = pareto_front(ranked, lambda r: r.score, lambda r: limits.cost(front_cost(config), r.genotype))
        write_genotypes(s, ranked, front)
        write_result(s, ranked, front, time.perf_counter() - began)


def front_cost(config: SearchConfig) -> str:
    """The cost that the Pareto front is drawn against: the one that is limited, else MACs."""
    return "latency_ms" if config.max_latency_ms else "params" if config.max_params else "macs"


def write_genotypes(s: Search, ranked: Sequence[Ranked], front: Sequence[Ranked]) -> None:
    """genotypes.json: the best, and besides them the front of score against cost among all candidates."""
    path = s.training.log.folder / "genotypes.json"

    def costs(genotype: Genotype) -> dict[str, object]:
        found = {"parameters": s.limits.cost("params", genotype), "macs": s.limits.cost("macs", genotype)}
        if s.config.max_latency_ms:
            found["latency_ms"] = s.limits.cost("latency_ms", genotype)
        return found

    def describe(rank: int, genotype: Genotype) -> dict[str, object]:
        return {
            **costs(genotype),
            "aux_parameters": s.deployment.network(genotype).num_aux_parameters,
            "pareto": any(genotype == on_front.genotype for on_front in front),
            "retrain": retrain_command(flags_of(s.config), path, rank),
        }

    facts = {
        **s.deployment.facts(),
        "searcher": s.config.searcher,
        "bn_stats": s.config.bn_stats,
        "reward_images": s.rewards.num_images,
        "ranked": len(ranked),
        "pareto_cost": front_cost(s.config),
        "pareto_front": [{"cells": g.to_lists(), "score": top1, **costs(g)} for g, top1 in front],
    }
    write_json(path, genotype_document(ranked[: s.config.top_k], describe, facts))


def write_result(s: Search, ranked: Sequence[Ranked], front: Sequence[Ranked], seconds: float) -> None:
    """Pictures and report, then result.json, then the last lines on the console."""
    log, best, config = s.training.log, ranked[0], s.config
    path, cost = log.folder / "genotypes.json", front_cost(config)
    points = [[(s.limits.cost(cost, r.genotype), r.score) for r in part] for part in (ranked, front)]
    pictures = {
        "derived": lambda: draw_genotype(best.genotype),
        "pareto": lambda: plots.pareto_plot(*points, cost, "reward images correct (%)"),
    }
    for name, make in pictures.items():
        with log.decoration(f"{name}.png"):
            picture = make()
            log.figure(f"genotype/{name}", picture, config.epochs)
            write_figure(log.folder / f"{name}.png", picture, dpi=200)
    found = spread([candidate.score for candidate in ranked], s.rewards.num_images)
    result = {"score": best.score, "genotype": best.genotype.to_lists(), "derive_s": seconds}
    report.write(log, result=result | {"spread": found._asdict()})
    log.line(found.sentence())
    log.line(f"best of {len(ranked)}: {best.score:.2f} % of the reward images, {best.genotype}")
    log.line(f"retrain it with:  {retrain_command(flags_of(config), path, 0)}")
    if config.tensorboard:
        log.line(f"look at the search with:  tensorboard --logdir {shlex.quote(str(log.folder))}")


def draw_genotype(genotype: Genotype):
    """A drawing; the packages for it take a second to import."""
    from ops.draw import draw

    return draw(genotype)


def make_limits(run: Session, deployment: Deployment) -> Constraints:
    """What the network that will be retrained may cost, and how its costs are found."""
    config, world = run.config, run.world

    def latency(genotype: Genotype) -> float:
        if not world.is_main:  # all processes go by the clock of the first
            return world.broadcast(None)
        size = deployment.image_size
        images = torch.zeros(config.latency_batch, 3, size, size, device=run.device)
        return world.broadcast(measure_latency(deployment.network(genotype).to(run.device), images))

    asked = {"params": config.max_params, "macs": config.max_macs, "latency_ms": config.max_latency_ms}
    maxima = {name: most for name, most in asked.items() if most is not None}
    if config.cost_weight and not maxima:
        raise UsageError("--cost_weight needs a target: --max_params, --max_macs or --max_latency_ms")
    costs = {
        "params": lambda genotype: deployment.cost(genotype).parameters,
        "macs": lambda genotype: deployment.cost(genotype).macs,
        "latency_ms": latency,
    }
    return Constraints(costs, maxima, config.cost_weight)


def search_spec(config: SearchConfig, preset: Preset, outputs: int) -> NetworkSpec:
    """The shape of the supernet."""
    return NetworkSpec(
        config.blocks,
        config.child_out_filters,
        outputs,
        config.stem or preset.search_stem,
        config.antialias,
        config.child_use_aux_heads,
    )


def build(run: Session, dataset: Dataset, outputs: int) -> Search:
    """Networks, optimizers and loaders, every random number of them from the seed."""
    config, device, preset = run.config, run.device, dataset.preset
    loaders = make_search_loaders(
        dataset.train,
        dataset.val,
        preset,
        reward_fraction=config.reward_fraction,
        calibrate=config.bn_stats == "recalibrate",
        batch_size=config.batch_size,
        device=device,
        seed=config.seed,
        reader=Reader(config.workers, pin_memory=device.type != "cpu", processes=run.world.size, note=run.note),
        rank=run.world.rank,
        world_size=run.world.size,
    )
    deploy_size = config.deploy_image_size or preset.image_size
    retrain_preset = find_dataset(config.data, config.dataset, deploy_size).preset  # another stem for larger images
    spec = search_spec(config, preset, outputs)
    deployed = replace(
        spec,
        blocks=config.deploy_blocks or config.blocks,
        filters=config.deploy_filters or config.child_out_filters,
        stem=retrain_preset.retrain_stem,
    )
    deployment = Deployment(deployed, config.sharing, deploy_size)
    deployment.require_fit(config.blocks)
    limits = make_limits(run, deployment)
    torch.manual_seed(derived_seed(config.seed, "supernet"))
    supernet = SuperNet.of(spec, config.sharing, config.bn_stats).to(device)
    for loader in loaders.values():
        spec.require_batch(preset.image_size, loader.smallest_batch, loader.part.name, loader.remedy)
    if config.sync_bn and run.world.size > 1:
        synchronise_norms(supernet)
    torch.manual_seed(derived_seed(config.seed, "controller"))
    strategy = make_strategy(
        config.searcher,
        num_cells(config.sharing, config.blocks),
        config.sharing,
        lr=config.controller_lr,
        entropy_weight=config.entropy_weight,
        baseline_decay=config.bl_dec,
    )
    seen = Seen()
    optimizer = torch.optim.SGD(
        supernet.parameters(), config.child_lr_max, momentum=config.momentum, weight_decay=config.weight_decay
    )
    training = Training(
        "search",
        supernet,
        optimizer,
        run.precision,
        run.schedule,
        run.world,
        device,
        config.report_freq,
        flags=flags_of(config),
        facts={"network": supernet.arguments(), **dataset.facts()},
        extras={"strategy": strategy, "seen": seen, "limits": limits},
    )
    calibration = [b.images for b in islice(loaders.pop("calibration", ()), config.calibration_steps)]
    return Search(
        config, dataset, supernet, strategy, limits, seen, deployment, training, **loaders, calibration=calibration
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a search; see --help. Exits with 2 for what is refused and 1 for a fault during the run."""
    config = parse_search(argv)
    with command("train_search_cifar.py", GenotypeError) as state, session(config, "search") as run:
        config = run.config
        if run.is_complete():
            run.note(f"{run.path.parent} is complete: nothing to do")
            return 0
        source = find_dataset(config.data, config.dataset, config.image_size, cutout=config.cutout, flip=config.flip)
        outputs = num_outputs(source, config.num_class, run.note)
        search_spec(config, source.preset, outputs).require_size(source.preset.image_size)
        with run.world.main_first():
            dataset = load(source, bad_images=config.bad_images, cache=config.cache, log=run.note)
        run.require_same_data(dataset.facts())
        s = build(run, dataset, outputs)
        if run.saved is not None:
            s.training.restore(run.saved, run.path)
        s.drawn(s.strategy.sample, 1, "limits")  # refuses limits that nothing meets before anything is made
        s.training.log = run.open_run(
            {**dataset.facts(), **s.supernet.arguments(), "epoch_images": s.weights.num_images}
        )
        state.started(s.training.log)
        s.training.run(lambda: run_epoch(s), lambda: derive_result(s))
    return 0


if __name__ == "__main__":
    sys.exit(main())
