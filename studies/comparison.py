"""What a comparison of searchers says, and its files: study.json, the tables of study.md, and compare.png."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from studies.statistics import Paired, paired
from studies.tables import over_seeds, shown, table, write_study
from utils.reports import plots
from utils.reports.log import RunLog

PICTURE = "compare.png"
RANDOM, MEDIAN = "random", "median of random"

Traces = Mapping[str, Sequence[Mapping[str, Any]]]  # of each searcher, one a seed: see studies.frozen.search_frozen
Results = Mapping[str, Sequence[Mapping[str, Any]]]  # of each pick, one a seed: see studies.standalone.train_alone


def judge(
    settings: Mapping[str, Any], seeds: Sequence[int], measure: str, traces: Traces, results: Results
) -> dict[str, Any]:
    """The content of study.json."""
    alone = {
        name: {result: [found[f"valid/{result}"] for found in own] for result in (measure, "loss")}
        for name, own in results.items()
    }

    def against(other: str) -> dict[str, Any]:
        return {
            name: {result: paired(own[result], alone[other][result])._asdict() for result in (measure, "loss")}
            for name, own in alone.items()
            if name != other and (other == MEDIAN or name != MEDIAN)
        }

    return {
        "study": "compare",
        "settings": settings,
        "seeds": list(seeds),
        "measure": measure,
        "alone": alone,
        "picked": {name: [found["cells"] for found in own] for name, own in results.items()},
        "against random": against(RANDOM),
        "against median": against(MEDIAN),
        "searchers": {
            name: [
                {
                    "asked": trace["asked"],
                    "distinct": trace["distinct"],
                    "candidates": len(trace["candidates"]),
                    "mean_score": statistics.fmean(c["score"] for c in trace["candidates"]),
                    "best_score": trace["candidates"][0]["score"],
                    "first_entropy": trace["told"][0].get("entropy"),
                    "last_entropy": trace["told"][-1].get("entropy"),
                    "scores": trace["scores"],
                }
                for trace in own
            ]
            for name, own in traces.items()
        },
        "updates": {name: len(own[0]["told"]) for name, own in traces.items()},
    }


def write_comparison(log: RunLog, study: Mapping[str, Any]) -> None:
    """Write what a comparison found."""
    measure, said = study["measure"], []
    for name, own in study["alone"].items():
        p = study["against random"].get(name)
        tested = "" if p is None else f", against random {_tested(p[measure])}"
        said.append(f"{name}: {measure} alone {over_seeds(own[measure])}{tested}")
    write_study(log, study, PICTURE, lambda: picture(study), comparison_lines(study), said)


def comparison_lines(study: Mapping[str, Any]) -> list[str]:
    """study.md, line by line."""
    settings, measure, seeds = study["settings"], study["measure"], study["seeds"]
    searched = " ".join(f"`{k} {v}`" for k, v in settings["search"].items())
    alone = " ".join(f"`{k} {v}`" for k, v in settings["trained alone"].items() if k.startswith("--"))
    rows = []
    for name, own in study["alone"].items():
        row = [name, over_seeds(own[measure]), over_seeds(own["loss"])]
        traces = study["searchers"].get(name)
        for key in ("mean_score", "best_score"):
            row.append(shown(statistics.fmean(t[key] for t in traces) if traces else None))
        for key in ("candidates", "asked", "distinct"):
            row.append(f"{statistics.fmean(t[key] for t in traces):g}" if traces else "-")
        rows.append([*row, _entropies(traces)])
    head = ["pick of", f"{measure} alone", "loss alone", "mean score", "best score", "candidates"]
    lines = [
        "# Searchers on the same shared weights",
        "",
        f"Shared weights of seeds {seeds}, on uniform paths: {searched}. On each of them every searcher asked for "
        f"{settings['evaluations']} genotypes, and {settings['candidates']} were drawn from it and ranked on all "
        f"reward images. Its best one was trained alone with the same seed: {alone}.",
        "",
        *table([*head, "asked", "distinct", "entropy"], rows),
        "Results are mean ± std over seeds; scores, different candidates, genotypes asked for and different ones among",
        "these are means.",
        "",
    ]
    for other, tests in (("random", study["against random"]), (MEDIAN, study["against median"])):
        lines += _tests(other, tests, measure)
    return lines


def _tests(other: str, tests: Mapping[str, Any], measure: str) -> list[str]:
    """The paired tests of everything against one of the picks."""
    rows = [
        [name, result, f"{p['mean']:+.4g}", shown(p["std"]), shown(p["t_p"]), shown(p["wilcoxon_p"])]
        for name, found in tests.items()
        for result, p in ((result, found[result]) for result in (measure, "loss"))
    ]
    head = ["pick of", "result", "mean difference", "std", "p (Student's t)", "p (Wilcoxon)"]
    return [f"## Less the {other}, seed by seed", "", *table(head, rows)] if rows else []


def picture(study: Mapping[str, Any]) -> Any:
    """The best score so far against evaluations, and the mean score of each update, mean and std over seeds."""
    best: dict[str, list[list[tuple[float, float]]]] = {}
    mean: dict[str, list[list[tuple[float, float]]]] = {}
    for name, traces in study["searchers"].items():
        each = traces[0]["asked"] // study["updates"][name]
        best[name] = [list(enumerate(accumulate(trace["scores"], max), 1)) for trace in traces]
        mean[name] = [
            [(i + each, statistics.fmean(t["scores"][i : i + each])) for i in range(0, len(t["scores"]), each)]
            for t in traces
        ]
    panels = {"best score so far": best, "mean score of an update": mean}
    return plots.bands(panels, "evaluations", "score with shared weights (%)")


def _tested(test: Mapping[str, Any]) -> str:
    p = Paired(**test)
    return f"{p.mean:+.3g}, p {shown(p.t_p)} (t), {shown(p.wilcoxon_p)} (Wilcoxon), {p.pairs} pairs"


def _entropies(traces: Sequence[Mapping[str, Any]] | None) -> str:
    """What a policy began and ended with, in nats; nothing of searchers without one."""
    if not traces or traces[0]["first_entropy"] is None:
        return "-"
    first, last = (statistics.fmean(t[key] for t in traces) for key in ("first_entropy", "last_entropy"))
    return f"{first:.1f} to {last:.1f}"
