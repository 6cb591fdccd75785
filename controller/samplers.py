"""The two recurrent samplers of one encoding (docs/method.md, section 3; ENAS, Pham et al., arXiv 1802.03268)."""

from __future__ import annotations

import math
from typing import NamedTuple

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


def pick(log_probs: Tensor, uniform: Tensor | None) -> Tensor:
    """Inverse transform sampling: (n, options) and (n,) in [0, 1] -> indices (n,). None: the likeliest."""
    if uniform is None:
        return log_probs.argmax(dim=1)
    cumulative = log_probs.detach().exp().cumsum(dim=1)
    below = uniform.clamp(max=1 - torch.finfo(uniform.dtype).eps)  # rounded up to 1 it would reach an impossible option
    return (cumulative[:, :-1] <= below[:, None] * cumulative[:, -1:]).sum(dim=1)


def taken_before(connections: Tensor, options: int) -> Tensor:
    """(n, 2 * nodes) -> (n, 2 * nodes, options): True at the second choice of a node for the state of the first."""
    first = F.one_hot(connections[:, 0::2], options).bool()
    return torch.stack((torch.zeros_like(first), first), dim=2).flatten(1, 2)


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
        # Choice c of node i may take the inputs below i + 2: (2 * nodes, nodes + 1), True where there is none.
        known = torch.arange(2, space.nodes + 2).repeat_interleave(2)
        self.register_buffer("absent", torch.arange(space.nodes + 1) >= known[:, None], persistent=False)

    def forward(self, state: State, given: Tensor | None, uniform: Tensor | None) -> tuple[Choices, State]:
        """Choose the connections of one encoding for n rows.

        ``state``: (h, c) of the encoding before, (n, 256) each; the new one is returned too. ``given``
        (n, 2 * nodes): what was chosen; without it ``uniform`` (n, 2 * nodes) decides, and without both the likeliest
        is taken.
        """
        start = self.embedding.weight[:1].expand(len(state[0]), -1)  # (n, 256)
        # Both start steps begin at the carried state: one result.
        h, c = self.lstm(start, state)  # (n, 256) each
        anchors, tokens = [h, h], [torch.zeros_like(h)] * 2  # of the inputs 0 and 1, (n, 256) each
        keys = [] if given is not None else [self._key(h)] * 2
        rows = torch.arange(len(h), device=h.device)
        asking, indices = [], []  # (n, 256) and (n,) for each choice
        for _node in range(self.nodes):
            h, c = self.lstm(start, (h, c))
            choosable = torch.stack(tokens, dim=1)  # (n, inputs, 256)
            for _side in range(2):
                asking.append(h)
                i = len(indices)
                if given is not None:
                    index = given[:, i]  # (n,)
                else:
                    taken = indices[-1] if self.distinct and i % 2 else None
                    index = self._choose(keys, h, None if uniform is None else uniform[:, i], taken)
                indices.append(index)
                h, c = self.lstm(choosable[rows, index], (h, c))
            anchors.append(h)  # the second step after a choice is the node itself
            tokens.append(h)
            if given is None:
                keys.append(self._key(h))
        # The last node can be nobody's input. (n, nodes + 1, 256) and (n, 2 * nodes, 256) -> the same for all choices
        logits = self._logits(self.anchor(torch.stack(anchors[:-1], dim=1)), torch.stack(asking, dim=1))
        chosen, absent = torch.stack(indices, dim=1), self.absent
        if self.distinct:
            absent = absent | taken_before(chosen, self.nodes + 1)  # (n, 2 * nodes, nodes + 1)
        return Choices(chosen, logits.masked_fill(absent, -math.inf).log_softmax(dim=2)), (h, c)

    def _logits(self, keys: Tensor, asking: Tensor) -> Tensor:
        """Attention: (n, anchors, 256) and (n, choices, 256) -> bounded logits (n, choices, anchors)."""
        heard = (keys[:, None] + self.query(asking)[:, :, None]).tanh()
        logits = self.score(heard).squeeze(3)  # (n, choices, anchors, 256) -> (n, choices, anchors)
        return self.logit_scale.connections(logits)

    @torch.no_grad()
    def _key(self, anchor: Tensor) -> Tensor:
        return self.anchor(anchor)

    @torch.no_grad()  # what is learned from is computed for all choices at once
    def _choose(self, keys: list[Tensor], h: Tensor, uniform: Tensor | None, taken: Tensor | None) -> Tensor:
        """One choice, of another state than ``taken``, (n,): the indices, (n,)."""
        logits = self._logits(torch.stack(keys, dim=1), h[:, None]).squeeze(1)  # (n, anchors)
        if taken is not None:
            logits = logits.scatter(1, taken[:, None], -math.inf)
        return pick(logits.log_softmax(dim=1), uniform)


class OperationSampler(nn.Module):
    """Choose an operation for every connection, by a bidirectional LSTM over the connections."""

    def __init__(self, space: CellSpace, logit_scale: LogitScale) -> None:
        super().__init__()
        self.logit_scale = logit_scale
        self.embedding = nn.Embedding(space.nodes + 1, HIDDEN)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN, bidirectional=True, batch_first=True)
        self.classifier = nn.Linear(2 * HIDDEN, len(space.operations))

    def forward(
        self, connections: Tensor, state: State, given: Tensor | None, uniform: Tensor | None
    ) -> tuple[Choices, State]:
        """Choose the operations of one encoding for n rows.

        ``connections`` (n, 2 * nodes); ``state``: (h, c) of the encoding before, (2, n, 256) each, of which the new
        one is returned too; ``given`` and ``uniform`` as for the connections.
        """
        # Each choice reads the embedding of the state that was chosen, and the LSTM all of them from both sides.
        hidden, state = self.lstm(self.embedding(connections), state)  # (n, 2 * nodes, 512)
        logits = self.logit_scale.operations(self.classifier(hidden))  # (n, 2 * nodes, operations)
        log_probs = logits.log_softmax(dim=2)
        if given is None:
            flat = pick(log_probs.flatten(0, 1), None if uniform is None else uniform.flatten())
            given = flat.view_as(connections)  # (n, 2 * nodes)
        return Choices(given, log_probs), state
