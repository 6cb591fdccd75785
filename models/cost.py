"""What the network of a genotype costs, as one JSON object (docs/strategies.md, section 10).

    python -m models.cost --space darts --arch DARTS_V2 --child_out_filters 36 --layers 20 --num_class 10

``parameters`` without auxiliary heads, ``aux_parameters`` of those, and ``macs`` of one image. Nothing is computed:
networks are built on the meta device.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch

from models.dense_heads import map_widths
from models.heads import Features
from models.network import Network
from models.parts import Cost, cells_cost, measured
from models.plan import CellPlan
from models.spec import NetworkSpec
from models.stems import STEMS, stem_size
from models.stored import chosen_candidate
from models.structures import STRUCTURES
from ops.genotype import MAX_BLOCKS, MAX_STAGES, SHARINGS, Genotype, GenotypeError
from ops.primitives import ANTIALIAS
from ops.space import SPACES
from utils.system import numbers
from utils.system.command import short_command
from utils.system.terminal import OneLineParser, say


def network_cost(genotype: Genotype, spec: NetworkSpec, image_size: int) -> Cost:
    """The cost of ``Network.of(genotype, spec)`` on square images, without auxiliary heads.

    It is summed over parts, each of which is measured once: a network is never built.
    """
    genotype.require_fit(spec.blocks)
    structure = STRUCTURES[spec.space]
    plans = structure.plan(spec, genotype)
    # Auxiliary heads are left out: they are for training alone, and never deployed.
    cells = cells_cost(plans, lambda plan: structure.parts(plan, spec, genotype), spec, image_size)
    return cells + _head(replace(spec, aux=False), plans, image_size)


@cache
def _head(spec: NetworkSpec, plans: tuple[CellPlan, ...], image_size: int) -> Cost:
    """The cost of the main head, which may read maps of every stride."""
    with torch.device("meta"):
        head, _ = STRUCTURES[spec.space].head(spec.head)(spec, plans)
    # An empty map for each resolution: on the meta device shapes are all that counts.
    size, maps = stem_size(spec.stem, image_size), {}
    for stride, width in map_widths(spec, plans).items():
        maps[stride] = torch.empty(1, width, size, size, device="meta")
        size = spec.halved(size)
    features = Features(maps[max(maps)], [], maps)
    return measured(head, features)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser("python -m models.cost", description="Cost of a network.", allow_abbrev=False)
    parser.add_argument("--arch", required=True, help="a JSON list, a genotypes.json, or a published name")
    parser.add_argument("--space", choices=tuple(SPACES), help="that the genotype is of (default: as it says)")
    parser.add_argument("--child_out_filters", type=numbers.filters, default=36, help="default: %(default)s")
    layers = numbers.whole(1, MAX_BLOCKS)
    parser.add_argument("--layers", type=layers, help="of a space that stacks cells (default: its own)")
    parser.add_argument("--blocks", type=numbers.counts(MAX_BLOCKS, MAX_STAGES), help="of the other (default: [4,4])")
    parser.add_argument("--sharing", choices=tuple(SHARINGS), help="default: as the file says, else type")
    parser.add_argument("--num_class", type=numbers.positive_int, default=10, help="default: %(default)s")
    parser.add_argument("--image_size", type=numbers.pixels, default=32, help="default: %(default)s")
    parser.add_argument("--stem", choices=tuple(STEMS), help="default: by the size of the images")
    parser.add_argument("--antialias", choices=tuple(ANTIALIAS), default="conv", help="default: %(default)s")
    return parser


def cost_of(args: argparse.Namespace) -> dict[str, int]:
    """What the command prints. Raises UsageError or GenotypeError."""
    candidate = chosen_candidate(args.arch, args.sharing, args.blocks, layers=args.layers, space=args.space)
    genotype = candidate.genotype
    # Images above 64 pixels count as large.
    stem = args.stem or STRUCTURES[genotype.space].stem(args.image_size > 64, in_search=False)
    spec = NetworkSpec(
        blocks=candidate.blocks,
        filters=args.child_out_filters,
        num_classes=args.num_class,
        stem=stem,
        antialias=args.antialias,
        space=genotype.space,
    )
    spec.require_size(args.image_size)
    # Built on the meta device: nothing is computed, and no memory is taken.
    with torch.device("meta"):
        aux = Network.of(genotype, spec).num_aux_parameters
    cost = network_cost(genotype, spec, args.image_size)
    return {"parameters": cost.parameters, "aux_parameters": aux, "macs": cost.macs}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is 0 when done and 2 for wrong use."""
    return short_command("models.cost", lambda: say(json.dumps(cost_of(_parser().parse_args(argv)))), GenotypeError)


if __name__ == "__main__":
    sys.exit(main())
