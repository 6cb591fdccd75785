"""What a comparison of searchers says, and its files: study.json, the tables of study.md, and compare.png.

``traces``: of each searcher, one a seed, see :func:`studies.searches.search_frozen`; ``results``: of each pick
likewise, see :func:`studies.trainings.train_alone`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

from studies.statistics import paired
from studies.tables import as_words, cell, over_seeds, table, write_study
from utils.reports import plots
from utils.reports.log import RunLog

RANDOM, MEDIAN = "random", "median of random"


def judge(
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    measure: str,
    traces: Mapping[str, Sequence[Mapping[str, Any]]],
    results: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """The content of study.json."""
    alone = {
        name: {key: [result[f"valid/{key}"] for result in of_seeds] for key in (measure, "loss")}
        for name, of_seeds in results.items()
    }

    def against(other: str) -> dict[str, Any]:
        return {
            name: {key: paired(values[key], alone[other][key])._asdict() for key in values}
            for name, values in alone.items()
            # The median is no searcher, and not tested against random.
            if name != other and (other == MEDIAN or name != MEDIAN)
        }

    return {
        "study": "compare",
        "settings": settings,
        "seeds": list(seeds),
        "measure": measure,
        "alone": alone,
        "picked": {name: [result["cells"] for result in of_seeds] for name, of_seeds in results.items()},
        "against random": against(RANDOM),
        "against median": against(MEDIAN),
        "searchers": {name: list(map(facts_of, of_seeds)) for name, of_seeds in traces.items()},
        "updates": {name: len(of_seeds[0]["told"]) for name, of_seeds in traces.items()},
    }


def facts_of(trace: Mapping[str, Any]) -> dict[str, Any]:
    """What study.json has of a search. Entropies, in nats, are those of searchers that have a policy."""
    scores = [candidate["score"] for candidate in trace["candidates"]]
    return {
        "asked": trace["asked"],
        "distinct": trace["distinct"],
        "candidates": len(scores),
        "mean_score": statistics.fmean(scores),
        "best_score": scores[0],
        "first_entropy": trace["told"][0].get("entropy"),
        "last_entropy": trace["told"][-1].get("entropy"),
        "scores": trace["scores"],
    }


def write_comparison(log: RunLog, study: Mapping[str, Any]) -> None:
    """Write the study, and say what each pick reached and how that differs from random ones."""
    measure, summary = study["measure"], []
    for name, results in study["alone"].items():
        line = f"{name}: {measure} alone {over_seeds(results[measure])}"
        if name in study["against random"]:
            p = study["against random"][name][measure]
            tests = f"p {cell(p['t_p'])} (t), {cell(p['wilcoxon_p'])} (Wilcoxon), {p['pairs']} pairs"
            line += f", against random {p['mean']:+.3g}, {tests}"
        summary.append(line)
    lines, draw = comparison_lines(study), partial(picture, study)
    write_study(log, study, picture="compare.png", draw=draw, lines=lines, summary=summary)


def comparison_lines(study: Mapping[str, Any]) -> list[str]:
    """study.md, line by line."""
    settings, measure, rows = study["settings"], study["measure"], []
    facts = ("mean_score", "best_score", "candidates", "asked", "distinct", "first_entropy", "last_entropy")
    for name, results in study["alone"].items():
        of_seeds = study["searchers"].get(name, [])
        columns = [[one[key] for one in of_seeds if one[key] is not None] for key in facts]
        # A pick without a search has no facts.
        means = [statistics.fmean(column) if column else None for column in columns]
        rows.append([name, over_seeds(results[measure]), over_seeds(results["loss"]), *means])
    lines = [
        "# Searchers on the same shared weights",
        "",
        f"Shared weights of seeds {study['seeds']}, on uniform paths: {as_words(settings['search'])}. On each of them "
        f"every searcher asked for {settings['evaluations']} genotypes, and {settings['candidates']} were drawn from "
        "it and ranked on all reward images. Its best one was trained alone with the same seed: "
        f"{as_words(settings['trained alone'])}.",
        "",
        *table(["pick of", f"{measure} alone", "loss alone", *(key.replace("_", " ") for key in facts)], rows),
        "Results are mean ± std over seeds, and all else is a mean (docs/studies.md, section 18).",
        "",
    ]
    head = ["pick of", "result", "mean difference", "std", "p (Student's t)", "p (Wilcoxon)"]
    # Seed by seed, as weights of one seed may be better for all searchers than those of another.
    for other in ("random", "median"):
        tests = [
            [name, key, f"{p['mean']:+.4g}", p["std"], p["t_p"], p["wilcoxon_p"]]
            for name, by_result in study[f"against {other}"].items()
            for key, p in by_result.items()
        ]
        lines += [f"## Less the {other}, seed by seed", "", *table(head, tests)] if tests else []
    return lines


def picture(study: Mapping[str, Any]) -> Any:
    """The best score so far against evaluations, and the mean score of each update, mean and std over seeds."""
    best, mean = {}, {}
    for name, of_seeds in study["searchers"].items():
        # genotypes of an update
        each = of_seeds[0]["asked"] // study["updates"][name]
        columns = [one["scores"] for one in of_seeds]
        # (evaluations so far, best score).
        best[name] = [list(enumerate(accumulate(scores, max), 1)) for scores in columns]
        mean[name] = [
            [(i + each, statistics.fmean(scores[i : i + each])) for i in range(0, len(scores), each)]
            for scores in columns
        ]
    panels = {"best score so far": best, "mean score of an update": mean}
    return plots.bands(panels, "evaluations", "score with shared weights (%)")
