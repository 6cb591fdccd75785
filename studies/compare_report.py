"""What a comparison of methods says, and its files: study.json, the tables of study.md, and compare.png."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from studies.statistics import paired
from studies.tables import as_words, cell, over_seeds, table, write_study
from utils.reports import plots
from utils.reports.log import RunLog

RANDOM = "random"  # the search that learns nothing
DRAWN = "random genotype, "  # and the space: what is trained without a search
OF_SEARCH = ("epochs", "search_s", "derive_s", "images", "derive_images")


def judge(
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    measure: str,
    searches: Mapping[str, Sequence[Mapping[str, Any]]],
    results: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """The content of study.json: lists are by seed.

    ``searches``: of each method, see :func:`studies.searches.search_method`; ``results``: trainings of what these
    found and of the random genotypes, see :func:`studies.compare.train`.
    """
    rows = {}
    for name, of_seeds in results.items():
        winners = searches.get(name, ())
        rows[name] = {  # a list is by seed
            "space": of_seeds[0]["genotype"]["space"],
            "genotypes": [one["genotype"] for one in of_seeds],
            measure: [one[f"valid/{measure}"] for one in of_seeds],
            "loss": [one["valid/loss"] for one in of_seeds],
            **{key: [one[key] for one in of_seeds] for key in ("parameters", "filters", "macs", "agrees")},
            "train_s": [one["seconds"] for one in of_seeds],
            **{key: [one[key] for one in winners] for key in (*OF_SEARCH, "nao") if winners and key in winners[0]},
        }
    for name, row in rows.items():
        chance = DRAWN + row["space"]
        row["less_random"] = [a - b for a, b in zip(row[measure], rows[chance][measure], strict=True)]
        # Seed by seed: what a method adds to its space, and what it adds to a search that learns nothing.
        others = [other for other in (chance, RANDOM) if name in searches and other in rows and other != name]
        row["against"] = {
            other: {key: paired(row[key], rows[other][key])._asdict() for key in (measure, "loss")}
            for other in (others if len(seeds) > 1 else ())
        }
    return {"study": "compare", "settings": settings, "seeds": list(seeds), "measure": measure, "methods": rows}


def write_comparison(log: RunLog, study: Mapping[str, Any]) -> None:
    """Write the study, and say what the winners of each method reached."""
    measure, summary = study["measure"], []
    for name, row in study["methods"].items():
        line = f"{name}: {measure} alone {over_seeds(row[measure])}, {_mean(row, 'parameters')} parameters"
        for other, tests in row["against"].items():
            test = tests[measure]
            line += f"; less {other} {test['mean']:+.3g}, p {cell(test['t_p'])} (t, {test['pairs']} pairs)"
        summary.append(line)
    lines, draw = comparison_lines(study), partial(picture, study)
    write_study(log, study, picture="compare.png", draw=draw, lines=lines, summary=summary)


def comparison_lines(study: Mapping[str, Any]) -> list[str]:
    """study.md, line by line."""
    settings, measure, seeds = study["settings"], study["measure"], study["seeds"]
    head = ["", "space", f"{measure} alone", "less random", "loss alone", "filters", "parameters", "MACs", "epochs"]
    head += ["search s", "derivation s", "training s", "images", "of derivation"]
    means = ("parameters", "macs", "epochs", "search_s", "derive_s", "train_s", "images", "derive_images")
    rows, misses = [], []
    for name, row in study["methods"].items():
        results = [over_seeds(row[key]) for key in (measure, "less_random", "loss")]
        filters = ", ".join(map(str, sorted(set(row["filters"]))))
        rows.append([name, row["space"], *results, filters, *(_mean(row, key) for key in means)])
        # Further than 10 % from what was wanted.
        off = [p for p, agrees in zip(row["parameters"], row["agrees"], strict=True) if not agrees]
        if off:
            misses += [f"Of {name}, {len(off)} of {len(seeds)} come no nearer than 10 %: {off} parameters.", ""]
    tests = [
        [name, other, key, f"{test['mean']:+.4g}", test["std"], test["t_p"], test["wilcoxon_p"]]
        for name, row in study["methods"].items()
        for other, by_result in row["against"].items()
        for key, test in by_result.items()
    ]
    tests_head = ["", "less", "result", "mean difference", "std", "p (Student's t)", "p (Wilcoxon)"]
    wide = "with the filters of the search"
    if settings["parameters"]:
        wide = f"as wide as gives {settings['parameters']:g} parameters"
    by_seed = [[name, *row[measure]] for name, row in study["methods"].items()]
    return [
        "# Methods, each as its own search of the same budget",
        "",
        f"Every method searched with seeds {seeds} and a budget of {settings['budget']} each; its winner was "
        f"trained from scratch with the seed of its search, {wide}: "
        f"{as_words(settings['trained alone'])}.",
        "",
        *table(head, rows),
        "Results are mean ± std over seeds, and all else is a mean (docs/studies.md, section 18).",
        "",
        *misses,
        *(["## Differences, seed by seed", "", *table(tests_head, tests)] if tests else []),
        "## Searches",
        "",
        *(f"- {name}: {as_words(words)}" for name, words in settings["searches"].items()),
        "",
        "## Seed by seed",
        "",
        *table([f"{measure} alone", *map(str, seeds)], by_seed),
    ]


def picture(study: Mapping[str, Any]) -> Any:
    """Every result against what it cost: the seconds of search and derivation, and the MACs of the network."""
    measure, rows = study["measure"], study["methods"]
    searched = {  # (seconds, result) of every seed
        name: list(zip(map(sum, zip(row["search_s"], row["derive_s"], strict=True)), row[measure], strict=True))
        if "search_s" in row
        else [(0.0, value) for value in row[measure]]  # without a search
        for name, row in rows.items()
    }
    macs = {name: list(zip(row["macs"], row[measure], strict=True)) for name, row in rows.items()}
    return plots.panels({"seconds of search": searched, "MACs of the network": macs}, f"{measure} alone")


def _mean(row: Mapping[str, Any], key: str) -> str:
    """A mean over seeds; a dash for what a genotype without a search does not have."""
    return cell(float(statistics.fmean(row[key])) if key in row else None)
