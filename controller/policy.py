"""The two recurrent samplers of the controller (docs/method.md, section 3; ENAS, Pham et al., arXiv 1802.03268)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ops.genotype import Genotype
from ops.space import SPACES, Space

HIDDEN = 256


class Squash(NamedTuple):
    """Logits x are bounded to bound * tanh(x / temperature), with a bound for connections and one for operations."""

    connection_bound: float = 1.1
    operation_bound: float = 1.1 / 2.5
    temperature: float = 5.0


PUBLISHED = Squash()


class Sample(NamedTuple):
    """Genotypes with their log-probability, (n,), differentiable, and entropy, (n,), detached; in nats."""

    genotypes: tuple[Genotype, ...]
    log_prob: Tensor
    entropy: Tensor


class Judged(NamedTuple):
    """What the policy thinks of n genotypes: log-probability and entropy, (n,), differentiable; in nats.

    ``favoured`` (n,), detached: the largest probability of a choice, averaged over all choices.
    """

    log_prob: Tensor
    entropy: Tensor
    favoured: Tensor


class Choices(NamedTuple):
    """What a sampler chose for n rows, two choices a node.

    ``indices`` (n, 2 * nodes); ``log_probs``: for each choice the log-probabilities of its options, (n, options).
    """

    indices: Tensor
    log_probs: list[Tensor]

    def taken(self) -> Tensor:
        """The log-probability of what was chosen, summed over all: (n,)."""
        chosen = [lp.gather(1, self.indices[:, i : i + 1]) for i, lp in enumerate(self.log_probs)]
        return torch.cat(chosen, dim=1).sum(dim=1)  # (n, 2 * nodes) -> (n,)

    def entropy(self) -> Tensor:
        """The entropy, summed over the distributions: (n,)."""
        return -sum((lp.exp() * lp).sum(dim=1) for lp in self.log_probs)

    def favoured(self) -> Tensor:
        """The largest probability of each choice, (n, choices), detached."""
        return torch.stack([lp.detach().amax(dim=1).exp() for lp in self.log_probs], dim=1)


def _draw(log_probs: Tensor, uniform: Tensor | None) -> Tensor:
    """Inverse transform sampling: (n, options) and (n,) in [0, 1) -> indices (n,). None: the likeliest."""
    if uniform is None:
        return log_probs.argmax(dim=1)
    cumulative = log_probs.detach().exp().cumsum(dim=1)
    return (cumulative[:, :-1] <= uniform[:, None] * cumulative[:, -1:]).sum(dim=1)


class ConnectionSampler(nn.Module):
    """Choose two inputs for each node, by attention over the states that exist so far."""

    def __init__(self, space: Space, squash: Squash) -> None:
        super().__init__()
        self.nodes, self.squash = space.nodes, squash
        # Row 0 is the start token; the published table has a row per node.
        self.embedding = nn.Embedding(space.nodes, HIDDEN)
        self.lstm = nn.LSTMCell(HIDDEN, HIDDEN)
        self.anchor = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.query = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.score = nn.Linear(HIDDEN, 1, bias=False)

    def forward(
        self, state: tuple[Tensor, Tensor], given: Tensor | None, uniform: Tensor | None
    ) -> tuple[Choices, tuple[Tensor, Tensor]]:
        """Choose the connections of one encoding for n rows.

        ``state``: (h, c) of the encoding before, (n, 256) each; the new one is returned too. ``given``
        (n, 2 * nodes): what was chosen; without it ``uniform`` (n, 2 * nodes) decides, and without both the likeliest
        is taken.
        """
        n, (bound, _, temperature) = state[0].shape[0], self.squash
        start = self.embedding.weight[0].expand(n, HIDDEN)  # (n, 256)
        carried = self.lstm(start, state)  # (n, 256) twice; both start steps begin at the carried state: one result
        values = [torch.zeros_like(start), torch.zeros_like(start)]  # of the inputs 0 and 1, (n, 256) each
        keys = [self.anchor(carried[0])] * 2
        state, token = carried, start
        indices, log_probs = [], []
        for _node in range(self.nodes):
            stacked_keys, stacked_values = torch.stack(keys, dim=1), torch.stack(values, dim=1)  # (n, anchors, 256)
            for _side in range(2):
                state = self.lstm(token, state)
                logits = self.score((stacked_keys + self.query(state[0])[:, None]).tanh()).squeeze(2)  # (n, anchors)
                log_prob = (bound * (logits / temperature).tanh()).log_softmax(dim=1)  # (n, anchors)
                i = len(indices)
                if given is not None:
                    index = given[:, i]  # (n,)
                else:
                    index = _draw(log_prob, None if uniform is None else uniform[:, i])
                indices.append(index)
                log_probs.append(log_prob)
                token = stacked_values[torch.arange(n, device=index.device), index]  # (n, 256)
            state = self.lstm(token, state)  # the node itself becomes an anchor
            values.append(state[0])
            keys.append(self.anchor(state[0]))
            token = start
        return Choices(torch.stack(indices, dim=1), log_probs), state


class OperationSampler(nn.Module):
    """Choose an operation for every connection, by a bidirectional LSTM over the connections."""

    def __init__(self, space: Space, squash: Squash) -> None:
        super().__init__()
        self.squash = squash
        self.embedding = nn.Embedding(space.nodes + 1, HIDDEN)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, bidirectional=True, batch_first=True)
        self.classifier = nn.Linear(2 * HIDDEN, len(space.operations))

    def forward(
        self,
        connections: Tensor,
        state: tuple[Tensor, Tensor],
        given: Tensor | None,
        uniform: Tensor | None,
    ) -> tuple[Choices, tuple[Tensor, Tensor]]:
        """Choose the operations of one encoding for n rows.

        ``connections`` (n, 2 * nodes); ``state``: (h, c) of the encoding before, (2, n, 256) each, of which the new
        one is returned too; ``given`` and ``uniform`` as for the connections.
        """
        hidden, state = self.lstm(self.embedding(connections), state)  # (n, 2 * nodes, 512)
        _, bound, temperature = self.squash
        logits = bound * (self.classifier(hidden) / temperature).tanh()  # (n, 2 * nodes, operations)
        log_probs = logits.log_softmax(dim=2)
        columns = list(log_probs.unbind(dim=1))  # (n, operations) each
        if given is None:
            flat = _draw(log_probs.flatten(0, 1), None if uniform is None else uniform.flatten())
            given = flat.view_as(connections)  # (n, 2 * nodes)
        return Choices(given, columns), state


class Controller(nn.Module):
    """A policy over genotypes of ``num_cells`` encodings. Weights start uniform in ±0.1, as in ENAS."""

    def __init__(self, num_cells: int, sharing: str = "type", space: str = "slnas", squash: Squash = PUBLISHED) -> None:
        super().__init__()
        self.num_cells, self.sharing, self.space = num_cells, sharing, SPACES[space]
        self.choices = 2 * self.space.nodes  # connections of an encoding, and as many operations
        self.connection = ConnectionSampler(self.space, squash)
        self.operation = OperationSampler(self.space, squash)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)

    def sample(self, n: int = 1, generator: torch.Generator | None = None) -> Sample:
        """Draw ``n`` genotypes in one pass, from ``generator`` (a CPU generator) alone."""
        genotypes, judged = self.draw(n, generator)
        return Sample(genotypes, judged.log_prob, judged.entropy.detach())

    def draw(self, n: int = 1, generator: torch.Generator | None = None) -> tuple[tuple[Genotype, ...], Judged]:
        """What ``sample`` draws, with all that can be learned from it."""
        # One number a choice, (n, cells, connections and operations): the only randomness there is.
        uniform = torch.rand(n, self.num_cells, 2 * self.choices, generator=generator, dtype=torch.float64)
        weight = self.connection.score.weight
        cells = self._walk(n, None, uniform.to(weight.device, weight.dtype))
        return self._genotypes(cells), _judged(cells)

    def judge(self, genotypes: Sequence[Genotype]) -> Judged:
        """What the policy thinks of these genotypes now."""
        return _judged(self._walk(len(genotypes), self._given(genotypes), None))

    def log_prob(self, genotypes: Sequence[Genotype]) -> Tensor:
        """The log-probability of each genotype, (n,), differentiable: the number that sample() gave."""
        return _total(self._walk(len(genotypes), self._given(genotypes), None))

    def kl_from_uniform(self, entropy: float) -> float:
        """How far draws of this entropy are from uniform ones, in nats: the mean over all choices, at least 0."""
        options = [self.space.options(position) for position in range(self.space.length)]
        most = self.num_cells * sum(map(math.log, options))
        return max(0.0, most - entropy) / (self.num_cells * len(options))

    @torch.no_grad()
    def argmax(self) -> Genotype:
        """The genotype of the likeliest choice at every step, given the choices before it."""
        return self._genotypes(self._walk(1, None, None))[0]

    @torch.no_grad()
    def probabilities(self, genotype: Genotype) -> list[tuple[list[Tensor], list[Tensor]]]:
        """For each encoding the connection and operation distributions, given the choices before."""
        cells = self._walk(1, self._given([genotype]), None)
        return [tuple([lp[0].exp() for lp in c.log_probs] for c in pair) for pair in cells]

    def _given(self, genotypes: Sequence[Genotype]) -> Tensor:
        given = torch.tensor([g.cells for g in genotypes], device=self.connection.score.weight.device)
        if given.shape[1] != self.num_cells:
            raise ValueError(f"{given.shape[1]} encodings given, but the controller samples {self.num_cells}")
        return torch.cat((given[..., 0::2], given[..., 1::2]), dim=2)  # (n, cells, connections and operations)

    def _walk(self, n: int, given: Tensor | None, uniform: Tensor | None) -> list[tuple[Choices, Choices]]:
        """Run both samplers over all encodings, (h, c) carried on.

        ``given`` and ``uniform`` are (n, cells, 4 * nodes); the last axis holds connections, then operations.
        """
        zeros = self.connection.score.weight.new_zeros
        connection_state = (zeros(n, HIDDEN), zeros(n, HIDDEN))
        operation_state = (zeros(2, n, HIDDEN), zeros(2, n, HIDDEN))
        cells = []
        for cell in range(self.num_cells):
            parts = [
                [None if x is None else x[:, cell, part] for x in (given, uniform)]
                for part in (slice(0, self.choices), slice(self.choices, None))
            ]
            connections, connection_state = self.connection(connection_state, *parts[0])
            operations, operation_state = self.operation(connections.indices, operation_state, *parts[1])
            cells.append((connections, operations))
        return cells

    def _genotypes(self, cells: list[tuple[Choices, Choices]]) -> tuple[Genotype, ...]:
        # (n, cells, 4 * nodes), connection and operation in turns
        encodings = torch.stack([torch.stack((c.indices, o.indices), dim=2).flatten(1) for c, o in cells], dim=1)
        return tuple(Genotype.from_lists(lists, self.sharing, self.space.name) for lists in encodings.tolist())


def _judged(cells: list[tuple[Choices, Choices]]) -> Judged:
    entropy = sum(choices.entropy() for pair in cells for choices in pair)
    favoured = torch.cat([choices.favoured() for pair in cells for choices in pair], dim=1)  # (n, all choices)
    return Judged(_total(cells), entropy, favoured.mean(dim=1))


def _total(cells: list[tuple[Choices, Choices]]) -> Tensor:
    """The log-probability of all choices taken: (n,)."""
    return torch.stack([choices.taken() for pair in cells for choices in pair]).sum(dim=0)
