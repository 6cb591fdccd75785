"""What a comparison of methods says, and its files: study.json, the tables of study.md, and methods.png."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from studies.tables import over_seeds, shown, table, write_study
from utils.reports import plots
from utils.reports.log import RunLog

PICTURE = "methods.png"
DRAWN = "random genotype, "  # and the space: what is trained without a search


class Published(NamedTuple):
    """What others measured: parameters, error in percent and GPU-days on CIFAR-10 by the authors of a method; accuracy
    in percent on Fashion-MNIST, CIFAR-10 and CIFAR-100 in one comparison of the authors' codes.
    """

    parameters: str
    error: float
    days: float
    fashion: float | None = None
    cifar10: float | None = None
    cifar100: float | None = None


# The comparison: "Neural Architecture Search Comparison" in the documentation of NNI, from
# github.com/namenemo/train-nas; two days of search and two of training each, mean of three. ENAS is the micro space,
# NAO the version that shares weights.
PUBLISHED = {
    "enas": Published("4.6 M", 2.89, 0.45, 95.53, 96.16, 78.84),
    "darts": Published("3.3 M", 2.76, 4, 95.74, 94.23, 79.74),
    "nao": Published("2.5 M", 2.93, 0.3, 95.20, 95.64, 75.75),
    "slnas": Published("1.31 M", 2.86, 0.3),
}
OF_SEARCH = ("epochs", "search_s", "derive_s", "images", "derive_images")


def judge_methods(
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    measure: str,
    searches: Mapping[str, Sequence[Mapping[str, Any]]],
    results: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """The content of study.json: lists are by seed.

    ``searches``: of each method, see :func:`studies.method_runs.search_method`; ``results``: trainings of what these
    found and of the random genotypes, see :func:`studies.methods.trainings`.
    """
    rows = {}
    for name, own in results.items():
        found = searches.get(name, ())
        rows[name] = {
            "space": own[0]["genotype"]["space"],
            "genotypes": [one["genotype"] for one in own],
            measure: [one[f"valid/{measure}"] for one in own],
            "loss": [one["valid/loss"] for one in own],
            **{key: [one[key] for one in own] for key in ("parameters", "filters", "macs", "agrees")},
            "train_s": [one["seconds"] for one in own],
            **{key: [one[key] for one in found] for key in OF_SEARCH if found},
            **({"nao": [one["nao"] for one in found]} if found and "nao" in found[0] else {}),
        }
    for row in rows.values():
        chance = rows[DRAWN + row["space"]]
        row["less_random"] = [a - b for a, b in zip(row[measure], chance[measure], strict=True)]
    return {
        "study": "methods",
        "settings": settings,
        "seeds": list(seeds),
        "measure": measure,
        "methods": rows,
        "published": {name: values._asdict() for name, values in PUBLISHED.items()},
    }


def write_methods(log: RunLog, study: Mapping[str, Any]) -> None:
    """Write what a comparison of methods found."""
    measure = study["measure"]
    said = (
        f"{name}: {measure} alone {over_seeds(row[measure])}, {_mean(row['parameters'])} parameters"
        for name, row in study["methods"].items()
    )
    write_study(log, study, PICTURE, lambda: picture(study), method_lines(study), said)


def method_lines(study: Mapping[str, Any]) -> list[str]:
    """study.md, line by line."""
    settings, measure, seeds = study["settings"], study["measure"], study["seeds"]
    alone = " ".join(f"`{k} {v}`" for k, v in settings["trained alone"].items() if k.startswith("--"))
    lines = [
        "# Methods, each as its own search of the same budget",
        "",
        f"Every method searched with seeds {seeds} and a budget of {settings['budget']} each; its winner was "
        f"trained from scratch with the seed of its search, as wide as gives {settings['parameters']:g} parameters: "
        f"{alone}.",
        "",
        *_measured(study),
        "Results are mean ± std over seeds; *less random* is the difference, seed by seed, to the random genotype of",
        "the same space, or the median one of several, trained alike without any search. Seconds, images and sizes are",
        "means: *images* passed through the shared weights in the epochs of the search, each as often as it did, to",
        "train them and for scores; the derivation behind them has images of its own, and is no part of the budget.",
        "",
    ]
    for name, row in study["methods"].items():
        off = [p for p, agrees in zip(row["parameters"], row["agrees"], strict=True) if not agrees]
        if off:
            lines += [f"Of {name}, {len(off)} of {len(seeds)} come no nearer than 10 %: {off} parameters.", ""]
    lines += ["## Searches", ""]
    for name, found in settings["searches"].items():
        lines += [f"- {name}: " + " ".join(f"`{k} {v}`" for k, v in found.items())]
    # What others measured are accuracies, beside which those of other tasks say nothing.
    return [*lines, "", *_seeds(study, measure), *(_published() if measure == "top1" else [])]


def _measured(study: Mapping[str, Any]) -> list[str]:
    head = ["", "space", f"{study['measure']} alone", "less random", "loss alone", "parameters", "filters", "MACs"]
    head += ["epochs", "search s", "derivation s", "training s", "images", "of derivation"]
    rows = []
    for name, row in study["methods"].items():
        results = [over_seeds(row[key]) for key in (study["measure"], "less_random", "loss")]
        sizes = [_mean(row["parameters"]), ", ".join(map(str, sorted(set(row["filters"])))), _mean(row["macs"])]
        took = [_mean(row.get(key)) for key in ("epochs", "search_s", "derive_s", "train_s", "images", "derive_images")]
        rows.append([name, row["space"], *results, *sizes, *took])
    return table(head, rows)


def _seeds(study: Mapping[str, Any], measure: str) -> list[str]:
    """Every result."""
    rows = [[name, *(shown(value) for value in row[measure])] for name, row in study["methods"].items()]
    return ["## Seed by seed", "", *table([f"{measure} alone", *map(str, study["seeds"])], rows)]


def _published() -> list[str]:
    """What others measured, which nothing here was."""
    rows = [
        [name, p.parameters, f"{p.error} %", f"{p.days:g}", *map(shown, (p.fashion, p.cifar10, p.cifar100))]
        for name, p in PUBLISHED.items()
    ]
    head = ["published", "parameters", "CIFAR-10 error", "GPU-days"]
    return [
        "## Published, not measured here",
        "",
        *table([*head, "Fashion-MNIST", "CIFAR-10", "CIFAR-100"], rows),
        "Parameters, error and GPU-days on CIFAR-10 by the authors of each method. Accuracies (%) in *Neural",
        "Architecture Search Comparison* of NNI's documentation (github.com/namenemo/train-nas): the authors' codes",
        "and trainings, two days of search and two of training each, mean of three, networks of different sizes.",
    ]


def picture(study: Mapping[str, Any]) -> Any:
    """Every result against what it cost: the seconds of search and derivation, and the MACs of the network."""
    measure, rows = study["measure"], study["methods"]
    searched = {
        name: list(zip(map(sum, zip(row["search_s"], row["derive_s"], strict=True)), row[measure], strict=True))
        if "search_s" in row
        else [(0.0, value) for value in row[measure]]
        for name, row in rows.items()
    }
    macs = {name: list(zip(row["macs"], row[measure], strict=True)) for name, row in rows.items()}
    return plots.clouds({"seconds of search": searched, "MACs of the network": macs}, f"{measure} alone")


def _mean(values: Sequence[float] | None) -> str:
    """A mean as a table shows it, with commas between thousands."""
    if not values:
        return "-"
    mean = statistics.fmean(values)
    return f"{mean:,.0f}" if mean >= 100 else f"{mean:.3g}"
