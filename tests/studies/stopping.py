"""A study that is stopped while it makes its pieces."""

import signal
from collections.abc import Callable, Sequence
from typing import Any

from studies.pieces import Piece, make


def make_until_the_third(pieces: Sequence[Piece], *, say: Callable[[str], None], **options: Any) -> list[dict]:
    """As the study makes them, but a signal comes when the third of them is made."""

    def say_and_stop(line: str) -> None:
        say(line)
        if line.startswith("3 of"):
            signal.raise_signal(signal.SIGTERM)

    return make(pieces, say=say_and_stop, **options)
