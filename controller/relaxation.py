"""A softmax in place of every choice of a genotype, moved by gradients (DARTS; docs/strategies.md, section 23).

The gradients come from elsewhere (engine/architect.py): here is what they move, what a network mixes by it, and
the genotype that it stands for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from controller.sampling import Fits, NothingFitsError
from ops.genotype import SHARINGS, Genotype
from ops.mixture import MixedEdges
from ops.space import SPACES, CellSpace

START = 1e-3  # std of the logits at first
BETAS = (0.5, 0.999)

Logits = Sequence[Tensor]  # of one encoding


@dataclass(frozen=True)
class SoftGenotype:
    """Stands for a genotype in a forward pass: ``weights(index)`` are those in place of an encoding, as of now."""

    weights: Callable[[int], Any]
    sharing: str

    def cell(self, stage: int, block: int, is_reduction: bool) -> Any:
        """The weights that a cell mixes by; ``block`` is its number in the whole network."""
        return self.weights(SHARINGS[self.sharing].index(stage, block, is_reduction))


class Relaxation(ABC):
    """Logits of every choice, and Adam, which moves them. Subclasses know one space each.

    ``parameters``: the logits, encoding by encoding; they start 1e-3 times standard normal, by ``generator`` or the
    global one. Wherever genotypes are asked for, it gives the one that it stands for: it proposes no others.
    """

    def __init__(
        self,
        num_cells: int,
        sharing: str,
        space: str,
        *,
        lr: float = 3e-4,
        weight_decay: float = 1e-3,
        device: torch.device | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.sharing, self.space = sharing, SPACES[space]
        drawn = [[START * torch.randn(shape, generator=generator) for shape in self.shapes()] for _ in range(num_cells)]
        self.logits = [[table.to(device).requires_grad_() for table in tables] for tables in drawn]
        self.parameters = [table for tables in self.logits for table in tables]
        self.adam = torch.optim.Adam(self.parameters, lr, betas=BETAS, weight_decay=weight_decay)

    @abstractmethod
    def shapes(self) -> list[tuple[int, int]]:
        """The shapes of the logits of one encoding."""

    @abstractmethod
    def weights(self, logits: Logits) -> Any:
        """What a cell mixes by: distributions by the logits of its encoding, (choices, options), or a tuple of them."""

    @abstractmethod
    def encoding(self, logits: Logits) -> list[int]:
        """What the logits of an encoding stand for. They are on the CPU."""

    def mixture(self, learning: bool = False) -> SoftGenotype:
        """What stands for a genotype: the weights as they are when a cell asks for them.

        ``learning``: with their gradients, which the training of a network leaves out.
        """

        def weights(index: int) -> Any:
            with torch.set_grad_enabled(learning and torch.is_grad_enabled()):
                return self.weights(self.logits[index])

        return SoftGenotype(weights, self.sharing)

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Move the logits by these gradients, one for each of ``parameters``."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.adam.step()
        self.adam.zero_grad()

    @torch.no_grad()
    def argmax(self) -> Genotype:
        """The genotype that the logits stand for."""
        tables_on_cpu = [[table.to("cpu", torch.float64) for table in tables] for tables in self.logits]
        return Genotype.from_lists([self.encoding(tables) for tables in tables_on_cpu], self.sharing, self.space.name)

    def sample(self, n: int, generator: torch.Generator, fits: Fits | None = None) -> tuple[Genotype, ...]:
        """The same ``n`` times: :meth:`argmax`. Raises NothingFitsError if it does not fit."""
        genotype = self.argmax()
        if fits is not None and not fits(genotype):
            raise NothingFitsError("the genotype that was derived does not meet the limits")
        return (genotype,) * n

    @torch.no_grad()
    def _per_choice(self, measure: Callable[[Tensor], Tensor]) -> float:
        """The mean over all choices of a measure of distributions, (choices, options) -> (choices,)."""
        mixed = (self.weights(logits) for logits in self.logits)
        tables = [table for weights in mixed for table in (weights if isinstance(weights, tuple) else [weights])]
        return torch.cat([measure(table) for table in tables]).mean().item()

    def entropy(self) -> float:
        """The mean entropy of a choice, in nats."""
        return self._per_choice(lambda p: torch.special.entr(p).sum(1))

    def kl_from_uniform(self) -> float:
        """How far a choice is from a uniform one, in nats, on average; a state that does not exist is no option."""
        return self._per_choice(lambda p: (p > 0).sum(1).log() - torch.special.entr(p).sum(1))

    def state_dict(self) -> dict[str, Any]:
        """The logits and the state of Adam."""
        return {"logits": [table.detach().cpu() for table in self.parameters], "adam": self.adam.state_dict()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly from there."""
        for parameter, table in zip(self.parameters, state["logits"], strict=True):
            parameter.copy_(table)
        self.adam.load_state_dict(state["adam"])


class MixedOperations(Relaxation):
    """As published for the space of DARTS: every node reads every state, by a mixture of all operations and ``none``.

    One table an encoding: row n (n + 3) / 2 + i is the edge from state i to node n; column 0 is ``none``.
    """

    def shapes(self) -> list[tuple[int, int]]:
        """One row an edge, one column an operation."""
        nodes = self.space.nodes
        return [(nodes * (nodes + 3) // 2, 1 + len(self.space.operations))]

    def weights(self, logits: Logits) -> Tensor:
        """The softmax of every row: (edges, 1 + operations)."""
        return logits[0].softmax(1)

    def encoding(self, logits: Logits) -> list[int]:
        """Two edges a node: see :func:`strongest`."""
        return strongest(self.weights(logits), self.space)


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


class MixedInputs(Relaxation):
    """For our own space: each of the two edges of a node mixes the states that it may read, then the operations.

    Two tables an encoding, (2 * nodes, nodes + 1) of inputs, of which node n uses the first n + 2 columns, and
    (2 * nodes, operations).
    """

    def shapes(self) -> list[tuple[int, int]]:
        """Inputs, then operations; one row an edge."""
        nodes = self.space.nodes
        return [(2 * nodes, nodes + 1), (2 * nodes, len(self.space.operations))]

    def weights(self, logits: Logits) -> MixedEdges:
        """The softmax of every row, over the states that exist."""
        inputs, operations = logits
        edge = torch.arange(len(inputs), device=inputs.device)
        unknown = torch.arange(inputs.shape[1], device=inputs.device) > edge[:, None] // 2 + 1
        return MixedEdges(inputs.masked_fill(unknown, -torch.inf).softmax(1), operations.softmax(1))

    def encoding(self, logits: Logits) -> list[int]:
        """The largest input and the largest operation of every edge, on ties the first."""
        pairs = zip(*(table.argmax(1).tolist() for table in self.weights(logits)), strict=True)
        return [value for pair in pairs for value in pair]


RELAXATIONS: dict[str, type[Relaxation]] = {"darts": MixedOperations, "slnas": MixedInputs}  # by space


def relax(num_cells: int, sharing: str, space: str = "slnas", **options: Any) -> Relaxation:
    """The relaxation of a space, for genotypes of ``num_cells`` encodings; ``options`` as it takes them."""
    return RELAXATIONS[space](num_cells, sharing, space, **options)
