"""The flags of a search."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from controller.reinforce import ADVANTAGES, OPTIMIZERS
from controller.relaxation import RELAXATIONS
from controller.sampling import PATHS, POLICY
from controller.strategies import CONTROLLERS, GRADIENT, SEARCHERS
from engine.search_recipes import SEARCH_RECIPES
from engine.tasks import SCORES
from models.proxies import PROXIES
from models.supernet import BN_STATS
from ops.space import SLNAS, SPACES
from utils.config.common import BLOCKS, DATA, NETWORK, CommonConfig
from utils.config.dense import require_search
from utils.config.flags import flag, parse
from utils.system import numbers

STRATEGY, CONTROLLER, NAO, RESULT = "strategy", "controller", "NAO", "result"
ARCHITECTURE = "architecture by gradients"
SHARED_WEIGHTS = "shared weights"
SHARED = "shared"  # rank by the shared weights; all other rankers need no training
RANKERS: Mapping[str, object] = ChainMap(PROXIES, {SHARED: None})  # a view, so that a new entry is a choice
LIMITS = "limits of the network that will be retrained"
SEARCH = {
    "prog": "train_search_cifar.py",
    "about": "Search a cell architecture with a weight-shared supernet and an LSTM controller.",
    "example": "python train_search_cifar.py --data digits --save first --epochs 5 --blocks '[1,1]' "
    "--child_out_filters 16",
}


@dataclass(frozen=True, kw_only=True)
class SearchConfig(CommonConfig):
    """What a search is told."""

    batch_size: int = 96
    epochs: int = 150
    child_out_filters: int = 48
    blocks: tuple[int, ...] = (4, 4)
    sharing: str = "type"
    space: str = SLNAS.name

    recipe: str = flag("published", "what other flags start from", STRATEGY, choices=SEARCH_RECIPES)
    canonical: bool = flag(False, "one encoding for all that describe the same network", STRATEGY, type=bool)
    searcher: str = flag("rl", "who proposes genotypes", STRATEGY, choices=SEARCHERS)
    score: str | None = flag(
        None, "what is rewarded and ranked by", STRATEGY, choices=SCORES, said="the task's measure"
    )
    reward_batches: int = flag(1, "reward batches that an update scores on", STRATEGY, type=numbers.positive_int)
    warmup_epochs: int = flag(
        0,
        "first epochs on uniformly drawn paths, nothing else",
        STRATEGY,
        type=numbers.count,
        said="0, tuned half of them",
    )

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
    deploy_filters: int | None = flag(None, "its filters", LIMITS, type=numbers.filters, said="the search's")
    deploy_blocks: tuple[int, ...] | None = flag(None, "its blocks", LIMITS, type=BLOCKS, said="the search's")
    deploy_layers: int | None = flag(None, "its layers", LIMITS, type=numbers.positive_int, said="the space's own")
    deploy_image_size: int | None = flag(None, "its images", LIMITS, type=numbers.pixels, said="the data's")

    bn_stats: str = flag("batch", "batch-norm statistics when a genotype is scored", NETWORK, choices=BN_STATS)
    calibration_steps: int = flag(4, "training batches for --bn_stats recalibrate", NETWORK, type=numbers.positive_int)
    reward_fraction: float = flag(
        0.2, "share of train/ kept for rewards", DATA, type=numbers.fraction, said="0.2, --searcher darts 0.5"
    )

    path_sampling: str = flag("policy", "who draws them after the warm-up", SHARED_WEIGHTS, choices=PATHS)
    bn_affine: bool = flag(True, "scale and shift in the batch norms of cells", SHARED_WEIGHTS, type=bool)
    nesterov: bool = flag(False, "of the momentum", SHARED_WEIGHTS, type=bool)
    dropout: float = flag(0.0, "share of what the head reads", SHARED_WEIGHTS, type=numbers.probability)
    grad_clip: float | None = flag(None, "largest gradient norm", SHARED_WEIGHTS, type=numbers.positive, said="none")
    lr_by_step: bool = flag(False, "the learning rate changes from step to step", SHARED_WEIGHTS, type=bool)
    lr_warmup_epochs: int = flag(0, "epochs in which it rises", SHARED_WEIGHTS, type=numbers.count)
    average_last: int = flag(
        1, "epochs whose last weights are averaged to rank genotypes", SHARED_WEIGHTS, type=numbers.positive_int
    )

    controller: str = flag("slnas", "which policy --searcher rl teaches", CONTROLLER, choices=CONTROLLERS)
    controller_lr: float = flag(3.5e-5, "learning rate", CONTROLLER, type=numbers.positive)
    controller_steps: int = flag(150, "updates an epoch", CONTROLLER, type=numbers.count)
    controller_samples: int = flag(1, "genotypes averaged in one update", CONTROLLER, type=numbers.positive_int)
    entropy_weight: float = flag(1e-4, "reward for entropy", CONTROLLER, type=numbers.non_negative)
    bl_dec: float = flag(0.95, "decay of the baseline", CONTROLLER, type=numbers.probability)
    operation_bound: float = flag(
        1.1 / 2.5, "largest logit of an operation", CONTROLLER, type=numbers.positive, said="1.1/2.5"
    )
    connection_bound: float = flag(1.1, "largest logit of a connection", CONTROLLER, type=numbers.positive)
    controller_temperature: float = flag(
        5.0, "what logits are divided by first", CONTROLLER, type=numbers.positive, said="5, --controller enas 1"
    )
    controller_optimizer: str = flag("ranger", "what moves the controller", CONTROLLER, choices=OPTIMIZERS)
    advantage: str = flag("baseline", "what a reward is compared with", CONTROLLER, choices=ADVANTAGES)
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
    rank_by: str = flag(SHARED, "what ranks them: shared weights, or a score without training", RESULT, choices=RANKERS)
    top_k: int = flag(10, "genotypes written to genotypes.json", RESULT, type=numbers.positive_int)

    def completed(self) -> SearchConfig:
        """The same with the parts of the recipe that were not given."""
        parts = asdict(SEARCH_RECIPES[self.recipe])
        share = parts.pop("warmup_share")
        epochs = self.epochs if "epochs" in self.given else parts["epochs"]
        parts["warmup_epochs"] = int(share * epochs)
        controller = self.controller if "controller" in self.given else parts["controller"]
        if controller == "enas":  # which has no temperature
            parts["controller_temperature"] = 1.0
        if self.searcher in GRADIENT:
            parts["reward_fraction"] = 0.5
        space = SPACES[self.space]
        if space.stacked and "blocks" not in self.given:  # inside, the depth of a stack is the one number of its blocks
            parts["blocks"] = space.depths[0] if self.layers is None else (self.layers,)
        filled = replace(self, **{name: value for name, value in parts.items() if name not in self.given})
        return CommonConfig.completed(filled)

    def check(self) -> None:
        """Raise ValueError for flags that contradict each other."""
        super().check()
        require_search(vars(self))
        if self.advantage == "normalised" and self.controller_samples < 2:
            raise ValueError(
                "--advantage normalised compares the genotypes of an update: --controller_samples 2 or more"
            )
        if self.nao_replace >= self.nao_pool:
            raise ValueError(f"--nao_replace {self.nao_replace} leaves nothing of --nao_pool {self.nao_pool}")
        if self.nao_best > self.nao_pool:
            raise ValueError(f"--nao_best {self.nao_best} is more than --nao_pool {self.nao_pool} has")
        self.require_space()
        self.require_gradients()

    def require_space(self) -> None:
        """Refuse a space that cannot be searched, and the depth of another kind of network."""
        space = SPACES[self.space]
        if not space.searched:
            searched = ", ".join(name for name, other in SPACES.items() if other.searched)
            raise ValueError(f"--space {space.name} has no supernet: search {searched}")
        unfit = ("blocks", "deploy_blocks") if space.stacked else ("layers", "deploy_layers")
        for name in unfit:
            if name in self.given:
                kind = "stacks its cells: give --layers" if space.stacked else "has stages: give --blocks"
                raise ValueError(f"--{name}: --space {space.name} {kind}")
        if space.stacked and self.sharing != "type":
            raise ValueError(f"--sharing {self.sharing}: --space {space.name} shares its cells by type")

    def require_gradients(self) -> None:
        """Refuse what a search by gradients cannot have, and its own flags where another strategy searches."""
        named = " or ".join(GRADIENT)
        if self.searcher not in GRADIENT:
            moved = {"order": 1, "arch_lr": 3e-4, "arch_weight_decay": 1e-3}
            for name, default in moved.items():
                if getattr(self, name) != default:
                    raise ValueError(
                        f"--{name} is for --searcher {named}: --searcher {self.searcher} takes no gradients"
                    )
            return
        if self.space not in RELAXATIONS:
            spaces = ", ".join(RELAXATIONS)
            raise ValueError(f"--searcher {self.searcher} does not search --space {self.space}: it knows {spaces}")
        unfit = {
            **dict.fromkeys(("max_params", "max_macs", "max_latency_ms"), "derives one genotype, within no limits"),
            "path_sampling": "samples no paths",
            "drop_prob": "mixes, and drops no path",
        }
        for name, why in unfit.items():
            if name in self.given and getattr(self, name) not in (0, POLICY):
                raise ValueError(f"--{name}: --searcher {self.searcher} {why}")


def parse_search(argv: Sequence[str] | None = None) -> SearchConfig:
    """The flags of a search. Exits with status 2 and one line on standard error for what cannot be."""
    return parse(SearchConfig, argv, **SEARCH)
