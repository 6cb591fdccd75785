"""Fit NAO's network to scored genotypes, and say how good it is (docs/strategies.md, section 19.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from controller.nao.network import EncoderPredictorDecoder, Tokens


@dataclass(frozen=True)
class Settings:
    """The sizes of NAO's search; the defaults are published.

    ``pool``: genotypes in it; ``replaced``: how many a round gives up; ``best``: how many latent steps start from;
    ``longest``: size of the last latent step; ``epochs`` and what follows are of fitting the network.
    """

    pool: int = 600
    replaced: int = 300
    best: int = 100
    longest: int = 50
    epochs: int = 1000
    batch: int = 100
    lr: float = 1e-3
    weight_decay: float = 1e-4
    clip: float = 5.0
    trade_off: float = 0.8


PUBLISHED = Settings()


def scaled(scores: Sequence[float]) -> Tensor:
    """Scores as shares of the way from the lowest to the highest, (n,); 1/2 where all are equal."""
    # The predictor ends in a sigmoid: only the order within this pool matters.
    values = torch.tensor(scores, dtype=torch.float64)
    low, high = values.min(), values.max()
    return ((values - low) / (high - low) if high > low else torch.full_like(values, 0.5)).float()


def joint_loss(predicted: Tensor, log_probs: Tensor, tokens: Tensor, values: Tensor, trade_off: float) -> Tensor:
    """``trade_off`` times the squared error of values (N,), and the rest times the mean NLL of tokens (N, L)."""
    nll = functional.nll_loss(log_probs.flatten(0, 1), tokens.flatten())
    return trade_off * functional.mse_loss(predicted, values) + (1 - trade_off) * nll


def fit(
    network: EncoderPredictorDecoder,
    tokens: Tensor,
    values: Tensor,
    settings: Settings,
    augment: Callable[[Tensor], Tensor] | None,
) -> float:
    """Train the network on tokens (n, L) with values (n,), with a fresh Adam; the mean loss of the last epoch.

    ``augment`` writes the tokens in other words, anew in each epoch. Random numbers are torch's global ones.
    """
    optimizer = torch.optim.Adam(network.parameters(), settings.lr, weight_decay=settings.weight_decay)
    network.train()
    total = 0.0
    # The network goes on from the last round; only Adam starts afresh.
    for epoch in range(settings.epochs):
        written = tokens if augment is None else augment(tokens)
        for rows in torch.randperm(len(tokens)).split(settings.batch):
            loss = joint_loss(*network(written[rows]), written[rows], values[rows], settings.trade_off)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
            optimizer.step()
            if epoch == settings.epochs - 1:
                total += loss.item() * len(rows)
    network.eval()
    return total / len(tokens)


def pairwise_accuracy(predicted: Sequence[float], scores: Sequence[float]) -> float | None:
    """The share of pairs with different scores that are predicted in the right order; a tie counts half.

    None where there is no such pair.
    """
    right = pairs = 0.0
    for (p, score), (q, other) in combinations(zip(predicted, scores, strict=True), 2):
        if score != other:
            pairs += 1
            right += 0.5 if p == q else (p < q) == (score < other)
    return right / pairs if pairs else None


@torch.no_grad()
def predictions(network: EncoderPredictorDecoder, tokens: Tensor) -> list[float]:
    """The value that the network predicts for each row of tokens (n, L)."""
    return network.encoder.value(network.encoder(tokens)).tolist()


@torch.no_grad()
def reconstruction_error(network: EncoderPredictorDecoder, tokens: Tensor, alphabet: Tokens) -> float:
    """The share of tokens (n, L) that greedy decoding of their own encoding gets wrong."""
    return (network.decoder.greedy(network.encoder(tokens), alphabet)[0] != tokens).double().mean().item()
