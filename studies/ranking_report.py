"""What a study of rankings says, and its files: study.json, the tables of study.md, and ranking.png.

``alone``: results by measure, (genotypes, seeds), higher is better (docs/studies.md, section 17).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from engine.pieces import key_of
from ops.genotype import Genotype
from studies.statistics import kendall_tau, true_ranks
from studies.tables import as_words, cell, table, write_study
from utils.reports import plots
from utils.reports.log import RunLog

BY_LOSS = "shared (loss)"  # a ranking by the shared weights; of several searches a name follows
BEST = 5  # by score, whose true ranks are given


def higher_is_better(results: Sequence[Sequence[Mapping[str, Any]]], measure: str) -> dict[str, list[list[float]]]:
    """The measure of trainings, and minus their loss. ``results``: of every genotype and seed."""
    signs = {measure: 1, "loss": -1}
    return {name: [[sign * one[f"valid/{name}"] for one in row] for row in results] for name, sign in signs.items()}


def means(values: Sequence[Sequence[float]]) -> list[float]:
    """The mean over seeds of each genotype."""
    return [statistics.fmean(row) for row in values]


def judge(
    measure: str,
    seeds: Sequence[int],
    seed: int,
    genotypes: Sequence[Genotype],
    results: Sequence[Sequence[Mapping[str, Any]]],
    rankings: Mapping[str, Sequence[float]],
) -> dict[str, Any]:
    """What study.json has of trainings and how each ranking, scores of the genotypes by name, agrees with them.

    ``results``: of every genotype and seed of ``seeds``; ``seed``: of the intervals.
    """
    alone = higher_is_better(results, measure)
    return {
        "seeds": list(seeds),
        "measure": measure,
        "alone": {name: spread(values) for name, values in alone.items()},
        "floor": {name: noise_floor(values) for name, values in alone.items()},
        "rankers": {
            ranker: {
                name: {
                    "tau": kendall_tau(means(values), scores, seed=seed),
                    "true_ranks": true_ranks(means(values), scores, BEST),
                }
                for name, values in alone.items()
            }
            for ranker, scores in rankings.items()
        },
        "between": mean_tau([scores for ranker, scores in rankings.items() if ranker.startswith(BY_LOSS)]),
        # With their scores, so that a table can be made anew without any training.
        "genotypes": [
            {"key": key_of(genotype), "scores": {name: scores[i] for name, scores in rankings.items()}, "alone": row}
            for i, (genotype, row) in enumerate(zip(genotypes, results, strict=True))
        ],
    }


def spread(values: Sequence[Sequence[float]]) -> dict[str, float | None]:
    """How much genotypes differ, by their means over seeds, and ``noise``: the std between seeds of one genotype."""
    by_mean, several = means(values), len(values[0]) > 1
    # The noise is pooled: the root of the mean variance, not the mean of the stds, which would be too small.
    return {
        "mean": statistics.fmean(by_mean),
        "std": statistics.stdev(by_mean),
        "lowest": min(by_mean),
        "highest": max(by_mean),
        "noise": math.sqrt(statistics.fmean(statistics.variance(row) for row in values)) if several else None,
    }


def noise_floor(values: Sequence[Sequence[float]]) -> dict[str, float | None] | None:
    """How well one seed ranks as another does, and what that says of the mean over all seeds; None for one seed.

    ``tau``: mean over pairs of seeds. ``reliability``: of the mean over k seeds by Spearman-Brown,
    k r / (1 + (k - 1) r), r being the mean of Pearson's correlation over pairs of seeds, which is what that formula is
    about. ``ceiling``: the tau that a perfect ranker could expect against these means if values and noise were normal,
    2/pi arcsin(sqrt(reliability)).
    """
    by_seed, seeds = list(zip(*values, strict=True)), len(values[0])  # (seeds, genotypes)
    tau = mean_tau(by_seed)
    if tau is None or math.isnan(tau):  # the results of a seed are all equal
        return None
    r = statistics.fmean(float(np.corrcoef(a, b)[0, 1]) for a, b in combinations(by_seed, 2))
    reliability = seeds * r / (1 + (seeds - 1) * r) if r > 0 else None  # the formula is for seeds that agree
    # Rounding may give a little more than 1.
    ceiling = None if reliability is None else 2 / math.pi * math.asin(math.sqrt(min(reliability, 1.0)))
    return {"tau": tau, "r": r, "reliability": reliability, "ceiling": ceiling}


def mean_tau(rankings: Sequence[Sequence[float]]) -> float | None:
    """How alike several rankings of the same genotypes are: the mean tau over their pairs; None for a single one."""
    taus = [float(stats.kendalltau(a, b).statistic) for a, b in combinations(rankings, 2)]
    return statistics.fmean(taus) if taus else None


def write_ranking(log: RunLog, study: Mapping[str, Any]) -> None:
    """Write the study; its picture has the shared weights of each search by loss, and the best ranker without them."""
    measure, taus = study["measure"], {}
    for name, by_result in study["rankers"].items():
        taus[name] = {key: of["tau"] for key, of in by_result.items()}
    shared = [name for name in taus if name.startswith(BY_LOSS)]
    others = [name for name in taus if not name.startswith("shared (") and taus[name][measure] is not None]
    best = sorted(others, key=lambda name: -taus[name][measure][0])[:1]
    write_study(
        log,
        study,
        picture="ranking.png",
        draw=lambda: scatter(study, shared + best),
        lines=ranking_lines(study),
        summary=[
            f"{name}: tau " + ", ".join(f"{cell(tau)} by {key}" for key, tau in t.items()) for name, t in taus.items()
        ],
    )


def ranking_lines(study: Mapping[str, Any]) -> list[str]:
    """study.md, line by line."""
    n, seeds, settings = len(study["genotypes"]), study["seeds"], study["settings"]
    lines = [
        "# Rankings against trainings from scratch",
        "",
        f"{n} {settings['population']} genotypes, each trained alone with seeds {seeds}: {as_words(settings)}.",
        "",
        *alone_lines(study),
        *agreement_lines(study),
    ]
    if study["between"] is not None:
        lines += [
            "",
            f"The shared weights of two searches rank these genotypes alike with a tau of {cell(study['between'])},",
            "by loss, the mean over all pairs. Where they agree with one another but not with what is trained alone, a",
            "bias of sharing limits the ranking, and more weights of the same kind would not mend it.",
        ]
    return lines


def alone_lines(study: Mapping[str, Any]) -> list[str]:
    """Spread and noise of the results of trainings from scratch."""
    rows = []
    for name in study["alone"]:
        # The loss is kept as minus the loss, higher is better; here it stands as it is known.
        alone, floor, sign = study["alone"][name], study["floor"][name] or {}, -1 if name == "loss" else 1
        ends = sorted(sign * alone[end] for end in ("lowest", "highest"))  # the sign turns lowest into highest
        values = [sign * alone["mean"], alone["std"], *ends, alone["noise"]]
        rows.append([f"valid/{name}", *values, *(floor.get(key) for key in ("tau", "reliability", "ceiling"))])
    head = ["", "mean", "std", "lowest", "highest", "noise", "tau between seeds", "reliability", "ceiling"]
    lines = ["## Trained alone", "", *table(head, rows)]
    if len(study["seeds"]) < 2:
        lines += ["One seed: nothing is known of the noise, and no tau below has a floor to be read against.", ""]
    return lines


def agreement_lines(study: Mapping[str, Any]) -> list[str]:
    """How each ranker agrees with the results, a table for each of them."""
    lines = []
    for name in study["alone"]:
        order = "lowest" if name == "loss" else "highest"
        of_rankers = {ranker: by_result[name] for ranker, by_result in study["rankers"].items()}
        rows = [[ranker, a["tau"], " ".join(map(str, a["true_ranks"]))] for ranker, a in of_rankers.items()]
        lines += [f"## Against the mean {name}, the {order} first", ""]
        lines += table(["score", "Kendall's tau", f"true ranks of its best {BEST}"], rows)
    return [*lines, f"What the columns are: docs/studies.md, section 17; ranks are of {len(study['genotypes'])}."]


def scatter(study: Mapping[str, Any], rankers: Sequence[str]) -> Any:
    """The scores of some rankers against the result of training from scratch."""
    measure, genotypes, panels = study["measure"], study["genotypes"], {}
    # Recomputed: a study.json has results by seed.
    true = means(higher_is_better([g["alone"] for g in genotypes], measure)[measure])
    for name in rankers:
        tau = study["rankers"][name][measure]["tau"]
        axis = "\n".join([*name.split(", "), f"tau {cell(tau)}"])  # the name of a search stands in a line of its own
        panels[axis] = {"": [(g["scores"][name], value) for g, value in zip(genotypes, true, strict=True)]}
    return plots.panels(panels, f"{measure} alone")
