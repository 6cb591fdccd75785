"""What a strategy favours, as pictures. matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from controller.strategies import Strategy
from ops.space import SPACES, EdgeSpace


def likely_pictures(strategy: Strategy, heat_map: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """(tag, picture): the genotype that is favoured, and the controller's probabilities on the way to it.

    Nothing for a strategy that favours none. ``heat_map(rows, columns, title)`` draws a table of shares.
    """
    genotype = strategy.argmax()
    if genotype is None:
        return
    from ops.draw import draw

    yield "genotype/likely", draw(genotype)
    controller = getattr(strategy, "controller", None)
    if controller is None:
        return
    space = SPACES[genotype.space]
    short = [name.removesuffix("_3x3") if "pool" in name else name for name in space.operations]
    if isinstance(space, EdgeSpace):
        edges = (f"{source} to {target}" for source, target in space.wires)
        rows = dict(zip(edges, (row.tolist() for row in controller.distributions(genotype)), strict=True))
        yield "controller/operations_0", heat_map(rows, space.operations, "operations")
        return
    for cell, tables in enumerate(controller.probabilities(genotype)):
        for name, columns, table in zip(("inputs", "operations"), (space.states, short), tables, strict=True):
            rows = {f"node {i // 2}, edge {i % 2 + 1}": row.flatten().tolist() for i, row in enumerate(table)}
            yield f"controller/{name}_{cell}", heat_map(rows, columns, f"{name} of encoding {cell}")
