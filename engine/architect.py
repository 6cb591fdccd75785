"""Steps of the architecture by gradients: by the validation loss (DARTS; docs/strategies.md, section 23)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from controller.relaxation import Relaxation
from data.loaders import Batch
from engine.tasks import Task

SMALL = 0.01  # how far the weights are moved to take a difference: the norm of the move


@dataclass(frozen=True)
class Architect:
    """Moves an architecture by the gradient of the loss that weights reach with it on images of their own.

    ``order`` 1: these weights; 2: those that their next step would lead to. ``optimizer``: SGD, which trains the
    weights of ``model``. ``mean``: the mean of a tensor over all processes. Everything is computed in full precision;
    weights, buffers and gradients of the model are afterwards, to the last bit, as they were before.
    """

    model: nn.Module
    relaxed: Relaxation
    optimizer: torch.optim.Optimizer
    task: Task
    order: int = 1
    mean: Callable[[Tensor], Tensor] = lambda values: values

    def step(self, train: Batch, valid: Batch) -> int:
        """Move the architecture once; ``train`` is the batch that the weights' next step is going to be on.

        Returns how many images passed through the network for it.
        """
        self.relaxed.step(self.gradient(train, valid))
        # Three passes over the training batch: the step of the weights, and both sides of the difference.
        return len(valid.images) + (3 * len(train.images) if self.order == 2 else 0)

    def gradient(self, train: Batch, valid: Batch) -> list[Tensor]:
        """The gradient by every parameter of the architecture."""
        with undisturbed(self.model):
            row = self._unrolled(train, valid) if self.order == 2 else self._slope(valid, self.relaxed.parameters)
        return in_shape(row, self.relaxed.parameters)

    def _unrolled(self, train: Batch, valid: Batch) -> Tensor:
        """The gradient through the weights' next step w' = w - lr (momentum b + slope + decay w), without clipping.

        Of it, the part in which w' changes with the architecture takes a difference of two gradients in place of a
        second derivative; w is moved for it, not w'.
        """
        alphas, weights = self.relaxed.parameters, self.weights
        lr = self.optimizer.param_groups[0]["lr"]  # train_pass has set it for this very step, alike in all groups
        values = in_a_row(weights)  # (weights,)
        with borrowed(weights, values):
            step = self._slope(train, weights, training=True) + self._inertia()  # (weights,)
            put(weights, values - lr * step)  # from here on the model has w'
            both = self._slope(valid, [*alphas, *weights])  # one backward pass for both: (alphas + weights,)
            direct, direction = both.split([sum(a.numel() for a in alphas), len(values)])
            # R; of no direction at all it is large, but finite.
            share = SMALL / direction.norm().clamp_min(torch.finfo(values.dtype).tiny)
            slopes = []
            for sign in (1, -1):
                put(weights, values + sign * share * direction)  # w + R v, then w - R v
                slopes.append(self._slope(train, alphas, training=True))
        return direct - lr * (slopes[0] - slopes[1]) / (2 * share)  # (alphas,)

    @property
    def weights(self) -> list[Tensor]:
        """What the optimizer trains."""
        return [weight for group in self.optimizer.param_groups for weight in group["params"]]

    def _inertia(self) -> Tensor:
        """What a step of SGD adds to the gradient: momentum, 0 before the first step, and weight decay. (weights,)."""
        additions = []
        for group in self.optimizer.param_groups:
            for weight in group["params"]:
                added = group["weight_decay"] * weight.detach()
                # Looked for first: to ask this defaultdict for a weight would make an entry, which checkpoints keep.
                buffer = self.optimizer.state[weight].get("momentum_buffer") if weight in self.optimizer.state else None
                additions.append(added if buffer is None else added + group["momentum"] * buffer)
        return in_a_row(additions)

    def _slope(self, batch: Batch, by: Sequence[Tensor], training: bool = False) -> Tensor:
        """The gradient of the loss of a batch, in one row, averaged over processes; ``training``: of that loss."""
        # Outside of autocast, hence in float32 whatever --precision says.
        outputs, aux = self.model(batch.images, self.relaxed.mixture(learning=True))
        if training:
            loss = self.task.loss(outputs, aux, batch.labels)
        else:
            loss = self.task.validation_loss(outputs, batch.labels)
        value = loss.over(self.mean(loss.count.clone()))
        # A loss need not reach every weight, as auxiliary heads have no part in the validation loss: zeros there.
        gradients = torch.autograd.grad(value, by, allow_unused=True, materialize_grads=True)
        return self.mean(in_a_row(gradients))  # autograd.grad does not call the hooks that average in training


def in_a_row(tensors: Sequence[Tensor]) -> Tensor:
    """All values of some tensors, copied: (values,)."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def in_shape(row: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Values in a row, (values,), as tensors of these shapes."""
    parts = row.split([tensor.numel() for tensor in like])
    return [part.view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]


@torch.no_grad()
def put(weights: Sequence[Tensor], row: Tensor) -> None:
    """Give the weights, in place, the values in a row, (values,)."""
    for weight, values in zip(weights, in_shape(row, weights), strict=True):
        weight.copy_(values)  # in place: the optimizer holds these very tensors


@contextmanager
def borrowed(weights: Sequence[Tensor], values: Tensor) -> Iterator[None]:
    """Let the body change the weights, and give them back their ``values``, (values,)."""
    try:
        yield
    finally:
        put(weights, values)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Keep all buffers, running statistics above all, from what the body does to them."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, values in kept:
                buffer.copy_(values)
