"""The page of all flags, from what the parsers are made from: ``python -m engine.flags_page`` writes docs/flags.md."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from engine.configuration import retrain_choices, search_choices
from utils.config import CommonConfig, RetrainConfig, SearchConfig, flags_in, written_default
from utils.system.files import write_text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "flags.md"
HEAD = """# Flags

Made by `python -m engine.flags_page` from what the parsers are made from; do not edit. [manual.md](manual.md) says what
the choices are for. A switch has a twin: `--no-flip` for `--flip`. A recipe, a task or a space may change the default
of a flag that is not given.
"""


def flags_page() -> str:
    """The page as Markdown: the flags of both scripts, then those of each."""
    common = flags_in(CommonConfig)
    search, retrain = flags_in(SearchConfig), flags_in(RetrainConfig)
    both = dict.fromkeys(common, (SearchConfig, RetrainConfig))
    parts = {
        "Both scripts": (both, search_choices()),
        "train_search_cifar.py": ({name: (SearchConfig,) for name in search if name not in common}, search_choices()),
        "retrainer_cifar.py": ({name: (RetrainConfig,) for name in retrain if name not in common}, retrain_choices()),
    }
    lines = [HEAD]
    for title, (configs, choices) in parts.items():
        lines += [f"## {title}", ""]
        groups: dict[str, list[str]] = {}
        for name, of in configs.items():
            declared = flags_in(of[0])[name]
            groups.setdefault(declared.group, []).append(_row(name, of, choices))
        for group, rows in groups.items():
            lines += [f"### {group[0].upper()}{group[1:]}", "", "| flag | default | |", "|---|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def _row(name: str, configs: tuple[type, ...], choices: Mapping[str, Iterable[str]]) -> str:
    """A line of a table; the default of each script where they differ."""
    declared = flags_in(configs[0])[name]
    # Of a search and of a retraining.
    defaults = [written_default(declared, getattr(config(), name)) or "" for config in configs]
    default = defaults[0] if len(set(defaults)) == 1 else f"search {defaults[0]}, retraining {defaults[1]}"
    names = choices[name] if declared.choice is True else declared.choice or ()
    taken = ": " + ", ".join(f"`{choice}`" for choice in names) if names else ""
    flags = ", ".join(f"`--{alias}`" for alias in (name, *declared.aliases))
    return f"| {flags} | {default} | {declared.help}{taken} |".replace(" |  | ", " | | ")


def main() -> int:
    """Write the page."""
    write_text(PAGE, flags_page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
