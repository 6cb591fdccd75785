"""Going on with a run: which checkpoint, which flags may differ, and where the run stood."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from utils.config import CommonConfig
from utils.config.flags import flags_in
from utils.reports.log import read_epochs
from utils.runs.position import Position, is_row
from utils.system.checkpoint import CheckpointError, fitting, load
from utils.system.errors import UsageError
from utils.system.files import read_json, write_text
from utils.system.terminal import reason, show

CHECKPOINT = "checkpoint.pt"
# What may change between the two parts of a run without changing what it computes.
FREE = {
    "epochs",
    "workers",
    "cache",
    "report_freq",
    "tensorboard",
    "device",
    "gpu",
    "save",
    "result",
    "resume",
    "export",
    "rank_by",  # at the end alone: a ranker that cannot rank is exchanged, and no epoch is lost
    *("finals", "final_epochs", "final_rounds", "finals_start", "jobs", "cluster", "slurm"),
}
# Where content comes from: the content is compared in their place (require_same_data), or read no more.
PLACES = {"data", "dataset", "arch", "inherit"}
# Flags that are gone, each with the value at which a run computes as it does now; and values that are gone.
GONE = {"cost_weight": 0.0, "latency_batch": 1, "finals_by": "ranking"}
GONE_VALUES = {"path_sampling": "varied", "task": "jigsaw", "finals_start": "mixed"}
STATE = {  # of a checkpoint that a run can go on from
    "flags": dict,
    "position": dict,
    "notes": dict,
    "network": dict,
    "model": dict,
    "statistics_by_rank": list,
    "optimizer": dict,
    "precision": dict,
    "extras": dict,
}
TIME = r"(\d{4}-\d\d-\d\d-\d\dh\d\dm\d\ds)(?:-(\d{1,3}))?"  # what utils.reports.log.make_folder puts behind a name

Config = TypeVar("Config", bound=CommonConfig)


def find_checkpoint(resume: str, result: str, kind: str, save: str) -> Path | None:
    """Find the checkpoint that ``--resume`` means: a file, a run folder, or ``auto``, the newest run of that very name.

    The newest by the time in the folder's name. None if ``auto`` finds nothing. Raises CheckpointError for a path
    without a checkpoint, or in a folder that is not one of a run of this kind: what lies there is not to be replaced.
    """
    if resume == "auto":
        try:
            runs = runs_called(save, Path(result).expanduser() / kind)
            return next((run / CHECKPOINT for run in reversed(runs) if (run / CHECKPOINT).is_file()), None)
        except (OSError, RuntimeError) as error:  # a name that is too long, the home of nobody
            raise CheckpointError(f"--result {show(result)}: {reason(error)}") from None
    path = checkpoint_in(resume)
    if read_json(path.parent / "config.json").get("kind") != kind:
        raise CheckpointError(
            f"--resume {show(resume)}: {show(path.parent)} is no folder of a {kind} run, it has no config.json of one; "
            "to go on, a run needs its folder"
        )
    return path


def runs_called(save: str, base: Path) -> list[Path]:
    """List the folders in ``base`` of runs with exactly this name, the oldest first."""
    runs = []
    for folder in base.iterdir() if base.is_dir() else ():
        match = re.fullmatch(re.escape(save) + "-" + TIME, folder.name)
        if match:
            runs.append((match[1], int(match[2] or 1), folder))
    return [folder for *_, folder in sorted(runs)]  # by time, then by number


def read_run(path: Path, kind: str) -> dict[str, Any]:
    """Read the state in a checkpoint of a ``search`` or a ``retrain`` run. Raises CheckpointError."""
    state = load(path)
    wrong = [name for name, wanted in STATE.items() if not isinstance(state.get(name), wanted)]
    if state.get("kind") != kind or wrong:
        without = f": {', '.join(wrong)} missing or of another kind" if wrong and len(wrong) < len(STATE) else ""
        raise CheckpointError(f"{show(path)} is no {kind} checkpoint that a run can go on from{without}")
    with fitting(path):
        Position.of(state["position"])
        notes = state["notes"]
        if not is_row(notes.get("seconds", {}), dict) or not is_row([notes[n] for n in notes if n != "seconds"]):
            raise ValueError(f"notes {notes}")
    return state


def require_own_folder(state: Mapping[str, Any], path: Path) -> None:
    """Refuse the checkpoint of another run than that of the folder it lies in, which would be replaced by it.

    Compared are the flags and the network in config.json, but for what may change when a run goes on.
    """
    config = read_json(path.parent / "config.json")
    flags = {name: value for name, value in state["flags"].items() if name not in FREE | PLACES}
    for here, there in ((flags, config.get("flags", {})), (state["network"], config.get("derived", {}))):
        for name, value in here.items():
            if name in there and json.loads(json.dumps(value)) != there[name]:  # tuples as the lists of the file
                raise CheckpointError(
                    f"{show(path)} is of another run than its folder: {name} is {value} in it "
                    f"and {there[name]} in config.json"
                )


def settled_flags(state: Mapping[str, Any]) -> dict[str, Any]:
    """The values of flags as a checkpoint holds them, also of those that were left to the data or a file."""
    network = state["network"]
    names = {"child_out_filters": "filters", "num_class": "num_classes", "child_use_aux_heads": "aux"}
    names |= {name: name for name in ("blocks", "sharing", "stem", "antialias")}
    settled = {flag: network[name] for flag, name in names.items()}
    settled |= {"layers": network["blocks"][0]}  # of a stack of cells, whose blocks are this one number
    settled |= {"space": network.get("space", "slnas"), "image_size": state["image_size"]}
    # A task without labels has as many outputs as answers, whatever classes there are.
    return {**settled, "num_class": state["flags"].get("num_class") or len(state["classes"])}


def continued(config: Config, state: Mapping[str, Any]) -> Config:
    """Choose the flags to go on with: those of the run, and of those given now the ones that are free to change.

    Raises UsageError, with both values, for a given flag that would change what the run computes.
    """
    stored, changes, flags = state["flags"], {}, flags_in(type(config))
    for name, value in stored.items():
        if (name in GONE and value != GONE[name]) or (name in GONE_VALUES and value == GONE_VALUES[name]):
            raise UsageError(f"the run has --{name} {show(value)}, which is gone: revision e5a4957 can go on with it")
    for name in (f.name for f in fields(config)):  # a flag of which an older run knows nothing keeps its value of now
        now, before = getattr(config, name), stored.get(name)
        if name not in stored or name == "given":
            continue
        if name not in config.given:
            if name in FREE | PLACES and not flags[name].takes(before):  # config.json vouches for the others
                raise ValueError(f"--{name} {before!r}")
            changes[name] = before
            continue
        if name == "inherit" and before is None:
            raise UsageError(f"--inherit {now}: the run that --resume goes on with has weights of its own")
        if before is None:
            before = settled_flags(state).get(name)
        if name not in FREE | PLACES and _comparable(now) != _comparable(before):
            raise UsageError(f"--{name} is {now} now but was {before} in the run that --resume goes on with")
    merged = replace(config, **changes, resume=config.resume)
    if merged.epochs < stored["epochs"]:
        raise UsageError(f"--epochs {merged.epochs} is less than the {stored['epochs']} of the run")
    return merged


def checkpoint_in(text: str | Path) -> Path:
    """The checkpoint that a user named by its file or by its run folder. Raises CheckpointError where there is none."""
    try:
        path = Path(text).expanduser()
        path = path / CHECKPOINT if path.is_dir() else path
        if path.is_file():  # a pipe would be waited for without end
            return path
        why = f"there is no {show(path.name)}"
    except (OSError, RuntimeError) as error:  # a name that is too long, the home of nobody
        why = reason(error)
    raise CheckpointError(f"{show(text)}: {why}")


def require_own_network(config: CommonConfig, state: Mapping[str, Any], path: Path) -> None:
    """Refuse flags that --evaluate could only ignore: of a training, or of another network. Raises UsageError."""
    ignored = [name for name in ("resume", "seeds", "inherit") if name in config.given]
    if ignored:
        raise UsageError(f"--evaluate trains nothing: --{ignored[0]} has no part in it")
    with fitting(path):
        settled = settled_flags(state)
    for name, value in settled.items():
        if name in config.given and _comparable(getattr(config, name)) != _comparable(value):
            raise UsageError(f"--{name} is {getattr(config, name)} but {show(path)} holds a network with {value}")


def trained_task(config: CommonConfig, state: Mapping[str, Any], path: Path) -> str:
    """The task that a checkpoint was trained for; of before there were several, ``classify``. Raises UsageError."""
    with fitting(path):
        task = state["flags"].get("task", "classify")
    if "task" in config.given and config.task != task:
        raise UsageError(f"--task is {config.task} but {show(path)} was trained for {task}")
    return task


def require_same_processes(state: Mapping[str, Any], size: int) -> None:
    """Refuse another number of processes: the batches are made of all of them, and each has statistics of its own."""
    before = len(state["statistics_by_rank"]) or 1  # a single process gathers none
    if before != size:
        raise UsageError(
            f"the run is one of {before} processes and goes on with as many: {size} would change its batches"
        )


def _comparable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value  # a file may have either


def flags_of(config: CommonConfig) -> dict[str, Any]:
    """The flags as plain values, for a checkpoint and for config.json."""
    return {name: value for name, value in asdict(config).items() if name != "given"}


def forget_from(folder: Path, epoch: int) -> None:
    """Drop the lines of metrics.jsonl that the run is going to write again."""
    kept = [json.dumps(metrics) for metrics in read_epochs(folder) if metrics["epoch"] < epoch]
    write_text(folder / "metrics.jsonl", "".join(f"{line}\n" for line in kept))
