"""How well scores without training rank all networks of NAS-Bench-201, which others have trained.

    python -m studies.zero_cost --save nb201 --rankers parameters,macs,synflow --genotypes 15625 --jobs 2

Networks are built with fresh weights, and those rankers that read no images score them (docs/studies.md, section 27).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from scipy import stats

from engine.pieces import Maker, Piece
from models.deployment import Deployment
from models.parts import Cost
from models.proxies import ProxyError, ProxyRanker
from models.spec import NetworkSpec
from ops.genotype import Genotype
from ops.space import NASBENCH201
from studies.study import STUDY, StudyConfig, names_in, run_study
from studies.table_reader import SHIPPED, Table, read_table
from studies.tables import table, write_study
from utils.config.flags import flag
from utils.reports import plots
from utils.reports.log import RunLog
from utils.system import numbers
from utils.system.errors import UsageError
from utils.system.signals import StopRequest

WITHOUT_IMAGES = ("parameters", "macs", "synflow")
A_PIECE = 500  # networks
SPEC = NetworkSpec((5, 5, 5), 16, 10, "single", aux=False, space=NASBENCH201.name)  # as they were trained
ABOUT = {
    "prog": "python -m studies.zero_cost",
    "about": "Compare scores without training with the networks of NAS-Bench-201.",
    "example": "python -m studies.zero_cost --save nb201 --genotypes 1000 --jobs 2",
}


@dataclass(frozen=True, kw_only=True)
class ZeroCostConfig(StudyConfig):
    """The flags of this study."""

    rankers: str = flag(",".join(WITHOUT_IMAGES), "names with commas", STUDY)
    genotypes: int = flag(1000, "how many of 15,625, drawn without replacement; more can be added", STUDY,
                          type=numbers.whole(10, 15625))  # fmt: skip
    seed: int = flag(0, "of the draw and of the networks", STUDY, type=numbers.seed)
    judged_by: str = flag("cifar10_test", "the measure of the table", STUDY)


@dataclass(frozen=True)
class Study:
    """What is to be done: scores of genotypes in the order in which they are drawn."""

    config: ZeroCostConfig
    rankers: tuple[str, ...]
    networks: Table
    genotypes: list[tuple[int, ...]]
    settings: Mapping[str, Any]


def prepare(config: ZeroCostConfig, _stop: StopRequest) -> Study:
    """Refuse what cannot be compared, and draw the genotypes."""
    if config.rest:
        raise UsageError("nothing stands behind --: no script is run")
    rankers = names_in("rankers", config.rankers, WITHOUT_IMAGES)
    networks = read_table(SHIPPED)
    networks.require_measures({"judged_by": config.judged_by})
    generator = torch.Generator().manual_seed(config.seed)
    encodings = list(networks.rows)
    order = torch.randperm(len(encodings), generator=generator).tolist()
    genotypes = [encodings[i] for i in order[: config.genotypes]]
    return Study(config, rankers, networks, genotypes, {"seed": config.seed, "network": SPEC.as_plain()})


def scores(ranker: str, genotypes: Sequence[tuple[int, ...]], seed: int) -> dict[str, Any]:
    """The content of a piece: what a ranker gives each network."""
    torch.set_num_threads(1)  # small maps; --jobs has the other processors
    deployment = Deployment(SPEC, NASBENCH201.sharing, 32)
    rank = ProxyRanker(ranker, deployment, seed, torch.ones(1, 3, 32, 32))

    def score(encoding: tuple[int, ...]) -> float | None:
        genotype = Genotype((encoding,), NASBENCH201.sharing, NASBENCH201.name)
        if ranker in Cost._fields:  # counted without building the network: the same number, much faster
            return float(getattr(deployment.cost(genotype), ranker))
        try:
            return rank(genotype)
        except ProxyError:  # zeros cut every way through the network: it has no score, and the lowest rank
            return None

    return {"scores": [score(encoding) for encoding in genotypes]}


def work(study: Study, log: RunLog, make_pieces: Maker) -> None:
    """Score all networks, and write how their order agrees with what was trained."""
    config, n = study.config, len(study.genotypes)
    pieces = {
        name: [
            Piece(
                log.folder / "scores" / f"{name}-{first}-{min(first + A_PIECE, n)}.json",
                partial(scores, name, study.genotypes[first : first + A_PIECE], config.seed),
            )
            for first in range(0, n, A_PIECE)
        ]
        for name in study.rankers
    }
    true = [study.networks.measure(genotype, config.judged_by) for genotype in study.genotypes]
    rows, panels = {}, {}
    for name, row in pieces.items():
        values = [value for content in make_pieces(row) for value in content["scores"]]
        finite = [value for value in values if value is not None]
        lowest = min(finite) - 1
        values = [lowest if value is None else value for value in values]
        rows[name] = {
            "spearman": float(stats.spearmanr(values, true).statistic),
            "kendall": float(stats.kendalltau(values, true).statistic),
            "without_score": n - len(finite),
        }
        panels[name] = {"": list(zip(values, true, strict=True))}
    document = {
        "study": "zero_cost",
        "settings": {**study.settings, "genotypes": n, "judged_by": config.judged_by},
        "rankers": rows,
    }
    head = ["ranker", "Spearman's rho", "Kendall's tau", "without a score"]
    lines = [
        "# Scores without training on NAS-Bench-201",
        "",
        f"{n} networks with fresh weights of seed {config.seed}, against {config.judged_by} after 12 epochs.",
        "",
        *table(head, [[name, *row.values()] for name, row in rows.items()]),
    ]
    write_study(
        log,
        document,
        picture="zero_cost.png",
        draw=lambda: plots.panels(panels, config.judged_by),
        lines=lines,
        summary=[f"{name}: rho {row['spearman']:.3f}, tau {row['kendall']:.3f}" for name, row in rows.items()],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study; see --help."""
    return run_study(ZeroCostConfig, argv, prepare, work, **ABOUT)


if __name__ == "__main__":
    sys.exit(main())
