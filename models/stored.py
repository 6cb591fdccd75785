"""Networks out of checkpoints: the trained one, the cells that it has, and the weights that a supernet passes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.network import Network, stored_genotype
from models.supernet import SuperNet
from ops.genotype import Candidate, read_candidate
from ops.space import SPACES
from utils.system import checkpoint
from utils.system.checkpoint import CheckpointError
from utils.system.errors import UsageError


def trained_network(state: Mapping[str, Any], path: Path) -> Network:
    """The network of a checkpoint, with the weights that are to be evaluated. Raises CheckpointError."""
    if state.get("kind") != "retrain":
        raise CheckpointError(f"{path} is no checkpoint of a retraining")
    with checkpoint.fitting(path):
        network = Network.from_arguments(state["network"])
        # The average takes the place of the parameters, beside the statistics of the last epoch.
        weights = checkpoint.fitted(network, state["model"], path)
        average = state["extras"].get("average")
        if average is not None:  # of parameters; statistics are not averaged
            averaged = checkpoint.fitted(network, average["weights"], "the average of weights")
            weights |= {name: averaged[name] for name, _ in network.named_parameters()}
        network.load_state_dict(weights)
    return network


def stored_candidate(state: Mapping[str, Any]) -> Candidate:
    """The genotype and the blocks of a checkpoint's network."""
    return Candidate(stored_genotype(state["network"]), tuple(state["network"]["blocks"]))


def kept_candidate(
    arch: str, sharing: str | None, state: Mapping[str, Any], path: Path, space: str | None = None
) -> Candidate:
    """What a run goes on with: the cells that its checkpoint at ``path`` has weights for, whatever ``arch`` holds now.

    Raises UsageError for an ``arch`` that was not the run's and holds another network.
    """
    with checkpoint.fitting(path):
        kept = stored_candidate(state)
        is_new = arch != state["flags"]["arch"]
    # The file behind the same --arch may have been moved or edited since: it is not looked at.
    if is_new and read_candidate(arch, sharing, kept.blocks, space).genotype != kept.genotype:
        raise UsageError(f"--arch {arch} is another network than that of the run that --resume goes on with")
    return kept


def chosen_candidate(
    arch: str, sharing: str | None, blocks: Sequence[int] | None, *, layers: int | None = None, space: str | None = None
) -> Candidate:
    """What a new run trains: what ``arch`` says, as deep as the space has it where neither it nor the user says.

    ``blocks``: of a network of stages, ``layers``: of a stack. Raises UsageError for the one that it does not have.
    """
    # Without blocks: a file may state others than the user gives.
    candidate = read_candidate(arch, sharing, None, space)
    space = SPACES[candidate.genotype.space]
    if space.stacked and blocks is not None:
        raise UsageError(f"--blocks: networks of the space {space.name} are one stack of cells: give --layers")
    if not space.stacked and layers is not None:
        raise UsageError(f"--layers: networks of the space {space.name} have stages of cells: give --blocks")
    depth = (layers,) if layers is not None else blocks
    blocks = tuple(depth) if depth is not None else candidate.blocks or space.depths[1]
    candidate.genotype.require_fit(blocks)
    return Candidate(candidate.genotype, blocks)


def inherit_weights(network: Network, state: Mapping[str, Any], run: Path, path: Path) -> None:
    """Give the network the weights that the supernet in a search's checkpoint holds for its genotype.

    ``run``: as the user named it; ``path``: of the checkpoint. Raises CheckpointError.
    """
    with checkpoint.fitting(path):
        supernet = SuperNet.from_arguments(state["network"])
        checkpoint.load_weights(supernet, state["model"], path)
    # Whatever both state must agree: filters, blocks, stem, head and the like.
    mine, theirs = network.arguments(), supernet.arguments()
    differing = [key for key in mine if key in theirs and mine[key] != theirs[key]]
    if differing:
        named = ", ".join(f"{key} {theirs[key]} there but {mine[key]} here" for key in differing)
        raise CheckpointError(f"--inherit {run}: the search has another network: {named}")
    network.load_state_dict(supernet.inherit(network.genotype).state_dict())


def require_same_cells(arch: str, sharing: str | None, state: Mapping[str, Any], path: Path) -> None:
    """Refuse an ``--arch`` that is not the network in the checkpoint at ``path``. Raises UsageError."""
    with checkpoint.fitting(path):
        trained = stored_candidate(state)
    if read_candidate(arch, sharing, trained.blocks).genotype != trained.genotype:
        raise UsageError(f"--arch {arch} is another network than that of {path}, which --evaluate measures")
