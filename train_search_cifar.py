"""Search a cell architecture.

    python train_search_cifar.py --data digits --save first --epochs 5 --blocks "[1,1]" --child_out_filters 16
    torchrun --nproc_per_node 2 train_search_cifar.py --data ../data/cifar10 --save pair

An epoch trains the shared weights of a supernet on sampled genotypes, then the strategy on the scores that its
genotypes reach with these weights, then reports on fresh ones. At the end sampled genotypes are ranked and the best are
written to genotypes.json, which retrainer_cifar.py reads (docs/method.md, section 4). A search by gradients trains a
mixture of all genotypes, moves it with every step, and ends with the genotype that it stands for (section 23).
New here? docs/tour.md leads through the code, and says where to add an operation, a strategy, a space or a task.
"""

from __future__ import annotations

from utils.system.threads import bound_threads

bound_threads()  # torch reads this when it is imported

import sys
from collections.abc import Sequence

from engine.configuration import parse_search
from engine.derivation import write_search
from engine.ranking import rank_candidates, train_finals
from engine.schedule import drop_path_ramp
from engine.search_phases import (
    report_samples,
    sample_paths,
    show_strategy,
    strategy_warnings,
    teach_strategy,
    train_mixture,
    train_weights,
)
from engine.search_setup import (
    build_architect,
    build_rankers,
    build_sampler,
    build_scorer,
    build_supernet,
    open_search,
    search_state,
)
from engine.setup import start_run
from engine.tasks import TASKS
from ops.genotype import GenotypeError
from utils.runs.context import run_context
from utils.system.command import command


def main(argv: Sequence[str] | None = None) -> int:
    """Run a search; see --help. Exits with 2 for what is refused and 1 for a fault during the run."""
    config = parse_search(argv)
    with command("train_search_cifar.py", GenotypeError) as ending, run_context(config, "search") as context:
        if context.is_complete():
            return 0
        config = context.config  # of a run that goes on, its own flags

        # Data: the training images are divided between the shared weights and the rewards.
        task = TASKS[config.task].search()
        data = open_search(context, task)

        # The supernet, which holds the weights of all genotypes; who proposes genotypes, and what scores them.
        learner = build_supernet(context, data.spec)
        sampler = build_sampler(context, data.deployment)
        architect = build_architect(context, learner, sampler, task)  # of a search by gradients, else None
        scorer = build_scorer(context, learner, task, data.calibration)
        rankers = build_rankers(context, sampler, data)  # those without training; the scorer is another one

        # Where the run stands: at the start, or where an earlier part of it stopped.
        run = start_run(context, learner, data.dataset, data.weights.num_images, search_state(sampler, scorer))
        ending.started(run.log)  # from here on what goes wrong is a fault, no refusal

        with run.stoppable():
            for epoch in run.epochs():
                warming_up = epoch < config.warmup_epochs
                if run.enters("weights"):  # train the shared weights, each batch along one path
                    scorer.cache.forget()  # scores with other weights
                    if architect is None:
                        paths = sample_paths(run, sampler, len(data.weights), warming_up)
                        drop_path = drop_path_ramp(epoch, config.epochs, data.drop_path)
                        metrics = train_weights(run, learner, data.weights, task, paths=paths, drop_path=drop_path)
                    else:
                        metrics = train_mixture(run, learner, data, task, sampler, None if warming_up else architect)
                    run.leaves(metrics)
                if run.enters("strategy"):  # teach it by the scores that its genotypes reach with these weights
                    steps = 0 if warming_up or architect is not None else config.controller_steps
                    n, batches = config.controller_samples, config.reward_batches
                    run.leaves(teach_strategy(run, sampler, scorer, data.rewards, steps=steps, n=n, batches=batches))
                if run.enters("report"):  # look at fresh genotypes on validation images; nothing is learned from it
                    run.leaves(report_samples(run, sampler, scorer, data.valid, steps=config.valid_steps))
                metrics = run.write_epoch("weights", data.weights.num_images)
                run.end_epoch(metrics, task, strategy_warnings(run, config, sampler, metrics, epoch))
                show_strategy(run, config, sampler, epoch)

            # The result: candidates are ranked, the best are trained and ranked by that, and written for a retraining.
            ranking = rank_candidates(run, config, sampler, scorer, rankers, data.rewards)
            ranking = train_finals(run, config, ranking, images=data.weights.num_images)
            write_search(run, config, ranking, sampler, scorer, data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
