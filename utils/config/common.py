"""The flags that both scripts take."""

from __future__ import annotations

from dataclasses import dataclass

from ops.genotype import MAX_BLOCKS, MAX_STAGES
from utils.config.flags import EACH_SCRIPT, group
from utils.system import numbers

BLOCKS = numbers.counts(MAX_BLOCKS, MAX_STAGES)  # normal cells of each stage
LAYERS = numbers.whole(1, MAX_BLOCKS)  # of a stack of cells
DATA, RUN, OPTIMISATION, NETWORK = map(group, ("data", "run", "optimisation", "network"))
JOBS = group("independent trainings")


@dataclass(frozen=True, kw_only=True)
class JobsConfig:
    """Where independent trainings run: the finals of a search, the pieces of a study."""

    jobs: int = JOBS(1, "processes that train at the same time", numbers.processes)
    cluster: str | None = JOBS(
        None, "submit them, as many as --jobs at a time, through submitit", choice=("slurm", "local")
    )
    slurm: str | None = JOBS(None, "partition=...,gpus_per_node=1,...: what Slurm is asked for", numbers.assignments)


@dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """What both scripts are told. None means: as the data suggests.

    The order of the fields is that of config.json and, within a group, of --help.
    """

    data: str = DATA(
        "../data/cifar10", "digits, a root of CIFAR, MNIST, ..., or a folder with train/ and val/", numbers.path
    )
    dataset: str = DATA("auto", "what --data holds", choice=True)
    train_images: int | None = DATA(
        None, "so many of train/, each class its share", numbers.positive_int, default_text="all"
    )
    num_class: int | None = DATA(None, "outputs of the network", numbers.positive_int, default_text="the data's")
    image_size: int | None = DATA(None, "side in pixels", numbers.pixels, default_text="32, large images 224")
    cutout: int | None = DATA(None, "side of the blanked square", numbers.count, default_text="half the image")
    flip: bool | None = DATA(None, "mirror at random", bool, default_text="not for digits and kana")
    bad_images: str = DATA("stop", "at an image that cannot be decoded", choice=True)
    cache: str = DATA("auto", "where decoded large images are kept", choice=True)
    workers: int = DATA(2, "processes that transform large images", numbers.count)

    save: str = RUN("EXP", "name of the run", numbers.save_name)
    result: str = RUN("result", "folder that runs are written to", numbers.path)
    seed: int = RUN(2, "all randomness derives from it", numbers.seed)

    batch_size: int = OPTIMISATION(EACH_SCRIPT, "images a step", numbers.positive_int)
    epochs: int = OPTIMISATION(
        EACH_SCRIPT, "passes over the training images; of a search 0: no supernet", numbers.count
    )
    momentum: float = OPTIMISATION(0.9, "of SGD", numbers.probability)
    weight_decay: float = OPTIMISATION(3e-4, "of SGD", numbers.non_negative)
    drop_prob: float | None = OPTIMISATION(
        None,
        "drop path at its end",
        numbers.probability,
        aliases=["droppath"],
        default_text="0.35, retraining on large images 0.5, a search of enas 0",
    )
    # Names of the published scripts, which parse the last rate and both T but use none of them.
    child_lr_max: float = OPTIMISATION(0.025, "first learning rate", numbers.positive)
    child_lr_min: float = OPTIMISATION(0.0, "the learning rate that cosine ends at", numbers.non_negative)
    child_lr_T_0: int = OPTIMISATION(10, "epochs to the first restart", numbers.positive_int)
    child_lr_T_mul: int = OPTIMISATION(2, "growth from restart to restart", numbers.positive_int)
    lr_schedule: str = OPTIMISATION("cosine", "over the epochs", choice=True)

    child_out_filters: int = NETWORK(EACH_SCRIPT, "channels of the first stage", numbers.filters)
    child_use_aux_heads: bool = NETWORK(True, "auxiliary heads", bool)
    space: str | None = NETWORK(
        None, "what architectures are made of", choice=True, default_text="the genotype's, else slnas"
    )
    blocks: tuple[int, ...] | None = NETWORK(
        None, "slnas: normal blocks of each stage", BLOCKS, default_text="the file's, else [4,4]"
    )
    layers: int | None = NETWORK(
        None, "other spaces: depth of the stack of cells", LAYERS, default_text="the space's own"
    )
    stem: str | None = NETWORK(None, "how the image is read", choice=True, default_text="by data set")
    sharing: str | None = NETWORK(
        None, "which blocks share an encoding", choice=True, default_text="the file's, else type"
    )
    antialias: str = NETWORK("conv", "where BlurPool is", choice=True)
    task: str = NETWORK(
        "classify", "what networks are trained for: labels, or in a search also what needs none", choice=True
    )

    device: str = RUN("auto", "auto, cpu, mps, or another device as torch names it")
    gpu: int | None = RUN(None, "number of the GPU, as the published scripts take it", numbers.count)
    report_freq: int = RUN(50, "steps between two lines", numbers.positive_int)
    tensorboard: bool = RUN(True, "write event files", bool)
    precision: str = RUN("auto", "auto: fp32 on a CPU", choice=True)
    amp_backend: str = RUN("torch", "of mixed precision", choice=True)
    opt_level: str | None = RUN(None, "apex's name for a precision", choice=True)
    deterministic: bool = RUN(
        False, "the same bits on every run, on a GPU too, which gets slower by it; a CPU does not", bool
    )
    tf32: bool = RUN(False, "on a GPU: faster, coarser float32 products", bool)
    resume: str | None = RUN(
        None,
        "go on with a run: its folder, its checkpoint, or auto: the newest by --save",
        numbers.path,
        metavar="PATH",
    )
    sync_bn: bool = RUN(False, "batch norm over all processes, on GPUs", bool)
    given: frozenset[str] = frozenset()  # names of the flags that are on the command line, whatever their values

    def defaults(self) -> dict[str, object]:
        """The flags of the same script as they are when none is given."""
        return {name: value for name, value in vars(type(self)()).items() if name != "given"}
