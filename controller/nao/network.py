"""NAO's network on candidates as tokens: an encoder, a predictor on its outputs, and a decoder.

docs/strategies.md, section 19.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from controller.positions import Positions

START = 0  # what decoding starts from; no option becomes it


class Tokens:
    """The alphabet of candidates, and which tokens may stand where.

    Positions of one kind share their tokens: of cells input i is token i + 1, operation k is token k + nodes + 2.
    ``length``: tokens of a candidate; ``at_once``: how many the encoder reads in one step.
    """

    def __init__(self, positions: Positions) -> None:
        self.positions, self.length = positions, len(positions.options)
        self.at_once = len(set(positions.kinds))  # an input with its operation, where there are both
        most = [0] * (1 + max(positions.kinds))  # options of each kind
        for kind, options in zip(positions.kinds, positions.options, strict=True):
            most[kind] = max(most[kind], options)
        self.vocabulary = 1 + sum(most)
        self._shift = torch.tensor([1 + sum(most[:kind]) for kind in positions.kinds])  # (length,)
        token = torch.arange(self.vocabulary)
        first, last = self._shift[:, None], (self._shift + positions.sizes)[:, None]
        self.legal = (token >= first) & (token < last)  # (length, vocabulary)

    def encode(self, candidates: Sequence[Any]) -> Tensor:
        """Candidates -> tokens (n, length)."""
        return self.positions.rows(candidates) + self._shift

    def decode(self, tokens: Tensor) -> list[Any]:
        """Tokens (n, length) -> candidates. Raises GenotypeError for tokens that are not legal where they stand."""
        return [self.positions.build(row) for row in (tokens - self._shift).tolist()]

    def allowed(self, position: int, chosen: Sequence[Tensor]) -> Tensor:
        """Which tokens may follow those ``chosen`` so far, each (n,): (n, vocabulary), or (1, vocabulary)."""
        legal = self.legal[position][None]  # (1, vocabulary)
        if position in self.positions.differs:
            other = chosen[self.positions.differs[position]]
            return legal & (torch.arange(self.vocabulary) != other[:, None])  # (n, vocabulary)
        return legal

    def swapped(self, tokens: Tensor) -> Tensor:
        """The same networks in other words: one random node of each cell has its two edges swapped, (n, length)."""
        nodes = tokens.reshape(-1, self.positions.space.nodes, 4).clone()  # (n * cells, nodes, 4)
        cell = torch.arange(len(nodes))
        node = torch.randint(nodes.shape[1], (len(nodes),))
        nodes[cell, node] = nodes[cell, node].roll(2, dims=1)
        return nodes.view_as(tokens)


def summary(outputs: Tensor) -> Tensor:
    """The embedding of a genotype: the mean of its encoder's outputs (N, K, H), of length 1: (N, H)."""
    return functional.normalize(outputs.mean(dim=1), dim=1)


class Encoder(nn.Module):
    """Read tokens, ``at_once`` in a step, and predict the value of what it read."""

    def __init__(
        self, vocabulary: int, at_once: int, hidden: int, mlp_layers: int, mlp_hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.at_once = at_once
        self.embedding = nn.Embedding(vocabulary, hidden // at_once)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        widths = [hidden, *[mlp_hidden] * mlp_layers]
        self.mlp = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.regressor = nn.Linear(widths[-1], 1)
        self.dropout = dropout

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (N, L) -> one output of length 1 for each step, (N, L / at_once, H)."""
        steps = self.embedding(tokens).unflatten(1, (-1, self.at_once)).flatten(2)  # (N, L / at_once, H)
        return functional.normalize(self.lstm(steps)[0], dim=2)

    def value(self, outputs: Tensor) -> Tensor:
        """Predict from the encoder's outputs (N, K, H) a score between 0 and 1: (N,)."""
        x = summary(outputs)
        for layer in self.mlp:
            x = functional.dropout(layer(x).relu(), self.dropout, self.training)  # (N, mlp_hidden)
        return self.regressor(x).sigmoid().squeeze(1)


class Attention(nn.Module):
    """Look from the decoder's outputs at those of the encoder."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.output = nn.Linear(2 * hidden, hidden, bias=False)

    def forward(self, decoded: Tensor, outputs: Tensor) -> Tensor:
        """Decoder's outputs (N, T, H) and encoder's outputs (N, K, H) -> (N, T, H)."""
        weights = (self.query(decoded) @ outputs.transpose(1, 2)).softmax(dim=2)  # (N, T, K)
        return self.output(torch.cat((weights @ outputs, decoded), dim=2)).tanh()


class Decoder(nn.Module):
    """Write tokens, starting from the embedding of a genotype. What attention finds is not fed back."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.attention = Attention(hidden)
        self.classifier = nn.Linear(hidden, vocabulary)

    def forward(self, tokens: Tensor, outputs: Tensor) -> Tensor:
        """Tokens to write (N, L), encoder's outputs (N, K, H) -> log-probabilities given those before, (N, L, V)."""
        before = functional.pad(tokens[:, :-1], (1, 0), value=START)  # (N, L)
        return self._steps(before, outputs, self._begin(outputs))[0]

    @torch.no_grad()
    def greedy(self, outputs: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Write the best legal token at every step: tokens (N, L), and unrestricted log-probabilities (N, L, V)."""
        state, chosen, written = self._begin(outputs), [], []
        last = torch.full((len(outputs),), START)
        for position in range(tokens.length):
            log_probs, state = self._steps(last[:, None], outputs, state)  # (N, 1, V)
            written.append(log_probs)
            last = log_probs[:, 0].masked_fill(~tokens.allowed(position, chosen), -math.inf).argmax(dim=1)  # (N,)
            chosen.append(last)
        return torch.stack(chosen, dim=1), torch.cat(written, dim=1)

    @staticmethod
    def _begin(outputs: Tensor) -> tuple[Tensor, Tensor]:
        start = summary(outputs)[None]  # (1, N, H)
        return start, start

    def _steps(
        self, before: Tensor, outputs: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        decoded, state = self.lstm(self.embedding(before), state)  # (N, T, H)
        return self.classifier(self.attention(decoded, outputs)).log_softmax(dim=2), state


class EncoderPredictorDecoder(nn.Module):
    """All three. The defaults are those of the published search, which reads an input with its operation at once."""

    def __init__(
        self,
        vocabulary: int,
        *,
        at_once: int = 2,
        hidden: int = 96,
        mlp_layers: int = 3,
        mlp_hidden: int = 200,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(vocabulary, at_once, hidden, mlp_layers, mlp_hidden, dropout)
        self.decoder = Decoder(vocabulary, hidden)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (N, L) -> predicted values (N,), and log-probabilities of writing the same tokens, (N, L, V)."""
        outputs = self.encoder(tokens)
        return self.encoder.value(outputs), self.decoder(tokens, outputs)

    def direction(self, outputs: Tensor) -> Tensor:
        """Where the predicted value of each genotype rises: its gradient by the encoder's outputs, (N, K, H)."""
        free = outputs.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(self.encoder.value(free).sum(), free)[0]


def moved(outputs: Tensor, direction: Tensor, size: float) -> Tensor:
    """Outputs (N, K, H) after a latent step of this size, each of length 1 again; a negative size goes down."""
    return functional.normalize(outputs + size * direction, dim=2)
