"""The genotype: which operations a network is made of, as a small immutable value.

Encodings of cells (``ops.space`` says what their integers mean), how the cells of a network share them, and the
space that they are of. Standard library only; nothing is evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ops.encodings import Encoding, GenotypeError, Stated, is_int, short, validated, validated_concat
from ops.named import NAMED, from_pairs, from_published, is_published
from ops.space import SLNAS, SPACES, in_order, loose_ends

MAX_STAGES, MAX_BLOCKS = 8, 100  # of a network, and normal cells of each stage: more is a typing error


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
    "network": Sharing(lambda _blocks: 1, lambda _stage, _block, _is_reduction: 0),
}


def num_cells(sharing: str, blocks: Sequence[int]) -> int:
    """How many encodings a network with these stages needs (docs/method.md, section 1)."""
    return SHARINGS[sharing].count(blocks)


@dataclass(frozen=True, order=True)
class Genotype:
    """Cell encodings and how they are shared over a network: hashable, ordered, validated on construction.

    ``type``: two encodings, [normal, reduction]; ``stage``: one per stage, its reduction cell included;
    ``block``: one per cell in network order; ``network``: one for all cells. ``space``: the name of a search space.
    ``concat``: the states that each cell gives, node n being state n + 2; empty for what the space says. Raises
    :class:`GenotypeError`.
    """

    cells: tuple[Encoding, ...]
    sharing: str = "type"
    space: str = "slnas"
    concat: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.sharing not in tuple(SHARINGS):  # a file may hold a list here, which no table takes
            raise GenotypeError(f"sharing {short(self.sharing)} is none of {', '.join(SHARINGS)}")
        if self.space not in tuple(SPACES):
            raise GenotypeError(f"space {short(self.space)} is none of {', '.join(SPACES)}")
        space = SPACES[self.space]
        # Frozen, but lists of lists are welcome: what is kept are tuples.
        object.__setattr__(self, "cells", validated(self.cells, space))
        if space.sharing and self.sharing != space.sharing:
            raise GenotypeError(f"cells of the space {self.space} are shared by {space.sharing}, not by {self.sharing}")
        if self.sharing in ("type", "network") and len(self.cells) != num_cells(self.sharing, ()):
            wanted = "2 encodings, [normal, reduction]" if self.sharing == "type" else "1 encoding"
            raise GenotypeError(f"sharing {self.sharing!r} takes {wanted}, but {len(self.cells)} were given")
        object.__setattr__(self, "concat", validated_concat(self.concat, self.cells, space))

    @classmethod
    def from_lists(
        cls, lists: Sequence[Sequence[int]], sharing: str = "type", space: str = "slnas", concat: Sequence = ()
    ) -> Genotype:
        """A genotype from lists, as JSON holds them."""
        return cls(tuple(lists) if isinstance(lists, list | tuple) else lists, sharing, space, concat)

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
        return replace(self, cells=tuple(in_order(cell) for cell in self.cells))

    def given(self, index: int) -> tuple[int, ...]:
        """The states that the cells of an encoding give, which are joined to their output: node n is state n + 2.

        Loose ends are all states that no node reads, so an input, state 0 or 1, may be among them.
        """
        if self.concat:
            return self.concat[index]
        cell = self.cells[index]
        return loose_ends(cell) if SPACES[self.space].loose_ends else tuple(range(2, 2 + len(cell) // 4))

    def cell(self, stage: int, block: int, is_reduction: bool) -> Encoding:
        """The encoding that a cell uses; ``block`` is its number in the whole network."""
        return self.cells[SHARINGS[self.sharing].index(stage, block, is_reduction)]

    def require_fit(self, blocks: Sequence[int]) -> None:
        """Refuse a genotype whose number of encodings does not fit the stages."""
        if SPACES[self.space].stacked and len(blocks) != 1:
            raise GenotypeError(f"the space {self.space} stacks its cells: give --layers, not stages of --blocks")
        needed = num_cells(self.sharing, blocks)
        if len(self.cells) != needed:
            raise GenotypeError(
                f"{len(self.cells)} encodings were given, but sharing {self.sharing!r} with blocks "
                f"{list(blocks)} takes {needed}"
            )

    def __str__(self) -> str:
        return json.dumps(self.to_lists())


class Candidate(NamedTuple):
    """A genotype as it was given: with its blocks when it came from a file that states them."""

    genotype: Genotype
    blocks: tuple[int, ...] | None


def read_candidate(
    text_or_path: str | Path, sharing: str | None = None, blocks: Sequence[int] | None = None, space: str | None = None
) -> Candidate:
    """Read the value of ``--arch``: a JSON list, what DARTS writes, a published name in any case, or a file of these.

    A ``genotypes.json`` stands for its best, ``genotypes.json#RANK`` for another. ``sharing`` and ``blocks`` override
    what a file states; a bare list is shared by ``type`` and of our own space unless told. ``space``: that which the
    genotype must be of. Raises :class:`GenotypeError` with one line that names what is wrong.
    """
    text = str(text_or_path).strip()
    if not text:
        raise GenotypeError("the genotype is empty: give a JSON list, a genotypes.json, or genotypes.json#RANK")
    # A name as it is published wins over a file of that name, any other case does not.
    names = {name.casefold(): stated for name, stated in NAMED.items()}
    if text in NAMED or (text.casefold() in names and not _is_file(Path(text))):
        stated = names[text.casefold()]
    elif is_published(text):
        stated = from_published(text, space)
    elif text[0] in "[{":
        stated = _stated(_json(text, "the genotype"))
    else:
        stated = _from_file(text, space)
    if space and stated.space not in (None, space):
        raise GenotypeError(f"{short(text)} is of the space {short(stated.space)}, not of {space}")
    space = stated.space or space or SLNAS.name
    usual = (SPACES[space].sharing if space in tuple(SPACES) else None) or "type"
    genotype = Genotype.from_lists(stated.cells, sharing or stated.sharing or usual, space, stated.concat)
    blocks = stated.blocks if blocks is None else tuple(blocks)
    if blocks is not None:
        genotype.require_fit(blocks)
    return Candidate(genotype, blocks)


def parse_genotype(
    text_or_path: str | Path, sharing: str | None = None, blocks: Sequence[int] | None = None
) -> Genotype:
    """Read the genotype of :func:`read_candidate`. ``sharing=None``: as the file states, else ``type``."""
    return read_candidate(text_or_path, sharing, blocks).genotype


def _stated(document: Any) -> Stated:
    """A genotype that stands alone: a list of encodings, or the pairs of DARTS."""
    return from_pairs(document) if isinstance(document, dict) else Stated(document)


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise GenotypeError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise GenotypeError(f"{what} is not JSON: {' '.join(str(error).split())}: {short(text)}") from None


def _from_file(text: str, space: str | None) -> Stated:
    path, rank = _split_rank(text)
    content = _file_text(path)
    if is_published(content) and not rank:
        return from_published(content, space)
    document = _json(content, str(path))
    if isinstance(document, list):
        if rank:
            raise GenotypeError(f"{path} holds a bare list: it has no candidate of rank {rank}")
        return Stated(document)
    if isinstance(document, dict) and "normal" in document and not rank:
        return _stated(document)
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
        raise GenotypeError(f"{path}: sharing {short(sharing)} is none of {', '.join(SHARINGS)}")
    if blocks is not None:
        counts = isinstance(blocks, list) and all(is_int(b) and 0 <= b <= MAX_BLOCKS for b in blocks)
        if not counts or not 0 < len(blocks) <= MAX_STAGES:
            wanted = f"a list of 1 to {MAX_STAGES} counts from 0 to {MAX_BLOCKS}"
            raise GenotypeError(f"{path}: blocks is {short(blocks)}, not {wanted}")
        blocks = tuple(blocks)
    space = document.get("space", SLNAS.name)  # files from before there were others state none
    return Stated(candidate["cells"], sharing, blocks, space, candidate.get("concat", ()))


def _split_rank(text: str) -> tuple[Path, int]:
    head, mark, rank = text.rpartition("#")
    if not mark or _is_file(Path(text)):
        return Path(text), 0
    if not (rank.isascii() and rank.isdigit()):
        raise GenotypeError(f"rank {short(rank)} in {short(text)} is not a whole number: write FILE#3")
    return Path(head), int(rank[:9])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _file_text(path: Path) -> str:
    if not _is_file(path):
        raise GenotypeError(
            f"{short(str(path))} is neither a JSON list nor a file: give [[...], [...]], a genotypes.json, "
            f"genotypes.json#RANK, or one of {', '.join(NAMED)}"
        )
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GenotypeError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
