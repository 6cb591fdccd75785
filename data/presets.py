"""What fits a kind of images unless the user says otherwise (docs/method.md, section 5)."""

import math
from dataclasses import dataclass, replace

from utils.system import numbers

SMALL_LIMIT = 64  # the largest side in pixels that is treated as the 32x32 sets are

Triple = tuple[float, float, float]

CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR100 = ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762))
SVHN = ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Preset:
    """How images of a data set are shown to a network.

    ``image_size``: side in pixels. ``mean``, ``std``: of the channels in [0, 1]; None: to be computed from the
    training images. ``cutout``: side of the square that is blanked, 0 for none. ``flip``: whether a mirrored
    image is as good as the original. ``drop_prob``: drop path at the end of its ramp, in retraining.
    """

    image_size: int
    mean: Triple | None
    std: Triple | None
    cutout: int
    flip: bool
    drop_prob: float

    @property
    def is_small(self) -> bool:
        """Whether images are treated as the 32x32 sets are: kept as one tensor, cropped with padding, cut out."""
        return self.image_size <= SMALL_LIMIT

    @property
    def decoded_size(self) -> int:
        """Large images are decoded at 256 for crops of 224; small images at the size that is shown."""
        return self.image_size if self.is_small else round(self.image_size * 256 / 224)


def small(
    image_size: int = 32,
    statistics: tuple[Triple, Triple] | None = None,
    *,
    flip: bool = True,
    cutout: int | None = None,
) -> Preset:
    """Small images, such as the 32x32 sets. Cutout takes half the side unless given."""
    mean, std = statistics or (None, None)
    cutout = image_size // 2 if cutout is None else cutout
    return Preset(image_size, mean, std, cutout, flip, drop_prob=0.35)


def large(image_size: int = 224) -> Preset:
    """Large images, such as photographs of 224x224, with the statistics of ImageNet."""
    return Preset(image_size, *IMAGENET, cutout=0, flip=True, drop_prob=0.5)


def as_trained(image_size: int, mean: Triple, std: Triple) -> Preset:
    """The preset that shows images to a trained network, from what its checkpoint says; for evaluation only.

    Raises ValueError or TypeError for what cannot be.
    """
    if not (isinstance(image_size, int) and 0 < image_size <= numbers.WIDEST):
        raise ValueError(f"image size {image_size!r}")
    if len(mean) != 3 or len(std) != 3 or not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise ValueError(f"mean {mean!r}, std {std!r}")
    base = small(image_size, (mean, std)) if image_size <= SMALL_LIMIT else large(image_size)
    return replace(base, mean=tuple(mean), std=tuple(std))
