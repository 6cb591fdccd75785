"""Heads of networks that stack cells: the classifier, and the auxiliary one (docs/method.md, section 22)."""

from torch import Tensor, nn
from torch.nn import functional as F

from models.heads import Features, PooledLinear

WINDOW = 5  # pixels that the auxiliary head averages, and by how many it steps: small images, large ones
STEPS = (3, 2)


class Classifier(PooledLinear):
    """A classifier with bias.

    ``rectified``: in training the map goes through ReLU first. That is so where the last cell feeds the auxiliary head,
    whose first ReLU works in place in the published code.
    """

    def __init__(self, width: int, outputs: int, rectified: bool) -> None:
        super().__init__(width, outputs, bias=True)
        self.rectified_in_training = rectified

    def pooled(self, features: Features) -> Tensor:
        """Turn features into (N, C)."""
        if self.training and self.rectified_in_training:
            features = features._replace(last=F.relu(features.last))
        return super().pooled(features)


class AuxiliaryHead(nn.Module):
    """A small classifier of its own on the output of a cell, for training alone.

    Its second convolution reads 2x2 maps, as the published pooling leaves them of the 8x8 maps that images of 32 pixels
    are there (7x7 of large images). Other maps are averaged over their four quarters instead, so that the head has the
    same weights whatever the size of images. ``large``: for large images, which also leaves out the last batch norm
    unless ``both_norms``.
    """

    def __init__(
        self, width: int, outputs: int, large: bool = False, both_norms: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.step = STEPS[large]
        norms = both_norms or not large
        self.layers = nn.Sequential(
            nn.Conv2d(width, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            *([nn.BatchNorm2d(768)] if norms else []),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(768, outputs, bias=bias),
        )

    def forward(self, features: Features) -> Tensor:
        """Turn features, of which the auxiliary ones are (N, C, h, w), into (N, outputs)."""
        x = F.relu(features.for_aux[0])  # (N, C, h, w)
        sides = {(side - WINDOW) // self.step + 1 if side >= WINDOW else 0 for side in x.shape[-2:]}
        if sides == {2}:
            x = F.avg_pool2d(x, WINDOW, self.step)
        else:
            x = F.adaptive_avg_pool2d(x, 2)
        return self.layers(x)  # (N, C, 2, 2) -> (N, outputs)
