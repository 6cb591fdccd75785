"""The controller of ENAS, arXiv 1802.03268: a small LSTM makes all choices in turn (docs/strategies.md, section 25)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from controller.policy import CellPolicy
from controller.samplers import Choices, LogitScale, State, pick

HIDDEN = 64
LOGIT_SCALE = LogitScale(connection_bound=1.1, operation_bound=1.1 / 2.5, temperature=1.0)
START_BIAS = 10.0  # of convolutions, at first; it is learned
LEAN = 0.25  # towards convolutions and away from the rest, in the first encoding; it is not learned
PASSIVE = ("pool", "identity", "skip")  # in the names of operations that convolve nothing


class EnasController(CellPolicy):
    """The policy of ENAS. Weights start uniform in ±0.1, but for the bias of the operations."""

    def __init__(
        self, num_cells: int, sharing: str = "type", space: str = "slnas", logit_scale: LogitScale = LOGIT_SCALE
    ) -> None:
        super().__init__(num_cells, sharing, space)
        self.logit_scale = logit_scale
        operations = self.space.operations
        self.start = nn.Parameter(torch.empty(1, HIDDEN))
        self.embedding = nn.Embedding(len(operations), HIDDEN)
        self.lstm = nn.Linear(2 * HIDDEN, 4 * HIDDEN, bias=False)  # of input and h, joined
        self.anchor = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.query = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.score = nn.Linear(HIDDEN, 1, bias=False)
        self.operation = nn.Linear(HIDDEN, len(operations))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)
        convolves = torch.tensor([not any(word in name for word in PASSIVE) for name in operations])
        with torch.no_grad():
            self.operation.bias.copy_(START_BIAS * convolves)
        self.register_buffer("lean", torch.where(convolves, LEAN, -LEAN), persistent=False)

    def _walk(self, n: int, given: Tensor | None, uniform: Tensor | None) -> list[Choices]:
        """Run the LSTM over all encodings, (h, c) carried on."""
        state = self.start.new_zeros(n, HIDDEN), self.start.new_zeros(n, HIDDEN)
        made: list[Choices] = []
        for cell in range(self.num_cells):
            connections, operations = (_Picks(*part) for part in self._parts(cell, given, uniform))
            state = self._encoding(state, connections, operations, self.lean if cell == 0 else 0.0)
            made += [connections.made(self.space.nodes + 1), operations.made(len(self.space.operations))]
        return made

    def _encoding(self, state: State, connections: _Picks, operations: _Picks, lean: Tensor | float) -> State:
        """Make the choices of one encoding for n rows. ``state``: (h, c), (n, 64) each; the new one is returned."""
        n = len(state[0])
        start, rows = self.start.expand(n, -1), torch.arange(n, device=self.start.device)
        anchors, keys = [torch.zeros_like(start)] * 2, []  # (n, 64) for each state that can be read
        for _input in range(2):
            state = self._step(start, state)
            keys.append(self.anchor(state[0]))
        for _node in range(self.space.nodes):
            x, taken = start, None
            readable, readable_keys = torch.stack(anchors, dim=1), torch.stack(keys, dim=1)  # (n, states, 64) each
            for _side in range(2):
                state = self._step(x, state)
                chosen = connections.add(self._attend(readable_keys, state[0], taken))
                x, taken = readable[rows, chosen], chosen if self.space.distinct else None
            for _side in range(2):
                state = self._step(x, state)
                x = self.embedding(operations.add(self._rate(state[0]) + lean))
            state = self._step(x, state)
            anchors.append(state[0])
            keys.append(self.anchor(state[0]))
        return state

    def _step(self, x: Tensor, state: State) -> State:
        """A step of the LSTM on x, (n, 64)."""
        h, c = state
        gates = self.lstm(torch.cat((x, h), dim=1))  # (n, 256), in torch's order
        write, keep, new, show = gates.chunk(4, dim=1)
        c = keep.sigmoid() * c + write.sigmoid() * new.tanh()
        return show.sigmoid() * c.tanh(), c

    def _attend(self, keys: Tensor, h: Tensor, taken: Tensor | None) -> Tensor:
        """Bounded logits of the states with these keys, (n, states, 64) and (n, 64) -> (n, states)."""
        logits = self.score((keys + self.query(h)[:, None]).tanh()).squeeze(2)
        logits = self.logit_scale.connections(logits)
        return logits if taken is None else logits.scatter(1, taken[:, None], -math.inf)

    def _rate(self, h: Tensor) -> Tensor:
        """Bounded logits of the operations: (n, 64) -> (n, operations)."""
        return self.logit_scale.operations(self.operation(h))


class _Picks:
    """Choices of one kind in one encoding, in turn; ``given`` and ``uniform``, (n, choices), as for a walk."""

    def __init__(self, given: Tensor | None, uniform: Tensor | None) -> None:
        self.given, self.uniform = given, uniform
        self.indices: list[Tensor] = []
        self.log_probs: list[Tensor] = []

    def add(self, logits: Tensor) -> Tensor:
        """The next choice, by logits (n, options): its indices, (n,)."""
        log_probs, i = logits.log_softmax(dim=1), len(self.indices)
        if self.given is not None:
            index = self.given[:, i]
        else:
            index = pick(log_probs, None if self.uniform is None else self.uniform[:, i])
        self.indices.append(index)
        self.log_probs.append(log_probs)
        return index

    def made(self, options: int) -> Choices:
        """All of them, none of which has more ``options``."""
        padded = [F.pad(lp, (0, options - lp.shape[1]), value=-math.inf) for lp in self.log_probs]
        return Choices(torch.stack(self.indices, dim=1), torch.stack(padded, dim=1))
