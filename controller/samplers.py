"""The two recurrent samplers of one encoding (docs/method.md, section 3; ENAS, Pham et al., arXiv 1802.03268)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ops.space import CellSpace

HIDDEN = 256
State = tuple[Tensor, Tensor]  # h and c of an LSTM


class LogitScale(NamedTuple):
    """Logits x are bounded to bound * tanh(x / temperature), with a bound for connections and one for operations."""

    connection_bound: float = 1.1
    operation_bound: float = 1.1 / 2.5
    temperature: float = 5.0

    def connections(self, logits: Tensor) -> Tensor:
        """Bounded logits of connections."""
        return self.connection_bound * (logits / self.temperature).tanh()

    def operations(self, logits: Tensor) -> Tensor:
        """Bounded logits of operations."""
        return self.operation_bound * (logits / self.temperature).tanh()


PUBLISHED = LogitScale()


class Choices(NamedTuple):
    """What a sampler chose for n rows, two choices a node.

    ``indices`` (n, 2 * nodes); ``log_probs`` (n, 2 * nodes, options), -inf where a choice has fewer options.
    """

    indices: Tensor
    log_probs: Tensor

    def taken(self) -> Tensor:
        """The log-probability of what was chosen, summed over all: (n,)."""
        return self.log_probs.gather(2, self.indices[:, :, None]).sum(dim=(1, 2))

    def entropy(self) -> Tensor:
        """The entropy, summed over the distributions: (n,)."""
        finite = self.log_probs.masked_fill(self.log_probs.isneginf(), 0)  # 0 * -inf is not a number
        return -(self.log_probs.exp() * finite).sum(dim=(1, 2))

    def favoured(self) -> Tensor:
        """The largest probability of each choice, (n, choices), detached."""
        return self.log_probs.detach().amax(dim=2).exp()


class Source(NamedTuple):
    """What decides on the choices of n rows, (n, choices) each.

    ``given``: they were made before. Without it ``uniform``, numbers in [0, 1), decides, and without both the likeliest
    is taken.
    """

    given: Tensor | None
    uniform: Tensor | None

    def pick(self, logits: Tensor, place: int | slice = slice(None)) -> Tensor:
        """Choose by inverse transform sampling: (n, ..., options) -> indices (n, ...). ``place``: of the choices."""
        if self.given is not None:
            return self.given[:, place]
        if self.uniform is None:
            return logits.argmax(dim=-1)
        cumulative = logits.detach().softmax(dim=-1).cumsum(dim=-1)
        return (cumulative[..., :-1] <= self.uniform[:, place, None] * cumulative[..., -1:]).sum(dim=-1)


class Picks:
    """Choices of one kind in turn, none of which has more than so many ``options``."""

    def __init__(self, source: Source, options: int) -> None:
        self.source, self.options = source, options
        self.indices: list[Tensor] = []
        self.logits: list[Tensor] = []

    def add(self, logits: Tensor) -> Tensor:
        """The next choice, by logits (n, options): its indices, (n,)."""
        self.indices.append(self.source.pick(logits, len(self.indices)))
        self.logits.append(logits)
        return self.indices[-1]

    def made(self) -> Choices:
        """All of them."""
        padded = [F.pad(row, (0, self.options - row.shape[1]), value=-math.inf) for row in self.logits]
        return Choices(torch.stack(self.indices, dim=1), torch.stack(padded, dim=1).log_softmax(dim=2))


class LateGradient(torch.autograd.Function):
    """Zeros that stand in a graph for a weight whose products follow each other (see Product)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, inputs: list[Tensor], steps: int, n: int) -> Tensor:
        """(out, in) -> (steps, n, out). ``inputs``: a list that is filled later, with (n, in) for each step."""
        ctx.inputs = inputs
        return weight.new_zeros(steps, n, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Of the outputs (steps, n, out) -> of the weight (out, in), and of nothing else."""
        return gradient.flatten(0, 1).T @ torch.cat(ctx.inputs), None, None, None


class Product:
    """Multiply by a weight in ``steps`` steps of n rows, and add a bias that broadcasts to (steps, n, out).

    The gradient of the weight is one product over all of them: a sum of as many gradients, each as large as the weight,
    would take half of the backward pass (benchmarks/README.md).
    """

    def __init__(self, weight: Tensor, bias: Tensor | float, steps: int, n: int) -> None:
        self.inputs: list[Tensor] = []
        self.biases = iter((LateGradient.apply(weight, self.inputs, steps, n) + bias).unbind())
        self.weight = weight.detach().T

    def __call__(self, x: Tensor) -> Tensor:
        """(n, in) -> (n, out)."""
        self.inputs.append(x.detach())
        return torch.addmm(next(self.biases), x, self.weight)


def lstm_step(gates: Tensor, c: Tensor) -> State:
    """The new (h, c), by the sum of all inputs, (..., 4 * hidden) in torch's order, and c, (..., hidden)."""
    write, keep, new, show = gates.chunk(4, dim=-1)
    c = torch.addcmul(keep.sigmoid() * c, write.sigmoid(), new.tanh())
    return show.sigmoid() * c.tanh(), c


def attend(heard: Tensor, score: nn.Linear, logit_scale: LogitScale, taken: Tensor | None) -> Tensor:
    """Bounded logits of states by the sum of their keys and a query, (n, states, hidden) -> (n, states).

    ``taken`` (n,): the state that is not to be chosen again.
    """
    logits = logit_scale.connections(score(heard.tanh()).squeeze(2))
    return logits if taken is None else logits.scatter(1, taken[:, None], -math.inf)


class ConnectionSampler(nn.Module):
    """Choose two inputs for each node, by attention over the states that exist so far."""

    def __init__(self, space: CellSpace, logit_scale: LogitScale) -> None:
        super().__init__()
        self.nodes, self.distinct, self.logit_scale = space.nodes, space.distinct, logit_scale
        # Row 0 is the start token; the published table has a row per node.
        self.embedding = nn.Embedding(space.nodes, HIDDEN)
        self.lstm = nn.LSTMCell(HIDDEN, HIDDEN)
        self.anchor = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.query = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.score = nn.Linear(HIDDEN, 1, bias=False)

    def forward(self, n: int, cells: int, source: Source) -> Choices:
        """Choose the connections of so many encodings for n rows, (n, cells * 2 * nodes)."""
        lstm, nodes, picks = self.lstm, self.nodes, Picks(source, self.nodes + 1)
        carry = Product(lstm.weight_hh, lstm.bias_ih + lstm.bias_hh, cells * (3 * nodes + 1), n)
        read = Product(lstm.weight_ih, 0.0, cells * (nodes - 1), n)
        anchor = Product(self.anchor.weight, 0.0, cells * nodes, n)
        query = Product(self.query.weight, 0.0, cells * 2 * nodes, n)
        # What the LSTM reads, multiplied by its weight: the start token (1, 1024), and zeros for the inputs 0 and 1.
        start = F.linear(self.embedding.weight[:1], lstm.weight_ih)
        nothing, rows = start.new_zeros(n, start.shape[1]), torch.arange(n, device=start.device)
        h = c = start.new_zeros(n, HIDDEN)
        for _cell in range(cells):  # (h, c), (n, 256) each, are carried on
            # Both start steps begin at the carried state: one result.
            h, c = lstm_step(start + carry(h), c)
            tokens, keys = [nothing] * 2, [anchor(h)] * 2  # (n, 1024) and (n, 256) for each state that can be read
            for node in range(nodes):
                if node:  # the node before can be read; the last one can be nobody's input
                    tokens.append(read(h))
                    keys.append(anchor(h))
                h, c = lstm_step(start + carry(h), c)
                readable, readable_keys, index = torch.stack(tokens, dim=1), torch.stack(keys, dim=1), None
                for _side in range(2):
                    heard = readable_keys + query(h)[:, None]  # (n, states, 256)
                    taken = index if self.distinct else None
                    index = picks.add(attend(heard, self.score, self.logit_scale, taken))
                    h, c = lstm_step(readable[rows, index] + carry(h), c)  # that of the second side is the node itself
        return picks.made()


class OperationSampler(nn.Module):
    """Choose an operation for every connection, by a bidirectional LSTM over the connections."""

    def __init__(self, space: CellSpace, logit_scale: LogitScale) -> None:
        super().__init__()
        self.logit_scale = logit_scale
        self.embedding = nn.Embedding(space.nodes + 1, HIDDEN)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, bidirectional=True, batch_first=True)
        self.classifier = nn.Linear(2 * HIDDEN, len(space.operations))

    def forward(self, connections: Tensor, cells: int, source: Source) -> Choices:
        """Choose the operations of so many encodings for their connections, (n, cells * 2 * nodes)."""
        n, steps = connections.shape
        # The LSTM reads the embedding of each state that was chosen, those of an encoding from both sides.
        sides = self._side(connections, ""), self._side(flipped(connections, cells), "_reverse")
        h = c = self.classifier.weight.new_zeros(2, n, HIDDEN)
        outputs = []
        for _step in range(steps):
            gates = torch.stack([side(x) for side, x in zip(sides, h, strict=True)])
            h, c = lstm_step(gates, c)  # (2, n, 256) each
            outputs.append(h)
        there, back = torch.stack(outputs, dim=2)  # (n, steps, 256) each
        logits = self.classifier(torch.cat((there, flipped(back, cells)), dim=2))  # (n, steps, operations)
        log_probs = self.logit_scale.operations(logits).log_softmax(dim=2)
        return Choices(source.pick(log_probs), log_probs)

    def _side(self, connections: Tensor, direction: str) -> Product:
        """The product with h in one direction, for all steps of (n, steps), with what the LSTM reads there as bias."""
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        weight_ih, weight_hh, *biases = (getattr(self.lstm, name + direction) for name in names)
        table = F.linear(self.embedding.weight, weight_ih, sum(biases))  # (states, 1024)
        return Product(weight_hh, F.embedding(connections.T, table), *connections.T.shape)


def flipped(x: Tensor, cells: int) -> Tensor:
    """Of (n, cells * steps, ...) the steps of each cell in reverse order."""
    return x.unflatten(1, (cells, -1)).flip(2).flatten(1, 2)
