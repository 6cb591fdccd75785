"""The flags of both scripts as two typed records. Nothing outside the scripts receives one of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from ops.genotype import MAX_BLOCKS, MAX_STAGES, SHARINGS
from ops.space import SPACES
from utils.system import numbers as flags
from utils.training.recipes import RECIPES
from utils.training.task import TASKS

BLOCKS = flags.counts(MAX_BLOCKS, MAX_STAGES)  # normal cells of each stage
DEFAULT_ARCH = "[[0,4,0,1,0,4,1,1,0,1,3,4,1,0,0,3,1,1,0,4],[0,3,0,0,1,0,1,0,1,0,0,0,1,4,1,0,1,1,1,4]]"


@dataclass(frozen=True)
class CommonConfig:
    """What both scripts are told. Names and defaults are the flags'; None means: as the data suggests."""

    data: str
    dataset: str
    num_class: int | None
    image_size: int | None
    cutout: int | None
    flip: bool | None
    bad_images: str
    cache: str
    workers: int
    save: str
    result: str
    seed: int
    batch_size: int
    epochs: int
    momentum: float
    weight_decay: float
    drop_prob: float | None
    child_lr_max: float
    child_lr_min: float
    child_lr_T_0: int
    child_lr_T_mul: int
    lr_schedule: str
    child_out_filters: int
    child_use_aux_heads: bool
    blocks: tuple[int, ...] | None
    stem: str | None
    sharing: str | None
    antialias: str
    device: str
    gpu: int | None
    report_freq: int
    tensorboard: bool
    precision: str
    amp_backend: str
    opt_level: str | None
    deterministic: bool
    space: str
    task: str
    tf32: bool
    resume: str | None
    sync_bn: bool
    given: frozenset[str]

    def defaults(self) -> dict[str, object]:
        """The flags of the same script as they are when none is given."""
        parse = parse_search if isinstance(self, SearchConfig) else parse_retrain
        return {name: value for name, value in vars(parse([])).items() if name != "given"}


@dataclass(frozen=True)
class SearchConfig(CommonConfig):
    searcher: str
    warmup_epochs: int
    max_params: float | None
    max_macs: float | None
    max_latency_ms: float | None
    latency_batch: int
    cost_weight: float
    deploy_filters: int | None
    deploy_blocks: tuple[int, ...] | None
    deploy_image_size: int | None
    bn_stats: str
    calibration_steps: int
    reward_fraction: float
    controller_lr: float
    controller_steps: int
    controller_samples: int
    entropy_weight: float
    bl_dec: float
    valid_steps: int
    derive_samples: int
    top_k: int


@dataclass(frozen=True)
class RetrainConfig(CommonConfig):
    arch: str
    grad_clip: float
    aux_weight: float
    resolution_jitter: bool
    recipe: str
    augment: str | None
    mixup: float | None
    cutmix: float | None
    random_erasing: float | None
    ema: float | None
    lr_warmup_epochs: int | None
    nesterov: bool | None
    label_smoothing: float | None
    drop_path_until: float | None
    holdout: float
    seeds: tuple[int, ...] | None
    inherit: str | None
    evaluate: str | None
    predict: str | None
    compile: bool
    export: str | None
    export_normalise: bool


def parse_search(argv: Sequence[str] | None = None) -> SearchConfig:
    """The flags of a search. Exits with status 2 and one line on standard error for what cannot be."""
    parser = _parser(
        "train_search_cifar.py",
        "Search a cell architecture with a weight-shared supernet and an LSTM controller.",
        "python train_search_cifar.py --data digits --save first --epochs 5 --blocks '[1,1]' --child_out_filters 16",
    )
    groups = _common(parser, batch_size=96, epochs=150, filters=48)
    group = groups["network"]
    group.add_argument("--blocks", type=BLOCKS, default=(4, 4), help="normal blocks of each stage (default: [4,4])")
    group.add_argument("--sharing", choices=SHARINGS, default="type", help="which blocks share an encoding")
    group.add_argument(
        "--bn_stats",
        choices=("batch", "recalibrate", "running"),
        default="batch",
        help="batch-norm statistics when a genotype is scored",
    )
    group.add_argument(
        "--calibration_steps",
        type=flags.positive_int,
        default=4,
        help="training batches for --bn_stats recalibrate",
    )
    group = groups["data"]
    group.add_argument("--reward_fraction", type=flags.fraction, default=0.2, help="share of train/ kept for rewards")
    group = parser.add_argument_group("strategy")
    group.add_argument("--searcher", choices=("rl", "random", "evolution"), default="rl", help="who proposes genotypes")
    group.add_argument(
        "--warmup_epochs", type=flags.count, default=0, help="first epochs on uniformly drawn paths, nothing else"
    )
    group = parser.add_argument_group("limits of the network that will be retrained")
    group.add_argument("--max_params", type=flags.positive, help="parameters, without auxiliary heads")
    group.add_argument("--max_macs", type=flags.positive, help="multiply-accumulates of one image")
    group.add_argument("--max_latency_ms", type=flags.positive, help="milliseconds of a batch on --device")
    group.add_argument("--latency_batch", type=flags.positive_int, default=1, help="images in that batch")
    group.add_argument(
        "--cost_weight",
        type=flags.non_negative,
        default=0.0,
        help="soft limits: reward x (cost / limit) ** -weight, and nothing is drawn again",
    )
    group.add_argument("--deploy_filters", type=flags.filters, help="its filters (default: the search's)")
    group.add_argument("--deploy_blocks", type=BLOCKS, help="its blocks (default: the search's)")
    group.add_argument("--deploy_image_size", type=flags.pixels, help="its images (default: the data's)")
    group = parser.add_argument_group("controller")
    group.add_argument("--controller_lr", type=flags.positive, default=3.5e-5, help="learning rate")
    group.add_argument("--controller_steps", type=flags.count, default=150, help="updates an epoch")
    group.add_argument(
        "--controller_samples", type=flags.positive_int, default=1, help="genotypes averaged in one update"
    )
    group.add_argument("--entropy_weight", type=flags.non_negative, default=1e-4, help="reward for entropy")
    group.add_argument("--bl_dec", type=flags.probability, default=0.95, help="decay of the baseline")
    group = parser.add_argument_group("result")
    group.add_argument("--valid_steps", type=flags.count, default=20, help="genotypes reported on an epoch")
    group.add_argument("--derive_samples", type=flags.positive_int, default=100, help="genotypes ranked at the end")
    group.add_argument("--top_k", type=flags.positive_int, default=10, help="genotypes written to genotypes.json")
    return SearchConfig(**_values(parser, argv))


def parse_retrain(argv: Sequence[str] | None = None) -> RetrainConfig:
    """The flags of a retraining. Exits with status 2 and one line on standard error for what cannot be."""
    parser = _parser(
        "retrainer_cifar.py",
        "Train the network of a genotype from scratch.",
        "python retrainer_cifar.py --data digits --save first --epochs 8 --blocks '[1,1]' --child_out_filters 16",
    )
    groups = _common(parser, batch_size=32, epochs=600, filters=32)
    group = groups["network"]
    group.add_argument(
        "--arch",
        default=DEFAULT_ARCH,
        help="a JSON list of encodings, a genotypes.json, or genotypes.json#RANK (default: the published one)",
    )
    group.add_argument("--blocks", type=BLOCKS, help="normal blocks of each stage (default: the file's, else [4,4])")
    group.add_argument(
        "--sharing", choices=SHARINGS, help="which blocks share an encoding (default: the file's, else type)"
    )
    group = groups["optimisation"]
    group.add_argument("--grad_clip", type=flags.positive, default=5.0, help="largest gradient norm")
    group.add_argument("--aux_weight", type=flags.non_negative, default=0.4, help="of the auxiliary losses")
    groups["data"].add_argument(
        "--resolution_jitter",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="photographs: shrink and grow back first",
    )
    groups["data"].add_argument(
        "--holdout", type=flags.probability, default=0.0, help="share of train/ that the best epoch is chosen on"
    )
    _recipe_flags(parser)
    group = parser.add_argument_group("before and after")
    group.add_argument("--seeds", type=flags.seeds, help="0,1,2: one run each, then mean and deviation")
    group.add_argument("--inherit", metavar="RUN", help="start from the weights of this search (default: from scratch)")
    group.add_argument(
        "--evaluate", metavar="CHECKPOINT", help="train nothing: accuracies of this checkpoint on --data"
    )
    group.add_argument("--predict", metavar="PATH", help="with --evaluate: classes of an image or a folder of images")
    group.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="torch.compile of the blocks, for GPUs: on CPUs it takes minutes and steps get slower",
    )
    group.add_argument("--export", choices=("onnx", "torchscript", "pt2"), help="write the network as one file")
    group.add_argument(
        "--export_normalise",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="put the normalisation into that file: it takes images in [0, 1]",
    )
    return RetrainConfig(**_values(parser, argv))


def _recipe_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recipe (the default of each part is the recipe's)")
    group.add_argument("--recipe", choices=tuple(RECIPES), default="published", help="what the parts below start from")
    group.add_argument(
        "--augment", choices=("none", "autoaugment", "randaugment", "trivialaugment"), help="policy on every image"
    )
    group.add_argument("--mixup", type=flags.non_negative, help="parameter of its beta distribution, 0 for off")
    group.add_argument("--cutmix", type=flags.non_negative, help="parameter of its beta distribution, 0 for off")
    group.add_argument("--random_erasing", type=flags.share, help="probability of an image")
    group.add_argument("--ema", type=flags.probability, help="decay of the average of weights, 0 for none")
    group.add_argument("--lr_warmup_epochs", type=flags.count, help="epochs in which the learning rate rises")
    group.add_argument("--nesterov", action=argparse.BooleanOptionalAction, default=None, help="of the momentum")
    group.add_argument("--label_smoothing", type=flags.probability, help="share that is spread over the classes")
    group.add_argument("--drop_path_until", type=flags.share, help="share of the epochs in which drop path rises")


class _Parser(argparse.ArgumentParser):
    """Refuses in one line, without the usage text."""

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see --help)\n")


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """States defaults, except where None stands for something that the help text words itself."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or "default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def _parser(prog: str, description: str, example: str) -> argparse.ArgumentParser:
    return _Parser(
        prog=prog,
        description=description,
        epilog=f"example:\n  {example}\n\nexit status: 0 done; 1 a fault during the run; 2 refused before any work",
        formatter_class=_Help,
        allow_abbrev=False,
    )


def _values(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> dict:
    values = vars(parser.parse_args(argv))
    values["given"] = _given(parser, argv)
    if values["child_lr_min"] > values["child_lr_max"]:
        parser.error(f"--child_lr_min {values['child_lr_min']} is above --child_lr_max {values['child_lr_max']}")
    return values


def _given(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> frozenset[str]:
    """The names of the flags that are on the command line, whatever their values."""
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    return frozenset(vars(parser.parse_args(argv)))


def _common(parser: argparse.ArgumentParser, batch_size: int, epochs: int, filters: int) -> dict:
    """Add what both scripts take; returns the groups by name."""
    yes_no = argparse.BooleanOptionalAction
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data", default="../data/cifar10", help="digits, a CIFAR root, or a folder with train/ and val/"
    )
    data.add_argument(
        "--dataset",
        choices=("auto", "digits", "cifar10", "cifar100", "folder"),
        default="auto",
        help="what --data holds",
    )
    data.add_argument("--num_class", type=flags.positive_int, help="outputs of the network (default: the data's)")
    data.add_argument("--image_size", type=flags.pixels, help="side in pixels (default: 32, photographs 224)")
    data.add_argument("--cutout", type=flags.count, help="side of the blanked square (default: half the image)")
    data.add_argument("--flip", action=yes_no, default=None, help="mirror at random (default: not for digits)")
    data.add_argument(
        "--bad_images", choices=("stop", "skip"), default="stop", help="at an image that cannot be decoded"
    )
    data.add_argument(
        "--cache", choices=("auto", "ram", "none"), default="auto", help="where decoded photographs are kept"
    )
    data.add_argument("--workers", type=flags.count, default=2, help="processes that transform photographs")
    network = parser.add_argument_group("network")
    network.add_argument("--child_out_filters", type=flags.filters, default=filters, help="channels of the first stage")
    network.add_argument("--stem", choices=("full", "quarter", "quarter_blur"), help="(default: by data set)")
    network.add_argument("--space", choices=tuple(SPACES), default="slnas", help="what is searched")
    network.add_argument("--task", choices=tuple(TASKS), default="classify", help="what networks are trained for")
    network.add_argument("--antialias", choices=("conv", "all", "none"), default="conv", help="where BlurPool is")
    network.add_argument("--child_use_aux_heads", action=yes_no, default=True, help="auxiliary heads")
    optimisation = parser.add_argument_group("optimisation")
    add = optimisation.add_argument
    add("--epochs", type=flags.positive_int, default=epochs, help="passes over the training images")
    add("--batch_size", type=flags.positive_int, default=batch_size, help="images a step")
    add("--momentum", type=flags.probability, default=0.9, help="of SGD")
    add("--weight_decay", type=flags.non_negative, default=3e-4, help="of SGD")
    add(
        "--drop_prob",
        "--droppath",
        type=flags.probability,
        help="drop path at its end (default: 0.35, retraining on photographs 0.5)",
    )
    add("--lr_schedule", choices=("cosine", "cosine_restarts"), default="cosine", help="over the epochs")
    add("--child_lr_max", type=flags.positive, default=0.025, help="first learning rate")
    add("--child_lr_min", type=flags.non_negative, default=0.0, help="the learning rate that cosine ends at")
    add("--child_lr_T_0", type=flags.positive_int, default=10, help="epochs to the first restart")
    add("--child_lr_T_mul", type=flags.positive_int, default=2, help="growth from restart to restart")
    run = parser.add_argument_group("run")
    run.add_argument("--save", type=flags.save_name, default="EXP", help="name of the run")
    run.add_argument("--result", default="result", help="folder that runs are written to")
    run.add_argument("--seed", type=flags.seed, default=2, help="all randomness derives from it")
    run.add_argument("--device", default="auto", help="auto, cpu, mps, or another device as torch names it")
    run.add_argument("--gpu", type=flags.count, help="number of the GPU, as the published scripts take it")
    run.add_argument(
        "--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto", help="auto: fp32 on a CPU"
    )
    run.add_argument("--amp_backend", choices=("torch", "apex"), default="torch", help="of mixed precision")
    run.add_argument("--opt_level", choices=("O0", "O1", "O2", "O3"), help="apex's name for a precision")
    run.add_argument(
        "--deterministic",
        action=yes_no,
        default=False,
        help="the same bits on every run, on a GPU too, which gets slower by it; a CPU does not",
    )
    run.add_argument("--tf32", action=yes_no, default=False, help="on a GPU: faster, coarser float32 products")
    run.add_argument("--report_freq", type=flags.positive_int, default=50, help="steps between two lines")
    run.add_argument("--tensorboard", action=yes_no, default=True, help="write event files")
    run.add_argument(
        "--resume",
        metavar="PATH",
        help="go on with a run: its folder, its checkpoint, or auto: the newest by --save",
    )
    run.add_argument("--sync_bn", action=yes_no, default=False, help="batch norm over all processes")
    return {"data": data, "network": network, "optimisation": optimisation, "run": run}
