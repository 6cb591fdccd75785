"""The flags of a search."""

from __future__ import annotations

from dataclasses import dataclass

from ops.space import SLNAS
from utils.config.common import BLOCKS, DATA, LAYERS, NETWORK, CommonConfig, JobsConfig
from utils.config.flags import flag
from utils.system import numbers

STRATEGY, CONTROLLER, NAO, RESULT = "strategy", "controller", "NAO", "result"
ARCHITECTURE = "architecture by gradients"
SHARED_WEIGHTS = "shared weights"
FINALS = "finals: the best candidates are trained, and ranked by that"
SHARED, SCRATCH = "shared", "scratch"  # rank by, or begin with, the shared weights; or begin with nothing
LIMITS = "limits of the network that will be retrained"
SEARCH = {
    "prog": "train_search_cifar.py",
    "about": "Search a cell architecture with a weight-shared supernet and an LSTM controller.",
    "example": "python train_search_cifar.py --data digits --save first --epochs 5 --blocks '[1,1]' "
    "--child_out_filters 16",
}


@dataclass(frozen=True, kw_only=True)
class FinalsConfig:
    """How the best candidates of a search are trained, in rounds of successive halving."""

    finals: int = flag(0, "how many", FINALS, type=numbers.count, default_text="0, tuned 9, halving 27")
    final_epochs: int = flag(
        2, "of each in the first round; then the best third for three times as many", FINALS, type=numbers.positive_int
    )
    final_rounds: int | None = flag(
        None, "at most", FINALS, type=numbers.positive_int, default_text="until one is left"
    )
    finals_start: str = flag(
        "mixed", "their first weights; mixed: shared ones in the first round", FINALS, choice=(SHARED, SCRATCH, "mixed")
    )
    finals_by: str = flag("ranking", "who chooses them", FINALS, choice=("ranking", "predictor", "random"))


@dataclass(frozen=True, kw_only=True)
class SearchConfig(FinalsConfig, JobsConfig, CommonConfig):
    """What a search is told."""

    batch_size: int = 96
    epochs: int = 150  # 0: a search without a supernet
    child_out_filters: int = 48
    blocks: tuple[int, ...] = (4, 4)  # of a space that stacks cells one number, which the space fills in
    sharing: str = "type"
    space: str = SLNAS.name  # a search has no file that could name another

    recipe: str = flag("published", "what other flags start from", STRATEGY, choice=True)
    canonical: bool = flag(False, "one encoding for all that describe the same network", STRATEGY, type=bool)
    searcher: str = flag("rl", "who proposes genotypes", STRATEGY, choice=True)
    score: str | None = flag(
        None, "what is rewarded and ranked by", STRATEGY, choice=True, default_text="the task's measure"
    )
    reward_batches: int = flag(1, "reward batches that an update scores on", STRATEGY, type=numbers.positive_int)
    warmup_epochs: int = flag(
        0,
        "first epochs on uniformly drawn paths, nothing else",
        STRATEGY,
        type=numbers.count,
        default_text="0, tuned half of them",
    )

    # Floats, so that 1.5e6 can be typed.
    max_params: float | None = flag(None, "parameters, without auxiliary heads", LIMITS, type=numbers.positive)
    max_macs: float | None = flag(None, "multiply-accumulates of one image", LIMITS, type=numbers.positive)
    max_latency_ms: float | None = flag(None, "milliseconds of a batch on --device", LIMITS, type=numbers.positive)
    latency_batch: int = flag(1, "images in that batch", LIMITS, type=numbers.positive_int)
    cost_weight: float = flag(
        0.0,
        "soft limits: reward x (cost / limit) ** -weight, and nothing is drawn again",
        LIMITS,
        type=numbers.non_negative,
    )
    deploy_filters: int | None = flag(None, "its filters", LIMITS, type=numbers.filters, default_text="the search's")
    deploy_blocks: tuple[int, ...] | None = flag(None, "its blocks", LIMITS, type=BLOCKS, default_text="the search's")
    deploy_layers: int | None = flag(None, "its layers", LIMITS, type=LAYERS, default_text="the space's own")
    deploy_image_size: int | None = flag(None, "its images", LIMITS, type=numbers.pixels, default_text="the data's")

    bn_stats: str = flag("batch", "batch-norm statistics when a genotype is scored", NETWORK, choice=True)
    calibration_steps: int = flag(4, "training batches for --bn_stats recalibrate", NETWORK, type=numbers.positive_int)
    # Strictly between 0 and 1: the shared weights and the rewards both need images.
    reward_fraction: float = flag(
        0.2, "share of train/ kept for rewards", DATA, type=numbers.fraction, default_text="0.2, --searcher darts 0.5"
    )

    path_sampling: str = flag("policy", "who draws them after the warm-up", SHARED_WEIGHTS, choice=True)
    bn_affine: bool = flag(True, "scale and shift in the batch norms of cells", SHARED_WEIGHTS, type=bool)
    nesterov: bool = flag(False, "of the momentum", SHARED_WEIGHTS, type=bool)
    dropout: float = flag(0.0, "share of what the head reads", SHARED_WEIGHTS, type=numbers.probability)
    grad_clip: float | None = flag(
        None, "largest gradient norm", SHARED_WEIGHTS, type=numbers.positive, default_text="none"
    )
    lr_by_step: bool = flag(False, "the learning rate changes from step to step", SHARED_WEIGHTS, type=bool)
    lr_warmup_epochs: int = flag(0, "epochs in which it rises", SHARED_WEIGHTS, type=numbers.count)

    controller: str = flag("slnas", "which policy --searcher rl teaches", CONTROLLER, choice=True)
    controller_lr: float = flag(3.5e-5, "learning rate", CONTROLLER, type=numbers.positive)
    controller_steps: int = flag(150, "updates an epoch", CONTROLLER, type=numbers.count)
    controller_samples: int = flag(1, "genotypes averaged in one update", CONTROLLER, type=numbers.positive_int)
    entropy_weight: float = flag(1e-4, "reward for entropy", CONTROLLER, type=numbers.non_negative)
    bl_dec: float = flag(0.95, "decay of the baseline", CONTROLLER, type=numbers.probability)
    operation_bound: float = flag(
        1.1 / 2.5, "largest logit of an operation", CONTROLLER, type=numbers.positive, default_text="1.1/2.5"
    )
    connection_bound: float = flag(1.1, "largest logit of a connection", CONTROLLER, type=numbers.positive)
    controller_temperature: float = flag(
        5.0,
        "what logits are divided by first",
        CONTROLLER,
        type=numbers.positive,
        default_text="5, --controller enas 1",
    )
    controller_optimizer: str = flag("ranger", "what moves the controller", CONTROLLER, choice=True)
    advantage: str = flag("baseline", "what a reward is compared with", CONTROLLER, choice=True)
    entropy_in_loss: float = flag(
        0.0, "weight of the entropy in the loss, falling to 0 over the updates", CONTROLLER, type=numbers.non_negative
    )

    order: int = flag(
        1, "of the gradient: 2 looks through the next step of the weights", ARCHITECTURE, type=numbers.whole(1, 2)
    )
    arch_lr: float = flag(3e-4, "learning rate", ARCHITECTURE, type=numbers.positive)
    arch_weight_decay: float = flag(1e-3, "of Adam, in its gradient", ARCHITECTURE, type=numbers.non_negative)

    nao_pool: int = flag(600, "genotypes in the pool", NAO, type=numbers.positive_int)
    nao_replace: int = flag(300, "the worst of them, which a round replaces", NAO, type=numbers.positive_int)
    nao_best: int = flag(100, "the best of them, from which it steps", NAO, type=numbers.positive_int)
    nao_epochs: int = flag(1000, "passes over the pool when the network is fitted", NAO, type=numbers.positive_int)

    valid_steps: int = flag(20, "genotypes reported on an epoch", RESULT, type=numbers.count)
    derive_samples: int = flag(100, "genotypes ranked at the end", RESULT, type=numbers.positive_int)
    rank_by: str = flag(
        SHARED, "what ranks them; the mean of ranks by several with commas", RESULT, choice=True, several=True
    )
    top_k: int = flag(10, "genotypes written to genotypes.json", RESULT, type=numbers.positive_int)
