"""Train the network of a genotype from scratch; evaluate, use and export it.

    python retrainer_cifar.py --data digits --save first --epochs 8 --blocks "[1,1]" --child_out_filters 16
    python retrainer_cifar.py --data ../data/cifar10 --save winner --arch result/search/.../genotypes.json#0
    python retrainer_cifar.py --evaluate result/retrain/.../checkpoint.pt

``--arch`` is a JSON list of encodings or a file that train_search_cifar.py wrote (docs/method.md, sections 1 and 5).
New here? docs/tour.md leads through the code, and says where to add an operation, a strategy, a space or a task.
"""

from __future__ import annotations

from utils.system.threads import bound_threads

bound_threads()  # torch reads this when it is imported

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from engine.checkpoint_use import require_retrainable, use_checkpoint, use_complete_run
from engine.configuration import parse_retrain
from engine.retrain_phases import Best, show_predictions, train_epoch, validate
from engine.retrain_result import finish_retraining
from engine.retrain_setup import assemble, choose_candidate
from engine.seeds import train_seeds
from engine.setup import start_run
from ops.genotype import GenotypeError
from utils.config import RetrainConfig
from utils.runs.context import run_context
from utils.system.command import Command, command
from utils.system.signals import stopped_at_once


def main(argv: Sequence[str] | None = None) -> int:
    """Run a retraining; see --help. Exits with 2 for what is refused and 1 for a fault during the run."""
    config = parse_retrain(argv)
    with command("retrainer_cifar.py", GenotypeError) as ending:
        require_retrainable(config)
        if config.evaluate:
            with stopped_at_once():  # nothing is trained, and so nothing can go on
                use_checkpoint(config)
        elif config.seeds:
            train_seeds(config, partial(retrain, ending=ending))
        else:
            retrain(config, ending)
    return 0


def retrain(config: RetrainConfig, ending: Command) -> Path:
    """One retraining, from nothing or from where an earlier part of it stopped; its folder, of the first process."""
    with run_context(config, "retrain") as context:
        if context.is_complete():
            return use_complete_run(context)
        config = context.config  # of a run that goes on, its own flags

        # The architecture; then the recipe of its training, the task, the data, and the network with what trains it.
        candidate = choose_candidate(context)
        recipe, task, data, learner = assemble(context, candidate)
        best = Best()

        # Where the run stands: at the start, or where an earlier part of it stopped.
        extras = {"best": best} if learner.average is None else {"best": best, "average": learner.average}
        run = start_run(context, learner, data.dataset, data.train.num_images, extras)
        ending.started(run.log)  # from here on what goes wrong is a fault, no refusal
        if best.epoch >= 0:
            run.log.line(f"best so far: {best.top1:.2f}{task.unit} in epoch {best.epoch}")

        with run.stoppable():
            for epoch in run.epochs():
                if run.enters("train"):  # every training image once
                    run.leaves(train_epoch(run, learner, data.train, task, recipe, highest_drop_path=data.drop_path))
                if run.enters("valid"):  # every validation image once; with --holdout they are training images
                    run.leaves(validate(run, learner, data.valid, task, fold=not config.compile))
                metrics = run.write_epoch("train", data.train.num_images)
                run.notes["last_top1"] = metrics[f"valid/{task.measure}"]  # outlives the epoch: result.json states it
                # First `best`, then the file, so that best.pt knows itself as the best.
                if best.improve(metrics[f"valid/{task.measure}"], epoch):
                    run.save("best.pt")
                run.end_epoch(metrics, task)
                if epoch % config.report_freq == 0:
                    show_predictions(run, learner, data, task, epoch)

            # The result: measures of the chosen network on all of val/, report and export.
            finish_retraining(run, learner, data, task, recipe, best)
        return context.world.broadcast(run.log.folder)  # only the first process has a folder


if __name__ == "__main__":
    sys.exit(main())
