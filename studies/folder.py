"""The folder of a study: locked, and bound to the settings that its pieces were made under."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from utils.reports.log import RunLog, write_json
from utils.system.errors import UsageError
from utils.system.files import read_json, sweep
from utils.system.lock import FolderLock
from utils.system.terminal import reason, show

SETTINGS = "settings.json"


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
        _require_same(folder, json.loads(json.dumps(settings)))
        sweep(folder)
        log = RunLog(folder, tensorboard=False)
        log.line(f"writing to {show(folder)}")
        yield log


def _require_same(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write down what the pieces are of, or refuse to mix them with others."""
    path = folder / SETTINGS
    if path.is_file():
        found = difference(read_json(path), settings)
        if found:
            raise UsageError(f"{show(folder)} is a study of other settings: {found}; give another --save")
    elif any(folder.glob("*/*.json")):
        raise UsageError(f"{show(folder)} has pieces, but no {SETTINGS} says what they are of: give another --save")
    else:
        write_json(path, settings)


def difference(there: Any, here: Any, name: str = "") -> str | None:
    """The first value that differs between nested settings, in words; None if all are the same."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in dict.fromkeys([*there, *here]):
            found = difference(there.get(key), here.get(key), f"{name} {key}".strip())
            if found:
                return found
        return None
    before, now = ("not set" if value is None else show(value) for value in (there, here))
    return None if there == here else f"{name} is {now} now but {before} there"
