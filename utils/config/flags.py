"""How a flag is written once, as a field of a frozen dataclass, and how a parser is made from such fields."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, MISSING, Field, dataclass, field, fields
from typing import Any

EACH_SCRIPT = MISSING  # the default of a flag of both scripts for which each of them states one of its own
KEY = "flag"  # where the metadata of a field holds its Flag


@dataclass(frozen=True)
class Flag:
    """What a flag is but for its name and its value, which are those of the field.

    ``type``: of its text, bool for a pair of --flag and --no-flag; ``choice``: the names that it takes, or True: those
    of a table, which the parser is given under the flag's name; ``several``: it takes some of these names, with commas;
    ``aliases``: other names of the flag;
    ``default_text``: what --help calls the default that stands here, where its value does not speak for itself, as
    None never does.
    """

    default: Any
    help: str
    group: str
    _: KW_ONLY
    type: Callable[[str], Any] = str
    choice: bool | Iterable[str] = False
    several: bool = False
    aliases: Sequence[str] = ()
    default_text: str | None = None
    metavar: str | None = None

    def takes(self, value: Any) -> bool:
        """Whether a command line could have given this value; None where it may be left to the data."""
        if value is None or self.type in (bool, str):
            return isinstance(value, self.type) if value is not None else self.default is None
        try:
            return self.type(str(value)) == value
        except (argparse.ArgumentTypeError, ValueError):
            return False


def flag(default: Any, help: str, group: str, **options: Any) -> Any:
    """A field that is a flag; ``options``: of :class:`Flag`. A subclass that only wants another default assigns it."""
    return field(default=default, metadata={KEY: Flag(default, help, group, **options)})


def group(name: str) -> Callable[..., Any]:
    """What declares the flags of one group of --help: ``declare(default, help, type, ...)``, as :func:`flag` does."""
    return lambda default, help, type=str, **options: flag(default, help, name, type=type, **options)


def flags_in(config: type) -> dict[str, Flag]:
    """The flags of a dataclass by name, in the order in which they are written."""
    declared = {}
    for cls in reversed(config.__mro__):  # base classes first: their flags come first in --help
        cls_fields: Mapping[str, Field] = getattr(cls, "__dataclass_fields__", {})
        declared |= {name: f.metadata[KEY] for name, f in cls_fields.items() if KEY in f.metadata}
    return declared


def make_parser(
    config: type, choices: Mapping[str, Iterable[str]], *, prog: str, about: str, example: str
) -> argparse.ArgumentParser:
    """A parser of the flags of a dataclass. What it returns holds the flags on the command line and no other.

    ``choices``: by flag, the table whose names it takes; read here, so that a new entry is a choice.
    """
    parser = _Parser(
        prog=prog,
        description=about,
        epilog=f"example:\n  {example}\n\nexit status: 0 done; 1 a fault during the run; 2 refused before any work",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # so that what is returned tells which flags were typed
        allow_abbrev=False,  # a new flag must not change what a shortened one means
    )
    groups: dict[str, Any] = {}
    declared, defaults = flags_in(config), {f.name: f.default for f in fields(config)}
    for name, of in declared.items():
        if of.group not in groups:
            groups[of.group] = parser.add_argument_group(of.group)
        names = [f"--{n}" for n in (name, *of.aliases)]
        if of.type is bool:
            options: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
        else:
            names_taken = choices[name] if of.choice is True else of.choice
            options = {"type": of.type, "choices": tuple(names_taken or ()) or None, "metavar": of.metavar}
            if of.several:
                options |= {"type": _several(options["choices"]), "choices": None}
        action = groups[of.group].add_argument(*names, **options)
        action.help = _help(of, defaults[name])  # set here: some versions of argparse add defaults of their own
    return parser


def _several(names: Sequence[str]) -> Callable[[str], str]:
    """A type for some of these names, with commas."""

    def parse(text: str) -> str:
        unknown = [name for name in text.split(",") if name not in names]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(names)}")
        return text

    return parse


class _Parser(argparse.ArgumentParser):
    """Refuses in one line, without the usage text."""

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see --help)\n")


def written_default(of: Flag, default: Any) -> str | None:
    """A default as --help has it: in words where the flag has them, else as on the command line; None where unset."""
    if of.default_text is not None and default == of.default:
        return of.default_text
    if default is None:
        return None
    return json.dumps(default, separators=(",", ":")) if isinstance(default, tuple) else str(default)


def _help(of: Flag, default: Any) -> str:
    """The help of a flag and, in brackets, its default, if it has any."""
    text = written_default(of, default)
    # argparse fills in what stands behind a percent sign, so that each is doubled.
    return (of.help if text is None else f"{of.help} (default: {text})").replace("%", "%%")
