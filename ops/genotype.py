"""The genotype: which operations a network is made of, as a small immutable value.

Encodings of cells (``ops.space`` says what their integers mean), how the cells of a network share them, and the
space that they are of. Standard library only; nothing is evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ops.space import SPACES, Space, in_order

MAX_STAGES, MAX_BLOCKS = 8, 100  # of a network, and normal cells of each stage: more is a typing error

Encoding = tuple[int, ...]


class Sharing(NamedTuple):
    """How blocks share encodings.

    ``count``: how many a network with these normal blocks a stage needs; ``index``: which one a block uses, by its
    stage, its place in the whole network and whether it is a reduction block.
    """

    count: Callable[[Sequence[int]], int]
    index: Callable[[int, int, bool], int]


SHARINGS = {
    "type": Sharing(lambda _blocks: 2, lambda _stage, _block, is_reduction: int(is_reduction)),
    "stage": Sharing(len, lambda stage, _block, _is_reduction: stage),
    "block": Sharing(lambda blocks: sum(blocks) + len(blocks), lambda _stage, block, _is_reduction: block),
}


class GenotypeError(ValueError):
    """A genotype that cannot be: the message names the cell, the node and the value, in one line."""


def num_cells(sharing: str, blocks: Sequence[int]) -> int:
    """How many encodings a network with these stages needs (docs/method.md, section 1)."""
    return SHARINGS[sharing].count(blocks)


@dataclass(frozen=True, order=True)
class Genotype:
    """Cell encodings and how they are shared over a network: hashable, ordered, validated on construction.

    ``type``: two encodings, [normal, reduction]; ``stage``: one per stage, its reduction cell included;
    ``block``: one per cell in network order. ``space``: the name of a search space. Raises
    :class:`GenotypeError`.
    """

    cells: tuple[Encoding, ...]
    sharing: str = "type"
    space: str = "slnas"

    def __post_init__(self) -> None:
        if self.sharing not in tuple(SHARINGS):  # a file may hold a list here, which no table takes
            raise GenotypeError(f"sharing {self.sharing!r} is none of {', '.join(SHARINGS)}")
        if self.space not in SPACES:
            raise GenotypeError(f"space {_short(self.space)} is none of {', '.join(SPACES)}")
        object.__setattr__(self, "cells", _validated(self.cells, SPACES[self.space]))
        if self.sharing == "type" and len(self.cells) != 2:
            raise GenotypeError(
                f"sharing 'type' takes 2 encodings, [normal, reduction], but {len(self.cells)} were given"
            )

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]], sharing: str = "type", space: str = "slnas") -> Genotype:
        """A genotype from lists, as JSON holds them."""
        return cls(tuple(lists) if isinstance(lists, list | tuple) else lists, sharing, space)

    @classmethod
    def widest(cls, count: int, sharing: str = "type", space: str = "slnas") -> Genotype:
        """The genotype of ``count`` encodings that needs the most memory."""
        return cls((SPACES[space].widest,) * count, sharing, space)

    def to_lists(self) -> list[list[int]]:
        """The encodings as lists, for JSON."""
        return [list(cell) for cell in self.cells]

    def canonical(self) -> Genotype:
        """The one that stands for all encodings of this network that differ by swapped edges of nodes."""
        if not SPACES[self.space].symmetric:
            return self
        return Genotype(tuple(in_order(cell) for cell in self.cells), self.sharing, self.space)

    def cell(self, stage: int, block: int, is_reduction: bool) -> Encoding:
        """The encoding that a cell uses; ``block`` is its number in the whole network."""
        return self.cells[SHARINGS[self.sharing].index(stage, block, is_reduction)]

    def require_fit(self, blocks: Sequence[int]) -> None:
        """Refuse a genotype whose number of encodings does not fit the stages."""
        needed = num_cells(self.sharing, blocks)
        if len(self.cells) != needed:
            raise GenotypeError(
                f"{len(self.cells)} encodings were given, but sharing {self.sharing!r} with blocks "
                f"{list(blocks)} takes {needed}"
            )

    def __str__(self) -> str:
        return json.dumps(self.to_lists())


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _validated(cells: Any, space: Space) -> tuple[Encoding, ...]:
    if not isinstance(cells, list | tuple):
        raise GenotypeError(f"a genotype is a list of encodings, not {_short(cells)}")
    if not cells:
        raise GenotypeError("a genotype needs at least one encoding, but the list is empty")
    if all(_is_int(value) for value in cells):
        raise GenotypeError(
            f"a genotype is a list of encodings, but {len(cells)} bare integers were given: "
            "write [[normal ...], [reduction ...]]"
        )
    return tuple(_validated_cell(index, cell, space) for index, cell in enumerate(cells))


def _validated_cell(index: int, cell: Any, space: Space) -> Encoding:
    if not isinstance(cell, list | tuple):
        raise GenotypeError(f"cell {index} is {_short(cell)}, not a list of {space.length} integers")
    if len(cell) != space.length:
        raise GenotypeError(f"cell {index} has {len(cell)} values, but an encoding has {space.length}")
    for position, value in enumerate(cell):
        n, field = divmod(position, 4)
        name = ("input_1", "op_1", "input_2", "op_2")[field]
        where = f"cell {index}, node {n}: {name} is {_short(value)}"
        if not _is_int(value):
            raise GenotypeError(f"{where}, not an integer")
        if field % 2 == 0 and not 0 <= value <= n + 1:
            raise GenotypeError(f"{where}, but node {n} reads inputs 0 to {n + 1}")
        if field % 2 == 1 and not 0 <= value < len(space.operations):
            named = ", ".join(f"{i} {operation}" for i, operation in enumerate(space.operations))
            raise GenotypeError(f"{where}, but the operations are {named}")
    return tuple(cell)


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else text[:37] + "..."


class Candidate(NamedTuple):
    """A genotype as it was given: with its blocks when it came from a file that states them."""

    genotype: Genotype
    blocks: tuple[int, ...] | None


class Stated(NamedTuple):
    """What a text or a file says of a genotype, before it is validated."""

    cells: Any
    sharing: str | None = None
    blocks: tuple[int, ...] | None = None
    space: str = "slnas"


def read_candidate(
    text_or_path: str | Path, sharing: str | None = None, blocks: Sequence[int] | None = None
) -> Candidate:
    """Read the value of ``--arch``: a JSON list, a ``genotypes.json`` (its best), or ``genotypes.json#RANK``.

    ``sharing`` and ``blocks`` override what a file states; a bare list is shared by ``type`` unless told.
    Raises :class:`GenotypeError` with one line that names what is wrong.
    """
    text = str(text_or_path).strip()
    if not text:
        raise GenotypeError("the genotype is empty: give a JSON list, a genotypes.json, or genotypes.json#RANK")
    if text[0] in "[{":
        stated = Stated(_json(text, "the genotype"))
    else:
        stated = _from_file(text)
    genotype = Genotype.from_lists(stated.cells, sharing or stated.sharing or "type", stated.space)
    blocks = stated.blocks if blocks is None else tuple(blocks)
    if blocks is not None:
        genotype.require_fit(blocks)
    return Candidate(genotype, blocks)


def parse_genotype(
    text_or_path: str | Path, sharing: str | None = None, blocks: Sequence[int] | None = None
) -> Genotype:
    """Read the genotype of :func:`read_candidate`. ``sharing=None``: as the file states, else ``type``."""
    return read_candidate(text_or_path, sharing, blocks).genotype


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise GenotypeError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise GenotypeError(f"{what} is not JSON: {' '.join(str(error).split())}: {_short(text)}") from None


def _from_file(text: str) -> Stated:
    path, rank = _split_rank(text)
    document = _json(_file_text(path), str(path))
    if isinstance(document, list):
        if rank:
            raise GenotypeError(f"{path} holds a bare list: it has no candidate of rank {rank}")
        return Stated(document)
    if not isinstance(document, dict) or not isinstance(document.get("candidates"), list):
        raise GenotypeError(f"{path} is no genotype file: it has no list named 'candidates'")
    candidates = document["candidates"]
    if rank >= len(candidates):
        raise GenotypeError(f"{path} holds {len(candidates)} candidates: there is none of rank {rank}")
    candidate = candidates[rank]
    if not isinstance(candidate, dict) or "cells" not in candidate:
        raise GenotypeError(f"{path}: candidate {rank} has no 'cells'")
    sharing, blocks = document.get("sharing"), document.get("blocks")
    if sharing is not None and sharing not in tuple(SHARINGS):
        raise GenotypeError(f"{path}: sharing {_short(sharing)} is none of {', '.join(SHARINGS)}")
    if blocks is not None:
        counts = isinstance(blocks, list) and all(_is_int(b) and 0 <= b <= MAX_BLOCKS for b in blocks)
        if not counts or not 0 < len(blocks) <= MAX_STAGES:
            wanted = f"a list of 1 to {MAX_STAGES} counts from 0 to {MAX_BLOCKS}"
            raise GenotypeError(f"{path}: blocks is {_short(blocks)}, not {wanted}")
        blocks = tuple(blocks)
    return Stated(candidate["cells"], sharing, blocks, document.get("space", "slnas"))


def _split_rank(text: str) -> tuple[Path, int]:
    head, mark, rank = text.rpartition("#")
    if not mark or _is_file(Path(text)):
        return Path(text), 0
    if not (rank.isascii() and rank.isdigit()):
        raise GenotypeError(f"rank {_short(rank)} in {_short(text)} is not a whole number: write FILE#3")
    return Path(head), int(rank[:9])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _file_text(path: Path) -> str:
    if not _is_file(path):
        raise GenotypeError(
            f"{_short(str(path))} is neither a JSON list nor a file: "
            "give [[...], [...]], a genotypes.json, or genotypes.json#RANK"
        )
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GenotypeError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
