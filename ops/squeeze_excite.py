"""Squeeze-and-excitation (Hu et al., arXiv 1709.01507, section 3)."""

from torch import Tensor, nn
from torch.nn import functional as F

REDUCTION = 16


class SqueezeExcite(nn.Module):
    """(N, C, H, W) -> the same shape, every channel times a gate in (0, 1). No biases (METHOD section 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(1, channels // REDUCTION)
        self.reduce = nn.Linear(channels, squeezed, bias=False)
        self.expand = nn.Linear(squeezed, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(F.relu(self.reduce(x.mean(dim=(2, 3)))))
        return x * gate.sigmoid()[:, :, None, None]
