"""NAO's network: an encoder, a predictor on its outputs, a decoder to tokens (docs/strategies.md, section 19.1)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from controller.nao.tokens import START, Tokens


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
