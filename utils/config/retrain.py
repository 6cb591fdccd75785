"""The flags of a retraining."""

from __future__ import annotations

from dataclasses import dataclass

from utils.config.common import DATA, NETWORK, OPTIMISATION, CommonConfig
from utils.config.flags import group
from utils.system import numbers

# The published genotype: one encoding for normal cells and one for reductions, input and operation in turns.
DEFAULT_ARCH = "[[0,4,0,1,0,4,1,1,0,1,3,4,1,0,0,3,1,1,0,4],[0,3,0,0,1,0,1,0,1,0,0,0,1,4,1,0,1,1,1,4]]"
RECIPE = group("recipe (the default of each part is the recipe's)")
AROUND = group("before and after")
RETRAIN = {
    "prog": "retrainer_cifar.py",
    "about": "Train the network of a genotype from scratch.",
    "example": "python retrainer_cifar.py --data digits --save first --epochs 8 --blocks '[1,1]' "
    "--child_out_filters 16",
}


@dataclass(frozen=True, kw_only=True)
class RetrainConfig(CommonConfig):
    """What a retraining is told."""

    # Where the two scripts have other defaults: a plain value keeps what CommonConfig says of the flag.
    batch_size: int = 32
    epochs: int = 600
    child_out_filters: int = 32

    arch: str = NETWORK(
        DEFAULT_ARCH,
        "a JSON list of encodings, a genotypes.json, or genotypes.json#RANK",
        default_text="the published one",
    )
    grad_clip: float = OPTIMISATION(5.0, "largest gradient norm", numbers.positive)
    aux_weight: float = OPTIMISATION(0.4, "of the auxiliary losses", numbers.non_negative)
    resolution_jitter: bool = DATA(False, "large images: shrink and grow back first", bool)

    recipe: str = RECIPE(
        "published", "what the parts below start from, and with another method's its schedule", choice=True
    )
    augment: str | None = RECIPE(None, "policy on every image", choice=True)
    mixup: float | None = RECIPE(None, "parameter of its beta distribution, 0 for off", numbers.non_negative)
    cutmix: float | None = RECIPE(None, "parameter of its beta distribution, 0 for off", numbers.non_negative)
    random_erasing: float | None = RECIPE(None, "probability of an image", numbers.share)
    ema: float | None = RECIPE(None, "decay of the average of weights, 0 for none", numbers.probability)
    lr_warmup_epochs: int | None = RECIPE(None, "epochs in which the learning rate rises", numbers.count)
    nesterov: bool | None = RECIPE(None, "of the momentum", bool)
    label_smoothing: float | None = RECIPE(None, "share that is spread over the classes", numbers.probability)
    drop_path_until: float | None = RECIPE(None, "share of the epochs in which drop path rises", numbers.share)
    drop_path_by_layer: bool | None = RECIPE(None, "cell i of n drops the share i / n of it", bool)
    drop_path_by_step: bool | None = RECIPE(None, "it rises with every step", bool)
    dropout: float | None = RECIPE(None, "share of what the head reads", numbers.probability)
    decay_norms: bool | None = RECIPE(None, "weight decay on norms and biases too", bool)
    holdout: float = DATA(0.0, "share of train/ that the best epoch is chosen on", numbers.probability)

    seeds: tuple[int, ...] | None = AROUND(None, "0,1,2: one run each, then mean and deviation", numbers.seeds)
    inherit: str | None = AROUND(
        None, "start from the weights of this search", numbers.path, default_text="from scratch", metavar="RUN"
    )
    evaluate: str | None = AROUND(
        None, "train nothing: accuracies of this checkpoint on --data", numbers.path, metavar="CHECKPOINT"
    )
    predict: str | None = AROUND(
        None, "with --evaluate: of an image or a folder of images", numbers.path, metavar="PATH"
    )
    compile: bool = AROUND(
        False, "torch.compile of the blocks, for GPUs: on CPUs it takes minutes and steps get slower", bool
    )
    export: str | None = AROUND(None, "write the network as one file", choice=True)
