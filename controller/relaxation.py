"""A softmax in place of every operation of the space of DARTS, moved by gradients (docs/strategies.md, section 23).

The gradients come from elsewhere (engine/architect.py): here is what they move, what a network mixes by it, and
the genotype that it stands for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from controller.sampling import Fits, NothingFitsError
from ops.genotype import SHARINGS, Genotype
from ops.space import DARTS, SPACES, CellSpace

START = 1e-3  # std of the logits at first
BETAS = (0.5, 0.999)


@dataclass(frozen=True)
class SoftGenotype:
    """Stands for a genotype in a forward pass: ``weights(index)`` are those in place of an encoding, as of now."""

    weights: Callable[[int], Tensor]
    sharing: str

    def cell(self, stage: int, block: int, is_reduction: bool) -> Tensor:
        """The weights that a cell mixes by; ``block`` is its number in the whole network."""
        return self.weights(SHARINGS[self.sharing].index(stage, block, is_reduction))


class Relaxation:
    """Logits of every operation on every edge, and Adam, which moves them: every node reads every state, by a mixture.

    ``parameters``: a table an encoding, (edges, 1 + operations): row n (n + 3) / 2 + i is the edge from state i to node
    n, column 0 is ``none``. They start 1e-3 times standard normal, by ``generator`` or the global one. Wherever
    genotypes are asked for, it gives the one that it stands for: it proposes no others. ``spaces``: those that it
    searches, the first one unless told otherwise.
    """

    spaces: ClassVar[tuple[str, ...]] = (DARTS.name,)

    def __init__(
        self,
        num_cells: int,
        sharing: str,
        space: str = DARTS.name,
        *,
        lr: float = 3e-4,
        weight_decay: float = 1e-3,
        device: torch.device | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.sharing, self.space = sharing, SPACES[space]
        edges = self.space.nodes * (self.space.nodes + 3) // 2
        drawn = [torch.randn(edges, 1 + len(self.space.operations), generator=generator) for _ in range(num_cells)]
        self.parameters = [(START * table).to(device).requires_grad_() for table in drawn]
        self.adam = torch.optim.Adam(self.parameters, lr, betas=BETAS, weight_decay=weight_decay)

    def mixture(self, learning: bool = False) -> SoftGenotype:
        """What stands for a genotype: the softmax of every row as it is when a cell asks for it.

        ``learning``: with gradients, which the training of a network leaves out.
        """

        def weights(index: int) -> Tensor:
            with torch.set_grad_enabled(learning and torch.is_grad_enabled()):
                return self.parameters[index].softmax(1)  # (edges, 1 + operations)

        return SoftGenotype(weights, self.sharing)

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move the logits by these gradients, one for each of ``parameters``."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.adam.step()
        self.adam.zero_grad()

    @torch.no_grad()
    def argmax(self) -> Genotype:
        """The genotype that the logits stand for: see :func:`strongest`."""
        shares = [table.to("cpu", torch.float64).softmax(1) for table in self.parameters]
        return Genotype.from_lists([strongest(table, self.space) for table in shares], self.sharing, self.space.name)

    def sample(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        """The same ``n`` times: :meth:`argmax`. Raises NothingFitsError if it does not fit."""
        genotype = self.argmax()
        if fits is not None and not fits(genotype):
            raise NothingFitsError("the genotype that was derived does not meet the limits")
        return (genotype,) * n

    @torch.no_grad()
    def entropy(self) -> float:
        """The mean entropy of an edge, in nats."""
        shares = torch.cat(self.parameters).to("cpu", torch.float64).softmax(1)  # (all edges, 1 + operations)
        return -torch.special.xlogy(shares, shares).sum(1).mean().item()

    def kl_from_uniform(self) -> float:
        """How far an edge is from a uniform mixture, in nats, on average."""
        return math.log(1 + len(self.space.operations)) - self.entropy()

    def state_dict(self) -> dict[str, Any]:
        """The logits and the state of Adam."""
        return {"logits": [table.detach().cpu() for table in self.parameters], "adam": self.adam.state_dict()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there."""
        for parameter, table in zip(self.parameters, state["logits"], strict=True):
            parameter.copy_(table)
        self.adam.load_state_dict(state["adam"])


def strongest(weights: Tensor, space: CellSpace) -> list[int]:
    """Derive an encoding from the shares (edges, 1 + operations) of none and the operations on every edge.

    An edge is as strong as its largest share but that of none; a node keeps its two strongest, the strongest first, on
    ties the lower input, each with its largest operation, on ties the first.
    """
    encoding: list[int] = []
    rows = iter(weights[:, 1:].tolist())
    for n in range(space.nodes):
        edges = [next(rows) for _ in range(n + 2)]
        for state in sorted(range(n + 2), key=lambda i: -max(edges[i]))[:2]:  # sorting is stable
            encoding += [state, edges[state].index(max(edges[state]))]
    return encoding
