"""A policy over any row of positions, in the manner of ENAS: a small LSTM makes the choices in turn."""

from __future__ import annotations

import math
from itertools import accumulate

from torch import Tensor, nn

from controller.policy import Policy
from controller.positions import Positions
from controller.samplers import Choices, LogitScale, Picks, Source, State

HIDDEN = 64
LOGIT_SCALE = LogitScale(connection_bound=1.1, operation_bound=1.1 / 2.5, temperature=1.0)


class PositionPolicy(Policy):
    """One step of the LSTM for each position, which reads what was chosen before. Weights start uniform in ±0.1.

    Logits are bounded as those of operations.
    """

    def __init__(self, positions: Positions, logit_scale: LogitScale = LOGIT_SCALE) -> None:
        super().__init__(positions, range(len(positions.options)))
        self.logit_scale = logit_scale
        self.first = [1 + before for before in accumulate(positions.options, initial=0)]  # row of a position's option 0
        self.embedding = nn.Embedding(self.first[-1], HIDDEN)  # row 0 is the start
        self.lstm = nn.LSTMCell(HIDDEN, HIDDEN)
        self.choose = nn.ModuleList(nn.Linear(HIDDEN, options) for options in positions.options)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)

    def _walk(self, n: int, given: Tensor | None, uniform: Tensor | None) -> list[Choices]:
        """Choose an option at each position in turn."""
        picks = Picks(Source(given, uniform), max(self.positions.options))
        x = self.embedding.weight[:1].expand(n, -1)  # (n, 64)
        state: State | None = None
        for position, choose in enumerate(self.choose):
            state = self.lstm(x, state)  # (h, c), (n, 64) each
            logits = self.logit_scale.operations(choose(state[0]))  # (n, options)
            if position in self.positions.differs:
                taken = picks.indices[self.positions.differs[position]]  # (n,)
                logits = logits.scatter(1, taken[:, None], -math.inf)
            x = self.embedding(self.first[position] + picks.add(logits))
        return [picks.made()]
