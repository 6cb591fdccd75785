"""The flags that both scripts take."""

from __future__ import annotations

from dataclasses import dataclass

from ops.genotype import MAX_BLOCKS, MAX_STAGES
from utils.config.flags import EACH_SCRIPT, flag
from utils.system import numbers

BLOCKS = numbers.counts(MAX_BLOCKS, MAX_STAGES)  # normal cells of each stage
LAYERS = numbers.whole(1, MAX_BLOCKS)  # of a stack of cells
DATA, RUN, OPTIMISATION, NETWORK = "data", "run", "optimisation", "network"
JOBS = "independent trainings"


@dataclass(frozen=True, kw_only=True)
class JobsConfig:
    """Where independent trainings run: the finals of a search, the pieces of a study."""

    jobs: int = flag(1, "processes that train at the same time", JOBS, type=numbers.processes)
    cluster: str | None = flag(
        None, "submit them, as many as --jobs at a time, through submitit", JOBS, choice=("slurm", "local")
    )
    slurm: str | None = flag(
        None, "partition=...,gpus_per_node=1,...: what Slurm is asked for", JOBS, type=numbers.assignments
    )


@dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """What both scripts are told. None means: as the data suggests.

    The order of the fields is that of config.json and, within a group, of --help.
    """

    data: str = flag(
        "../data/cifar10",
        "digits, a root of CIFAR, MNIST, ..., or a folder with train/ and val/",
        DATA,
        type=numbers.path,
    )
    dataset: str = flag("auto", "what --data holds", DATA, choice=True)
    train_images: int | None = flag(
        None, "so many of train/, each class its share", DATA, type=numbers.positive_int, default_text="all"
    )
    num_class: int | None = flag(
        None, "outputs of the network", DATA, type=numbers.positive_int, default_text="the data's"
    )
    image_size: int | None = flag(
        None, "side in pixels", DATA, type=numbers.pixels, default_text="32, large images 224"
    )
    cutout: int | None = flag(
        None, "side of the blanked square", DATA, type=numbers.count, default_text="half the image"
    )
    flip: bool | None = flag(None, "mirror at random", DATA, type=bool, default_text="not for digits and kana")
    bad_images: str = flag("stop", "at an image that cannot be decoded", DATA, choice=True)
    cache: str = flag("auto", "where decoded large images are kept", DATA, choice=True)
    workers: int = flag(2, "processes that transform large images", DATA, type=numbers.count)

    save: str = flag("EXP", "name of the run", RUN, type=numbers.save_name)
    result: str = flag("result", "folder that runs are written to", RUN, type=numbers.path)
    seed: int = flag(2, "all randomness derives from it", RUN, type=numbers.seed)

    batch_size: int = flag(EACH_SCRIPT, "images a step", OPTIMISATION, type=numbers.positive_int)
    epochs: int = flag(
        EACH_SCRIPT, "passes over the training images; of a search 0: no supernet", OPTIMISATION, type=numbers.count
    )
    momentum: float = flag(0.9, "of SGD", OPTIMISATION, type=numbers.probability)
    weight_decay: float = flag(3e-4, "of SGD", OPTIMISATION, type=numbers.non_negative)
    drop_prob: float | None = flag(
        None,
        "drop path at its end",
        OPTIMISATION,
        type=numbers.probability,
        aliases=["droppath"],
        default_text="0.35, retraining on large images 0.5, a search of enas 0",
    )
    # Names of the published scripts, which parse the last rate and both T but use none of them.
    child_lr_max: float = flag(0.025, "first learning rate", OPTIMISATION, type=numbers.positive)
    child_lr_min: float = flag(0.0, "the learning rate that cosine ends at", OPTIMISATION, type=numbers.non_negative)
    child_lr_T_0: int = flag(10, "epochs to the first restart", OPTIMISATION, type=numbers.positive_int)
    child_lr_T_mul: int = flag(2, "growth from restart to restart", OPTIMISATION, type=numbers.positive_int)
    lr_schedule: str = flag("cosine", "over the epochs", OPTIMISATION, choice=True)

    child_out_filters: int = flag(EACH_SCRIPT, "channels of the first stage", NETWORK, type=numbers.filters)
    child_use_aux_heads: bool = flag(True, "auxiliary heads", NETWORK, type=bool)
    space: str | None = flag(
        None, "what architectures are made of", NETWORK, choice=True, default_text="the genotype's, else slnas"
    )
    blocks: tuple[int, ...] | None = flag(
        None, "slnas: normal blocks of each stage", NETWORK, type=BLOCKS, default_text="the file's, else [4,4]"
    )
    layers: int | None = flag(
        None,
        "other spaces: depth of the stack of cells",
        NETWORK,
        type=LAYERS,
        default_text="the space's own",
    )
    stem: str | None = flag(None, "how the image is read", NETWORK, choice=True, default_text="by data set")
    sharing: str | None = flag(
        None, "which blocks share an encoding", NETWORK, choice=True, default_text="the file's, else type"
    )
    antialias: str = flag("conv", "where BlurPool is", NETWORK, choice=True)
    task: str = flag(
        "classify", "what networks are trained for: labels, or in a search also what needs none", NETWORK, choice=True
    )

    device: str = flag("auto", "auto, cpu, mps, or another device as torch names it", RUN)
    gpu: int | None = flag(None, "number of the GPU, as the published scripts take it", RUN, type=numbers.count)
    report_freq: int = flag(50, "steps between two lines", RUN, type=numbers.positive_int)
    tensorboard: bool = flag(True, "write event files", RUN, type=bool)
    precision: str = flag("auto", "auto: fp32 on a CPU", RUN, choice=True)
    amp_backend: str = flag("torch", "of mixed precision", RUN, choice=True)
    opt_level: str | None = flag(None, "apex's name for a precision", RUN, choice=True)
    deterministic: bool = flag(
        False, "the same bits on every run, on a GPU too, which gets slower by it; a CPU does not", RUN, type=bool
    )
    tf32: bool = flag(False, "on a GPU: faster, coarser float32 products", RUN, type=bool)
    resume: str | None = flag(
        None,
        "go on with a run: its folder, its checkpoint, or auto: the newest by --save",
        RUN,
        type=numbers.path,
        metavar="PATH",
    )
    sync_bn: bool = flag(False, "batch norm over all processes, on GPUs", RUN, type=bool)
    given: frozenset[str] = frozenset()  # names of the flags that are on the command line, whatever their values

    def defaults(self) -> dict[str, object]:
        """The flags of the same script as they are when none is given."""
        return {name: value for name, value in vars(type(self)()).items() if name != "given"}
