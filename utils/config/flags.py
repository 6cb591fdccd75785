"""How a flag is written once, as a field of a frozen dataclass, and how a parser is made from such fields."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar

from utils.system.errors import UsageError

EACH_SCRIPT = MISSING  # the default of a flag of both scripts for which each of them states one of its own
KEY = "flag"  # where the metadata of a field holds its Flag
Config = TypeVar("Config")


@dataclass(frozen=True)
class Flag:
    """What a flag is but for its name and its value, which are those of the field.

    ``type``: of its text, bool for a pair of --flag and --no-flag; ``choices``: the table that owns them, read
    whenever a parser is made; ``names``: other names of it; ``said``: what --help calls the default that stands here,
    where its value does not speak for itself, as None never does.
    """

    default: Any
    help: str
    group: str
    type: Callable[[str], Any]
    choices: Iterable[str] | None
    names: tuple[str, ...]
    said: str | None
    metavar: str | None


def flag(
    default: Any,
    help: str,
    group: str,
    *,
    type: Callable[[str], Any] = str,
    choices: Iterable[str] | None = None,
    names: Sequence[str] = (),
    said: str | None = None,
    metavar: str | None = None,
) -> Any:
    """A field that is a flag; see :class:`Flag`. A subclass that only wants another default assigns it."""
    written = Flag(default, help, group, type, choices, tuple(names), said, metavar)
    return field(default=default, metadata={KEY: written})


def flags_in(config: type) -> dict[str, Flag]:
    """The flags of a dataclass by name, in the order in which they are written."""
    found = {}
    for cls in reversed(config.__mro__):
        own: Mapping[str, Field] = getattr(cls, "__dataclass_fields__", {})
        found |= {name: f.metadata[KEY] for name, f in own.items() if KEY in f.metadata}
    return found


def make_parser(config: type, *, prog: str, about: str, example: str) -> argparse.ArgumentParser:
    """A parser of the flags of a dataclass. What it returns holds the flags on the command line and no other."""
    parser = _Parser(
        prog=prog,
        description=about,
        epilog=f"example:\n  {example}\n\nexit status: 0 done; 1 a fault during the run; 2 refused before any work",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    groups: dict[str, Any] = {}
    written, defaults = flags_in(config), {f.name: f.default for f in fields(config)}
    for name, of in written.items():
        if of.group not in groups:
            groups[of.group] = parser.add_argument_group(of.group)
        names = [f"--{n}" for n in (name, *of.names)]
        if of.type is bool:
            options: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
        else:
            choices = None if of.choices is None else tuple(of.choices)
            options = {"type": of.type, "choices": choices, "metavar": of.metavar}
        action = groups[of.group].add_argument(*names, **options)
        action.help = _help(of, defaults[name])  # set here: some versions of argparse add defaults of their own
    return parser


def parse(config: type[Config], argv: Sequence[str] | None, **texts: str) -> Config:
    """The values of the flags, with the names of those that are on the command line in the field ``given``.

    ``config``: a dataclass with that field, a method ``completed``, which gives it with what flags say of others, and
    one ``check``, which raises ValueError for flags that contradict each other; ``texts``: as :func:`make_parser`
    takes them. Exits with status 2 and one line for what cannot be.
    """
    parser = make_parser(config, **texts)
    given = vars(parser.parse_args(argv))
    values = config(**given, given=frozenset(given)).completed()
    try:
        values.check()
    except (ValueError, UsageError) as error:
        parser.error(str(error))
    return values


class _Parser(argparse.ArgumentParser):
    """Refuses in one line, without the usage text."""

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see --help)\n")


def _help(of: Flag, default: Any) -> str:
    """The help of a flag and, in brackets, its default; none for a flag that is unset and says nothing of that."""
    said = None if default is None else _words(default)
    if of.said is not None and default == of.default:
        said = of.said
    text = of.help if said is None else f"{of.help} (default: {said})"
    return text.replace("%", "%%")


def _words(value: Any) -> str:
    """A default as it is written on the command line."""
    return json.dumps(value, separators=(",", ":")) if isinstance(value, tuple) else str(value)
