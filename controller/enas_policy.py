"""The controller of ENAS, arXiv 1802.03268: a small LSTM makes all choices in turn (docs/strategies.md, section 25)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from controller.policy import CellPolicy
from controller.samplers import Choices, LogitScale, Picks, Source, State, attend, lstm_step

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

    def _choose(self, n: int, inputs: Source, operations: Source) -> tuple[Choices, Choices]:
        picks = Picks(inputs, self.space.nodes + 1), Picks(operations, len(self.space.operations))
        state = self.start.new_zeros(n, HIDDEN), self.start.new_zeros(n, HIDDEN)
        for cell in range(self.num_cells):  # (h, c) is carried on
            state = self._encoding(state, *picks, self.lean if cell == 0 else 0.0)
        return picks[0].made(), picks[1].made()

    def _encoding(self, state: State, connections: Picks, operations: Picks, lean: Tensor | float) -> State:
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
                heard = readable_keys + self.query(state[0])[:, None]  # (n, states, 64)
                chosen = connections.add(attend(heard, self.score, self.logit_scale, taken))
                x, taken = readable[rows, chosen], chosen if self.space.distinct else None
            for _side in range(2):
                state = self._step(x, state)
                logits = self.logit_scale.operations(self.operation(state[0]))  # (n, operations)
                x = self.embedding(operations.add(logits + lean))
            state = self._step(x, state)
            anchors.append(state[0])
            keys.append(self.anchor(state[0]))
        return state

    def _step(self, x: Tensor, state: State) -> State:
        """A step of the LSTM on x, (n, 64)."""
        h, c = state
        return lstm_step(self.lstm(torch.cat((x, h), dim=1)), c)
