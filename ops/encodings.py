"""What an encoding of a cell may hold: the checks of a genotype, each with one line that says what is wrong.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ops.space import EdgeSpace, NetworkSpace

Encoding = tuple[int, ...]


class GenotypeError(ValueError):
    """A genotype that cannot be: the message names the cell, the node and the value, in one line."""


class Stated(NamedTuple):
    """What a text, a file or a name says of a genotype, before it is validated."""

    cells: Any
    sharing: str | None = None
    blocks: tuple[int, ...] | None = None
    space: str | None = None
    concat: Any = ()


def is_int(value: Any) -> bool:
    """Whether a value is a whole number; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def validated(cells: Any, space: NetworkSpace) -> tuple[Encoding, ...]:
    """The encodings of a genotype as tuples. Raises GenotypeError."""
    if not isinstance(cells, list | tuple):
        raise GenotypeError(f"a genotype is a list of encodings, not {short(cells)}")
    if not cells:
        raise GenotypeError("a genotype needs at least one encoding, but the list is empty")
    # The commonest mistake: one encoding without the list around it.
    if all(is_int(value) for value in cells):
        raise GenotypeError(
            f"a genotype is a list of encodings, but {len(cells)} bare integers were given: "
            "write [[normal ...], [reduction ...]]"
        )
    return tuple(_validated_cell(index, cell, space) for index, cell in enumerate(cells))


def _validated_cell(index: int, cell: Any, space: NetworkSpace) -> Encoding:
    if not isinstance(cell, list | tuple):
        raise GenotypeError(f"cell {index} is {short(cell)}, not a list of {space.length} integers")
    # Genotypes of the space of DARTS may have any number of nodes, as NASNet's do.
    if len(cell) != space.length and not (space.further and cell and len(cell) % 4 == 0):
        raise GenotypeError(f"cell {index} has {len(cell)} values, but an encoding has {space.length}")
    for position, value in enumerate(cell):
        n, field = divmod(position, 4)
        if isinstance(space, EdgeSpace):  # an operation for each edge of a fixed graph
            source, target = space.wires[position]
            where, is_input = f"cell {index}, edge {source} to {target}: {short(value)}", False
        else:  # input_1, op_1, input_2, op_2 of each node in turn
            name, is_input = ("input_1", "op_1", "input_2", "op_2")[field], field % 2 == 0
            where = f"cell {index}, node {n}: {name} is {short(value)}"
        if not is_int(value):
            raise GenotypeError(f"{where}, not an integer")
        if is_input and not 0 <= value <= n + 1:
            raise GenotypeError(f"{where}, but node {n} reads inputs 0 to {n + 1}")
        if not is_input and not 0 <= value < len(space.known):
            known = ", ".join(f"{i} {operation}" for i, operation in enumerate(space.known))
            raise GenotypeError(f"{where}, but the operations are {known}")
    return tuple(cell)


def validated_concat(concat: Any, cells: Sequence[Encoding], space: NetworkSpace) -> tuple[tuple[int, ...], ...]:
    """The states that each cell gives, or nothing where those are what the space says. Raises GenotypeError."""
    if not isinstance(concat, list | tuple) or not all(isinstance(states, list | tuple) for states in concat):
        raise GenotypeError(f"concat is {short(concat)}, not one list of states for each cell")
    if not concat:
        return ()
    if not space.further:
        raise GenotypeError(f"the space {space.name} says itself which nodes a cell gives, but concat states them")
    if len(concat) != len(cells):
        raise GenotypeError(f"concat names the states of {len(concat)} cells, but there are {len(cells)}")
    for index, (states, cell) in enumerate(zip(concat, cells, strict=True)):
        last = 1 + len(cell) // 4
        if not states or len(set(map(repr, states))) != len(states):
            raise GenotypeError(f"cell {index}: concat is {short(states)}, not a list of different states")
        for state in states:
            if not is_int(state) or not 2 <= state <= last:
                raise GenotypeError(f"cell {index}: concat names {short(state)}, but its nodes are states 2 to {last}")
    # All nodes are what a cell gives anyway: equal genotypes are then equal values.
    concat = tuple(tuple(states) for states in concat)
    all_nodes = tuple(tuple(range(2, 2 + len(cell) // 4)) for cell in cells)
    return () if concat == all_nodes and not space.loose_ends else concat


def short(value: Any) -> str:
    """A value for a message: one line of at most 40 characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else text[:37] + "..."
