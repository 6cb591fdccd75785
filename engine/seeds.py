"""What several seeds gave together: mean, std and every value, of all runs of a name with the same settings."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.tasks import TASKS
from utils.config import RetrainConfig
from utils.reports.log import write_json
from utils.reports.report import RESULT
from utils.runs.resume import FREE, PLACES, runs_called
from utils.system.files import read_json
from utils.system.processes import launched
from utils.system.terminal import tell

NOT_COMPARED = (FREE | PLACES | {"seed", "seeds"}) - {"epochs"}  # flags that tell nothing of what a run computes


def train_seeds(config: RetrainConfig, retrain: Callable[[RetrainConfig], Path]) -> None:
    """``--seeds``: one run each, in a folder of its own, then mean, deviation and every value."""
    folders = {}
    for seed in config.seeds:
        one = replace(config, seed=seed, seeds=None, save=name_of(config.save, seed))
        folders[seed] = retrain(replace(one, given=config.given | {"seed", "save"}))
    # Read from the environment: each run has closed its own connection by now.
    if launched().is_main:
        task = TASKS[config.task]
        base, measure = Path(config.result).expanduser() / "retrain", task.result_measures[0]
        title = task.measure_title if measure == task.measure else measure
        tell(summarise(folders, base, config.save, measure, title))


def name_of(save: str, seed: int) -> str:
    """The name of the run with this seed."""
    return f"{save}-seed{seed}"


def summarise(folders: Mapping[int, Path], base: Path, save: str, measure: str, title: str) -> str:
    """Write ``<save>-seeds.json`` into ``base`` and return what to say.

    ``folders``: of the seeds just trained. ``measure``: the name of what is compared, as results call it behind val_,
    ``title``: in words.

    The complete runs of other seeds under that name are counted too, where their settings, network and data are the
    same, so that seeds can be added later. A summary of other settings is left, and a number put behind the name.
    """
    wanted = settings(next(iter(folders.values())))
    key = f"val_{measure}"
    values_by_seed = {seed: read_json(folder / RESULT)[key] for seed, folder in folders.items()}
    pattern = re.escape(save) + r"-seed(\d+)-.*"  # of this very name: the time follows
    others = {int(match[1]) for folder in base.iterdir() if (match := re.fullmatch(pattern, folder.name))}
    for seed in sorted(others - folders.keys()):
        for run in runs_called(name_of(save, seed), base):  # the newest of them counts
            if (run / RESULT).is_file() and settings(run) == wanted:
                values_by_seed[seed] = read_json(run / RESULT)[key]
    values = [value for value in values_by_seed.values() if value is not None]  # null where a measure is not defined
    path = _free(base, save, wanted)
    if not values:  # of a class that never occurs there is no precision, for one
        return f"val {title} over {len(values_by_seed)} seeds: none of them has any"
    mean, std = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    write_json(path, {key: values_by_seed, "mean": mean, "deviation": std, "settings": wanted})
    more = (
        f" ({len(values_by_seed) - len(folders)} of them trained before)" if len(values_by_seed) > len(folders) else ""
    )
    return f"val {title} over {len(values)} seeds{more}: {mean:.2f} +- {std:.2f} % {values}; written to {path}"


def settings(folder: Path) -> dict[str, Any]:
    """What makes runs of several seeds comparable, from config.json: flags, network, data, but nothing of places."""
    config = read_json(folder / "config.json")
    flags = {name: value for name, value in config.get("flags", {}).items() if name not in NOT_COMPARED}
    derived = {name: value for name, value in config.get("derived", {}).items() if name not in ("dataset", "skipped")}
    # Tuples become the lists of the other file.
    return json.loads(json.dumps({**flags, **derived, "processes": config.get("processes")}))


def _free(base: Path, save: str, wanted: dict[str, Any]) -> Path:
    """The name of the summary of these settings, or a new one. One from before settings were stated is left alone."""
    for number in range(1, 1000):
        path = base / (f"{save}-seeds.json" if number == 1 else f"{save}-seeds-{number}.json")
        if not path.exists() or read_json(path).get("settings") == wanted:
            break
    return path
