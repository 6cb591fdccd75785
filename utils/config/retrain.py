"""The flags of a retraining."""

from __future__ import annotations

from dataclasses import dataclass

from utils.config.common import DATA, NETWORK, OPTIMISATION, CommonConfig
from utils.config.flags import flag
from utils.system import numbers

# The published genotype: one encoding for normal cells and one for reductions, input and operation in turns.
DEFAULT_ARCH = "[[0,4,0,1,0,4,1,1,0,1,3,4,1,0,0,3,1,1,0,4],[0,3,0,0,1,0,1,0,1,0,0,0,1,4,1,0,1,1,1,4]]"
RECIPE = "recipe (the default of each part is the recipe's)"
AROUND = "before and after"
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

    arch: str = flag(
        DEFAULT_ARCH,
        "a JSON list of encodings, a genotypes.json, or genotypes.json#RANK",
        NETWORK,
        default_text="the published one",
    )
    grad_clip: float = flag(5.0, "largest gradient norm", OPTIMISATION, type=numbers.positive)
    aux_weight: float = flag(0.4, "of the auxiliary losses", OPTIMISATION, type=numbers.non_negative)
    resolution_jitter: bool = flag(False, "large images: shrink and grow back first", DATA, type=bool)

    recipe: str = flag(
        "published", "what the parts below start from, and with another method's its schedule", RECIPE, choice=True
    )
    augment: str | None = flag(None, "policy on every image", RECIPE, choice=True)
    mixup: float | None = flag(None, "parameter of its beta distribution, 0 for off", RECIPE, type=numbers.non_negative)
    cutmix: float | None = flag(
        None, "parameter of its beta distribution, 0 for off", RECIPE, type=numbers.non_negative
    )
    random_erasing: float | None = flag(None, "probability of an image", RECIPE, type=numbers.share)
    ema: float | None = flag(None, "decay of the average of weights, 0 for none", RECIPE, type=numbers.probability)
    lr_warmup_epochs: int | None = flag(None, "epochs in which the learning rate rises", RECIPE, type=numbers.count)
    nesterov: bool | None = flag(None, "of the momentum", RECIPE, type=bool)
    label_smoothing: float | None = flag(
        None, "share that is spread over the classes", RECIPE, type=numbers.probability
    )
    drop_path_until: float | None = flag(
        None, "share of the epochs in which drop path rises", RECIPE, type=numbers.share
    )
    drop_path_by_layer: bool | None = flag(None, "cell i of n drops the share i / n of it", RECIPE, type=bool)
    drop_path_by_step: bool | None = flag(None, "it rises with every step", RECIPE, type=bool)
    dropout: float | None = flag(None, "share of what the head reads", RECIPE, type=numbers.probability)
    decay_norms: bool | None = flag(None, "weight decay on norms and biases too", RECIPE, type=bool)
    holdout: float = flag(0.0, "share of train/ that the best epoch is chosen on", DATA, type=numbers.probability)

    seeds: tuple[int, ...] | None = flag(
        None, "0,1,2: one run each, then mean and deviation", AROUND, type=numbers.seeds
    )
    inherit: str | None = flag(
        None,
        "start from the weights of this search",
        AROUND,
        type=numbers.path,
        default_text="from scratch",
        metavar="RUN",
    )
    evaluate: str | None = flag(
        None, "train nothing: accuracies of this checkpoint on --data", AROUND, type=numbers.path, metavar="CHECKPOINT"
    )
    predict: str | None = flag(
        None, "with --evaluate: of an image or a folder of images", AROUND, type=numbers.path, metavar="PATH"
    )
    compile: bool = flag(
        False,
        "torch.compile of the blocks, for GPUs: on CPUs it takes minutes and steps get slower",
        AROUND,
        type=bool,
    )
    export: str | None = flag(None, "write the network as one file", AROUND, choice=True)
    export_normalise: bool = flag(
        False, "put the normalisation into that file: it takes images in [0, 1]", AROUND, type=bool
    )
