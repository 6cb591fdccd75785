"""What all studies share: their flags, and their folder, which is locked and bound to the settings of its pieces."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from engine.jobs import require_jobs
from engine.pieces import Maker, Workplace, make
from engine.seeds import NOT_COMPARED
from ops.genotype import GenotypeError
from utils.config import CommonConfig, JobsConfig
from utils.config.flags import flag, make_parser
from utils.reports.log import RunLog, write_json
from utils.runs.resume import flags_of
from utils.system import numbers
from utils.system.command import command
from utils.system.errors import UsageError
from utils.system.files import read_json, sweep
from utils.system.lock import FolderLock
from utils.system.processes import World, launched
from utils.system.signals import StopRequest, stop_requests
from utils.system.terminal import reason, show

STUDY, TRAININGS = "study", "trainings from scratch"  # groups of flags in --help
SETTINGS = "settings.json"


@dataclass(frozen=True, kw_only=True)
class StudyConfig(JobsConfig):
    """The flags of every study. ``rest``: what stands behind ``--``, word by word."""

    save: str = flag("study", "name of the study; the same name goes on with it", STUDY, type=numbers.save_name)
    result: str = flag("result", "the study is written to <result>/studies/<save>", STUDY)
    rest: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrainingStudyConfig(StudyConfig):
    """The flags of every study that trains networks."""

    device: str = flag("auto", "auto, cpu, mps, or another device as torch names it", STUDY)


class Prepared(Protocol):
    """What a study is about to do. ``settings``: what its pieces are of, as plain values."""

    settings: Mapping[str, Any]


Config = TypeVar("Config", bound=StudyConfig)
Study = TypeVar("Study", bound=Prepared)


def parse_study(
    config: type[Config], argv: Sequence[str], positional: str | None = None, help: str = "", **texts: Any
) -> Config:
    """The values of the flags before ``--``, and what stands behind it. Exits with status 2 for wrong flags.

    ``positional``: the name of a field that takes one or more words without a flag.
    """
    # Flags of a script stand behind --, as they may have the names of the study's own.
    words, rest = list(argv), []
    if "--" in words:
        end = words.index("--")
        words, rest = words[:end], words[end + 1 :]
    parser = make_parser(config, {}, **texts)  # choices of a study stand in its flags
    name = positional and positional.removesuffix("s").upper()
    # argparse would list every flag, and knows nothing of what stands behind --.
    parser.usage = f"{texts['prog']} {f'{name} [{name} ...] ' if name else ''}[flags] [-- more flags]"
    if positional:
        parser.add_argument(positional, nargs="+", metavar=name, help=help)
    values = vars(parser.parse_args(words))
    if positional:
        values[positional] = tuple(values[positional])
    return replace(config(**values), rest=tuple(rest))


def names_in(flag: str, text: str, known: Iterable[str]) -> tuple[str, ...]:
    """The names in the text of a flag, each once. Raises UsageError for one that is not known."""
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--{flag}: {show(unknown[0])} is none of {', '.join(known)}")
    return names


def words_in(flag: str, text: str) -> list[str]:
    """The flags of a script that are the text of one flag of a study. Raises UsageError."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--{flag} {show(text)}: {error}") from None


def require_free(given: Collection[str], reserved: Collection[str], where: str = "--") -> None:
    """Refuse flags of a script that the study sets itself, or that have no part in one. Raises UsageError."""
    refused = set(reserved).intersection(given)
    if refused:
        raise UsageError(f"--{min(refused)} cannot stand behind {where}: the study sets it, or it has no part in one")


def stated(config: CommonConfig, without: Collection[str] = ()) -> dict[str, Any]:
    """The flags of a script that results depend on and that are not at their default.

    A flag that is added later thus changes the settings of no older study.
    """
    defaults = config.defaults()
    return {f"--{k}": v for k, v in flags_of(config).items() if k not in {*NOT_COMPARED, *without} and v != defaults[k]}


def run_study(
    config: type[Config],
    argv: Sequence[str] | None,
    prepare: Callable[[Config, StopRequest], Study],
    work: Callable[[Study, RunLog, Maker], None],
    **texts: str,
) -> int:
    """A study from its flags to its files. Exits with 2 for what is refused and 1 for a fault during the work.

    ``prepare`` refuses what cannot be, before anything is made; ``work`` makes the pieces and writes what they say. The
    same command goes on with a study that was stopped. ``texts``: as :func:`parse_study` takes them.
    """
    config = parse_study(config, sys.argv[1:] if argv is None else argv, **texts)
    with (
        command(texts["prog"].removeprefix("python -m "), GenotypeError, again="the same command") as state,
        stop_requests(World()) as stop,
    ):
        if launched().size > 1:
            raise UsageError("a study runs in one process: --jobs trains several networks at once")
        require_jobs(config)
        # Signals are only noted: one that comes while data are read is looked at right behind that.
        study = prepare(config, stop)  # reads data, so it can take a while
        stop.check()
        with study_folder(config.result, config.save, study.settings) as log:
            state.started(log)  # what goes wrong from here on is a fault, status 1
            place = Workplace(config, log.folder, World(), stop, log.line, apart=True)
            work(study, log, partial(make, place=place))
    return 0


@contextmanager
def study_folder(result: str, save: str, settings: Mapping[str, Any]) -> Iterator[RunLog]:
    """Make the folder of a study, or go on in it, for as long as the body runs; its log, for lines alone.

    Raises UsageError where another process writes to it, or its pieces were made under other settings.
    """
    folder = Path(result).expanduser() / "studies" / save
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder of the study cannot be made: {reason(error)}") from None
    with FolderLock(folder):
        # As JSON gives them back: a tuple would differ from the list that was written.
        _require_same(folder, json.loads(json.dumps(settings)))
        sweep(folder)  # halves of files, of a study that was killed
        log = RunLog()
        log.open(folder, tensorboard=False)
        log.line(f"writing to {show(folder)}")
        yield log


def _require_same(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write down the settings of the pieces, or refuse to mix them with others."""
    path = folder / SETTINGS
    if path.is_file():
        differing = difference(read_json(path), settings)
        if differing:
            raise UsageError(f"{show(folder)} is a study of other settings: {differing}; give another --save")
    # Settings are written before any piece, so these are of something else.
    elif any(folder.glob("*/*.json")):
        raise UsageError(f"{show(folder)} has pieces, but no {SETTINGS} says what they are of: give another --save")
    else:
        write_json(path, settings)


def difference(there: Any, here: Any, name: str = "") -> str | None:
    """The first value that differs between nested settings, in words; None if all are the same."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in dict.fromkeys([*there, *here]):
            differing = difference(there.get(key), here.get(key), f"{name} {key}".strip())
            if differing:
                return differing
        return None
    before, now = ("not set" if value is None else show(value) for value in (there, here))
    return None if there == here else f"{name} is {now} now but {before} there"
