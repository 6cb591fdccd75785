"""What may stand in a file in place of what belongs there, for tests of readers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import reduce
from operator import getitem
from typing import Any

from hypothesis import strategies as st

NUMBERS = [True, -1, 0, 1.5, float("nan"), 1e300, 10**30]
ODD = [*NUMBERS, None, "", "0", "../x", "\0", "\ud800", "ä" * 300, [], [[]], [None], {}, {"a": 1}]
DELETED = object()
PIECES = [b"", b"\0", b"\xff" * 9, b"<", b"[[", b"0,nan,", b"\x89PNG", b"PK\x03\x04", b"1 -1\r\n", b"\x7f" * 4]


def places(value: Any, above: tuple = ()) -> Iterator[tuple]:
    """Every place in a document, as keys from the top."""
    if above:
        yield above
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*above, key))


def replaced(document: Any, place: tuple, value: Any) -> Any:
    """A copy of the document with another value, or none at all, at a place."""
    document = copy.deepcopy(document)
    *above, last = place
    holder = reduce(getitem, above, document)
    holder[last] = value
    if value is DELETED:
        del holder[last]
    return document


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """Bytes of which a piece is missing, or is another."""
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    if draw(st.booleans()):
        end = min(end, start + 4)  # most pieces would take the end of the file with them
    return content[:start] + draw(st.sampled_from(PIECES) | st.binary(max_size=4)) + content[end:]


def taken_or_refused(read: Callable[[], object], refusal: type[Exception]) -> bool:
    """Whether ``read`` goes well; else it must raise ``refusal``, in one line."""
    try:
        read()
    except refusal as error:
        line = str(error)
    else:
        return True
    assert line
    assert "\n" not in line
    return False
