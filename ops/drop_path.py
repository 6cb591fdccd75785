"""Drop path (Huang et al., arXiv 1603.09382; per sample as in Larsson et al., arXiv 1605.07648)."""

import torch
from torch import Tensor


def keep_masks(paths: int, batch: int, p: float | Tensor, like: Tensor) -> Tensor:
    """Draw factors for ``paths`` edges of a batch, (paths, N, 1, 1, 1): 0 with probability ``p``, else 1/(1-p).

    One draw for many edges, on the device and in the precision of ``like``. Multiplying by the factors keeps
    the mean and makes a new tensor: the input is left alone. ``p`` is in [0, 1).
    """
    drawn = torch.rand(paths, batch, 1, 1, 1, device=like.device, dtype=torch.float32)
    return ((drawn >= p) / (1 - p)).to(like.dtype)
