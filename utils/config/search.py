"""The flags of a search."""

from __future__ import annotations

from dataclasses import dataclass

from ops.space import SLNAS
from utils.config.common import BLOCKS, DATA, LAYERS, NETWORK, CommonConfig, JobsConfig
from utils.config.flags import group
from utils.system import numbers

STRATEGY, CONTROLLER, NAO, RESULT = map(group, ("strategy", "controller", "NAO", "result"))
ARCHITECTURE, SHARED_WEIGHTS = map(group, ("architecture by gradients", "shared weights"))
FINALS = group("finals: the best candidates are trained, and ranked by that")
SHARED, SCRATCH = "shared", "scratch"  # rank by, or begin with, the shared weights; or begin with nothing
LIMITS = group("limits of the network that will be retrained")
SEARCH = {
    "prog": "train_search_cifar.py",
    "about": "Search a cell architecture with a weight-shared supernet and an LSTM controller.",
    "example": "python train_search_cifar.py --data digits --save first --epochs 5 --blocks '[1,1]' "
    "--child_out_filters 16",
}


@dataclass(frozen=True, kw_only=True)
class FinalsConfig:
    """How the best candidates of a search are trained, in rounds of successive halving."""

    finals: int = FINALS(0, "how many", numbers.count, default_text="0, tuned 9, halving 27")
    final_epochs: int | None = FINALS(
        None,
        "of each in the first round; then the best third for three times as many",
        numbers.positive_int,
        default_text="2, or what makes 250 steps",
    )
    final_rounds: int | None = FINALS(None, "at most", numbers.positive_int, default_text="until one is left")
    finals_start: str = FINALS("scratch", "their first weights", choice=(SHARED, SCRATCH))


@dataclass(frozen=True, kw_only=True)
class SearchConfig(FinalsConfig, JobsConfig, CommonConfig):
    """What a search is told."""

    batch_size: int = 96
    epochs: int = 150  # 0: a search without a supernet
    child_out_filters: int = 48
    blocks: tuple[int, ...] = (4, 4)  # of a space that stacks cells one number, which the space fills in
    sharing: str = "type"
    space: str = SLNAS.name  # a search has no file that could name another

    recipe: str = STRATEGY("published", "what other flags start from", choice=True)
    canonical: bool = STRATEGY(False, "one encoding for all that describe the same network", bool)
    searcher: str = STRATEGY("rl", "who proposes genotypes", choice=True)
    score: str | None = STRATEGY(None, "what is rewarded and ranked by", choice=True, default_text="the task's measure")
    reward_batches: int = STRATEGY(1, "reward batches that an update scores on", numbers.positive_int)
    warmup_epochs: int = STRATEGY(
        0, "first epochs on uniformly drawn paths, nothing else", numbers.count, default_text="0, tuned half of them"
    )

    # Floats, so that 1.5e6 can be typed.
    max_params: float | None = LIMITS(None, "parameters, without auxiliary heads", numbers.positive)
    max_macs: float | None = LIMITS(None, "multiply-accumulates of one image", numbers.positive)
    max_latency_ms: float | None = LIMITS(None, "milliseconds of one image on --device", numbers.positive)
    deploy_filters: int | None = LIMITS(None, "its filters", numbers.filters, default_text="the search's")
    deploy_blocks: tuple[int, ...] | None = LIMITS(None, "its blocks", BLOCKS, default_text="the search's")
    deploy_layers: int | None = LIMITS(None, "its layers", LAYERS, default_text="the space's own")
    deploy_stem: str | None = LIMITS(None, "its stem", choice=True, default_text="by data set")
    deploy_image_size: int | None = LIMITS(None, "its images", numbers.pixels, default_text="the data's")

    bn_stats: str = NETWORK("batch", "batch-norm statistics when a genotype is scored", choice=True)
    calibration_steps: int = NETWORK(4, "training batches for --bn_stats recalibrate", numbers.positive_int)
    # Strictly between 0 and 1: the shared weights and the rewards both need images.
    reward_fraction: float = DATA(
        0.2, "share of train/ kept for rewards", numbers.fraction, default_text="0.2, --searcher darts 0.5"
    )

    path_sampling: str = SHARED_WEIGHTS("policy", "who draws paths after the warm-up", choice=("policy", "uniform"))
    bn_affine: bool = SHARED_WEIGHTS(True, "scale and shift in the batch norms of cells", bool)
    nesterov: bool = SHARED_WEIGHTS(False, "of the momentum", bool)
    dropout: float = SHARED_WEIGHTS(0.0, "share of what the head reads", numbers.probability)
    grad_clip: float | None = SHARED_WEIGHTS(None, "largest gradient norm", numbers.positive, default_text="none")
    lr_by_step: bool = SHARED_WEIGHTS(False, "the learning rate changes from step to step", bool)
    lr_warmup_epochs: int = SHARED_WEIGHTS(0, "epochs in which it rises", numbers.count)

    controller: str = CONTROLLER("slnas", "which policy --searcher rl teaches", choice=True)
    # As published, though it hardly moves the controller (docs/strategies.md, section 9.1).
    controller_lr: float = CONTROLLER(3.5e-5, "learning rate", numbers.positive)
    controller_steps: int = CONTROLLER(150, "updates an epoch", numbers.count)
    controller_samples: int = CONTROLLER(1, "genotypes averaged in one update", numbers.positive_int)
    entropy_weight: float = CONTROLLER(1e-4, "reward for entropy", numbers.non_negative)
    bl_dec: float = CONTROLLER(0.95, "decay of the baseline", numbers.probability)
    # As published, though no operation of five can get likelier than 37.6 %.
    operation_bound: float = CONTROLLER(
        1.1 / 2.5, "largest logit of an operation", numbers.positive, default_text="1.1/2.5"
    )
    connection_bound: float = CONTROLLER(1.1, "largest logit of a connection", numbers.positive)
    controller_temperature: float = CONTROLLER(
        5.0, "what logits are divided by first", numbers.positive, default_text="5, --controller enas 1"
    )
    controller_optimizer: str = CONTROLLER("ranger", "what moves the controller", choice=True)
    advantage: str = CONTROLLER("baseline", "what a reward is compared with", choice=True)
    entropy_in_loss: float = CONTROLLER(
        0.0, "weight of the entropy in the loss, falling to 0 over the updates", numbers.non_negative
    )

    order: int = ARCHITECTURE(1, "of the gradient: 2 looks through the next step of the weights", numbers.whole(1, 2))
    arch_lr: float = ARCHITECTURE(3e-4, "learning rate", numbers.positive)
    arch_weight_decay: float = ARCHITECTURE(1e-3, "of Adam, in its gradient", numbers.non_negative)

    nao_pool: int = NAO(600, "genotypes in the pool", numbers.positive_int)
    nao_replace: int = NAO(300, "the worst of them, which a round replaces", numbers.positive_int)
    nao_best: int = NAO(100, "the best of them, from which it steps", numbers.positive_int)
    nao_epochs: int = NAO(1000, "passes over the pool when the network is fitted", numbers.positive_int)

    valid_steps: int = RESULT(20, "genotypes reported on an epoch", numbers.count)
    derive_samples: int = RESULT(100, "genotypes ranked at the end", numbers.positive_int)
    rank_by: str = RESULT(
        SHARED, "what ranks them; the mean of ranks by several with commas", choice=True, several=True
    )
    top_k: int = RESULT(10, "genotypes written to genotypes.json", numbers.positive_int)
