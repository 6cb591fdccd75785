"""What a comparison on a table says, and its files: study.json, the tables of study.md, and regret.png.

``traces``: of each strategy, one a seed, see :func:`studies.table.search`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from scipy import stats

from studies.statistics import LEVEL, paired
from studies.table_reader import Table
from studies.tables import as_words, cell, table, write_study
from utils.reports import plots
from utils.reports.log import RunLog

RANDOM = "random"

Traces = Mapping[str, Sequence[Mapping[str, Any]]]


def regrets(trace: Mapping[str, Any], networks: Table, signal: str, judged_by: str) -> list[float]:
    """The regret after every query: of the genotype with the best signal so far, the first one on ties."""
    best, highest, curve = networks.best(judged_by), float("-inf"), []
    for word in trace["asked"]:
        encoding = tuple(map(int, word))
        if networks.measure(encoding, signal) > highest:
            highest, regret = networks.measure(encoding, signal), best - networks.measure(encoding, judged_by)
        curve.append(regret)
    return curve


def judge(
    settings: Mapping[str, Any], networks: Table, judged_by: str, queries: Sequence[int], traces: Traces
) -> dict[str, Any]:
    """The content of study.json."""
    signal = settings["signal"]
    curves = {
        name: [regrets(trace, networks, signal, judged_by) for trace in of_seeds] for name, of_seeds in traces.items()
    }
    after = {name: {str(q): [c[q - 1] for c in rows] for q in queries} for name, rows in curves.items()}
    return {
        "study": "table",
        "settings": {**settings, "judged_by": judged_by, "genotypes": len(networks), "best": networks.best(judged_by)},
        "seeds": len(next(iter(traces.values()))),
        "regret": {name: {q: summary(values) for q, values in row.items()} for name, row in after.items()},
        "against random": {
            name: {q: paired(values, after[RANDOM][q])._asdict() for q, values in row.items()}
            for name, row in after.items()
            if RANDOM in after and name != RANDOM
        },
        "searchers": {name: facts_of(of_seeds) for name, of_seeds in traces.items()},
        "curves": curves,
    }


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Mean, std, and half the width of the interval of the mean, by Student's t."""
    std = statistics.stdev(values)
    half = stats.t.ppf((1 + LEVEL / 100) / 2, len(values) - 1) * std / len(values) ** 0.5
    return {"mean": statistics.fmean(values), "std": std, "interval": float(half), "seeds": list(values)}


def facts_of(traces: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over seeds: what the searches of a strategy took, and how many different genotypes they asked for."""
    return {
        "seconds_a_query": statistics.fmean(trace["seconds"] / len(trace["asked"]) for trace in traces),
        "distinct": statistics.fmean(len(set(trace["asked"])) for trace in traces),
        "outside": statistics.fmean(trace["outside"] for trace in traces),
    }


def write_regrets(log: RunLog, study: Mapping[str, Any]) -> None:
    """Write the study, and say what each strategy reached after the last query."""
    lines = []
    for name, row in study["regret"].items():
        last = str(study["settings"]["queries"])
        line = f"{name}: regret {row[last]['mean']:.3f} ± {row[last]['interval']:.3f} after {last} queries"
        if name in study["against random"]:
            test = study["against random"][name][last]
            line += f", {test['mean']:+.3f} against random (p {cell(test['t_p'])})"
        lines.append(line)
    draw = partial(picture, study["curves"])
    document = {key: value for key, value in study.items() if key != "curves"}
    write_study(log, document, picture="regret.png", draw=draw, lines=study_lines(document), summary=lines)


def study_lines(study: Mapping[str, Any]) -> list[str]:
    """study.md, line by line."""
    settings, regret = study["settings"], study["regret"]
    queries = list(next(iter(regret.values())))
    rows = []
    for name, row in regret.items():
        facts = study["searchers"][name]
        cells = [f"{row[q]['mean']:.3f} ± {row[q]['interval']:.3f} (std {row[q]['std']:.3f})" for q in queries]
        rows.append([name, *cells, f"{1000 * facts['seconds_a_query']:.2f}", facts["distinct"], facts["outside"]])
    tests = [
        [name, q, f"{p['mean']:+.4g}", p["std"], p["t_p"], p["wilcoxon_p"]]
        for name, row in study["against random"].items()
        for q, p in row.items()
    ]
    head = ["strategy", *(f"{q} queries" for q in queries), "ms a query", "distinct", "outside the table"]
    lines = [
        "# Strategies on a table",
        "",
        f"{settings['table']}: {settings['genotypes']} genotypes, positions with {settings['options']} options. "
        f"Strategies ({as_words(settings['strategies'])}) were told {settings['signal']}; regret is what the genotype "
        f"with the best of that so far lacks to {settings['best']:g}, the best {settings['judged_by']} of the table. "
        f"Means over {study['seeds']} searches, with the 95 % interval of the mean.",
        "",
        *table(head, rows),
    ]
    if tests:
        head = ["strategy", "queries", "regret less random's", "std", "p (Student's t)", "p (Wilcoxon)"]
        lines += ["## Less random, seed by seed", "", *table(head, tests)]
    return lines


def picture(curves: Mapping[str, Sequence[Sequence[float]]]) -> Any:
    """The mean regret against queries, but for the first few, which are chance."""
    means = {name: list(map(statistics.fmean, zip(*rows, strict=True))) for name, rows in curves.items()}
    first = min(9, min(map(len, means.values())) // 2)
    points = {name: list(enumerate(mean, 1))[first:] for name, mean in means.items()}
    return plots.panels({"queries": points}, "regret", lines=True)
