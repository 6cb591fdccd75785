"""The two training losses (docs/method.md, sections 4.1 and 5). Logits (n, classes), auxiliary logits, labels (n,)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

AUX_WEIGHT = 0.4


def search_loss(logits: Tensor, aux: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Cross entropy + 0.4 * weighted mean of the auxiliary ones, head i weighted i + 1."""
    loss = F.cross_entropy(logits, labels)
    if aux:
        weights = range(1, len(aux) + 1)
        weighted = sum(w * F.cross_entropy(a, labels) for w, a in zip(weights, aux, strict=True))
        loss = loss + AUX_WEIGHT * weighted / sum(weights)
    return loss


def retrain_loss(
    logits: Tensor,
    aux: Sequence[Tensor],
    labels: Tensor,
    *,
    smoothing: float = 0.1,
    aux_weight: float = AUX_WEIGHT,
) -> Tensor:
    """Cross entropy with label smoothing over the outputs + ``aux_weight`` * sum of the auxiliary ones."""
    heads = [F.cross_entropy(x, labels, label_smoothing=smoothing) for x in (logits, *aux)]
    return heads[0] + aux_weight * sum(heads[1:])
