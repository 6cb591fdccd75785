"""The flags that all studies take; what stands behind ``--`` is for the script that a study calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from utils.config.flags import flag, make_parser
from utils.system import numbers
from utils.system.errors import UsageError
from utils.system.processes import launched
from utils.system.terminal import show

STUDY, ALONE = "study", "trainings from scratch"


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What every study is told. ``rest``: what stands behind ``--``, word by word."""

    save: str = flag("study", "name of the study; the same name goes on with it", STUDY, type=numbers.save_name)
    result: str = flag("result", "the study is written to <result>/studies/<save>", STUDY)
    jobs: int = flag(1, "processes that train at the same time", STUDY, type=numbers.processes)
    device: str = flag("auto", "auto, cpu, mps, or another device as torch names it", STUDY)
    rest: tuple[str, ...] = ()


Config = TypeVar("Config", bound=StudyConfig)


def parse_study(
    config: type[Config], argv: Sequence[str], positional: str | None = None, help: str = "", **texts: Any
) -> Config:
    """The values of the flags before ``--``, and what stands behind it. Exits with status 2 for what cannot be.

    ``positional``: the name of a field that takes one or more words without a flag.
    """
    own, rest = list(argv), []
    if "--" in own:
        at = own.index("--")
        own, rest = own[:at], own[at + 1 :]
    parser = make_parser(config, **texts)
    name = positional and positional.removesuffix("s").upper()
    parser.usage = f"{texts['prog']} {f'{name} [{name} ...] ' if name else ''}[flags] [-- more flags]"
    if positional:
        parser.add_argument(positional, nargs="+", metavar=name, help=help)
    given = vars(parser.parse_args(own))
    if positional:
        given[positional] = tuple(given[positional])
    return replace(config(**given), rest=tuple(rest))


def require_one_process() -> None:
    """Refuse to run under torchrun. Raises UsageError."""
    if launched().size > 1:
        raise UsageError("a study runs in one process: --jobs trains several networks at once")


def chosen(flag: str, text: str, known: Iterable[str], also: Sequence[str] = ()) -> tuple[str, ...]:
    """The names in the text of a flag, each once. Raises UsageError for one that is not known.

    ``also``: words that the flag takes in place of names.
    """
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--{flag}: {show(unknown[0])} is none of {', '.join((*also, *known))}")
    return names
