"""Networks out of checkpoints: the trained one, the cells that it has, and the weights that a supernet passes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.network import Network
from models.supernet import SuperNet
from ops.genotype import Candidate, Genotype, GenotypeError, read_candidate
from utils.system import checkpoint
from utils.system.checkpoint import CheckpointError
from utils.system.errors import UsageError


def trained_network(state: Mapping[str, Any], path: Path) -> Network:
    """The network of a checkpoint, with the weights that are to be evaluated. Raises CheckpointError."""
    if state.get("kind") != "retrain":
        raise CheckpointError(f"{path} is no checkpoint of a retraining")
    with checkpoint.fitting(path):
        network = Network.from_arguments(state["network"])
        weights = checkpoint.fitted(network, state["model"], path)
        average = state["extras"].get("average")
        if average is not None:  # of parameters; statistics are not averaged
            averaged = checkpoint.fitted(network, average["weights"], "the average of weights")
            weights |= {name: averaged[name] for name, _ in network.named_parameters()}
        network.load_state_dict(weights)
    return network


def stored_candidate(state: Mapping[str, Any]) -> Candidate:
    """The genotype and the blocks of a checkpoint's network."""
    network = state["network"]
    space = network.get("space", "slnas")
    return Candidate(Genotype.from_lists(network["cells"], network["sharing"], space), tuple(network["blocks"]))


def kept_candidate(
    arch: str, sharing: str | None, state: Mapping[str, Any], path: Path, note: Callable[[str], None]
) -> Candidate:
    """What a run goes on with: the cells that its checkpoint at ``path`` has weights for, whatever ``arch`` holds now.

    Raises UsageError for an ``arch`` that was not the run's and holds another network.
    """
    with checkpoint.fitting(path):
        kept = stored_candidate(state)
        anew = arch != state["flags"]["arch"]
    try:
        same = read_candidate(arch, sharing, kept.blocks).genotype == kept.genotype
    except GenotypeError:
        if anew:
            raise
        same = False
    if anew and not same:
        raise UsageError(f"--arch {arch} is another network than that of the run that --resume goes on with")
    if not same:
        note(f"{arch} does not hold the run's network any more: going on with the checkpoint's")
    return kept


def chosen_candidate(arch: str, sharing: str | None, blocks: Sequence[int] | None, default: Sequence[int]) -> Candidate:
    """What a new run trains: what ``arch`` says, with ``default`` where neither it nor ``blocks`` says how many."""
    candidate = read_candidate(arch, sharing, blocks)
    blocks = candidate.blocks or tuple(default)
    candidate.genotype.require_fit(blocks)
    return Candidate(candidate.genotype, blocks)


def inherit_weights(network: Network, state: Mapping[str, Any], run: Path, path: Path) -> None:
    """Give the network the weights that the supernet in a search's checkpoint holds for its genotype.

    ``run``: as the user named it; ``path``: of the checkpoint. Raises CheckpointError.
    """
    with checkpoint.fitting(path):
        supernet = SuperNet.from_arguments(state["network"])
        checkpoint.load_weights(supernet, state["model"], path)
    mine, theirs = network.arguments(), supernet.arguments()
    differing = [key for key in mine if key in theirs and mine[key] != theirs[key]]
    if differing:
        named = ", ".join(f"{key} {theirs[key]} there but {mine[key]} here" for key in differing)
        raise CheckpointError(f"--inherit {run}: the search has another network: {named}")
    network.load_state_dict(supernet.inherit(network.genotype).state_dict())


def require_same_cells(arch: str, sharing: str | None, state: Mapping[str, Any], path: Path) -> None:
    """Refuse an ``--arch`` that is not the network in the checkpoint at ``path``. Raises UsageError."""
    with checkpoint.fitting(path):
        own = stored_candidate(state)
    if read_candidate(arch, sharing, own.blocks).genotype != own.genotype:
        raise UsageError(f"--arch {arch} is another network than that of {path}, which --evaluate measures")
