"""A study of rankings as files: study.json, the tables of study.md, and ranking.png."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from studies.judging import BEST, means
from studies.statistics import SHARES, Correlation
from utils.reports import plots
from utils.reports.log import RunLog, write_json
from utils.system.files import write_figure, write_text

STUDY_JSON, STUDY_MD, PICTURE = "study.json", "study.md", "ranking.png"


def write_study(
    log: RunLog, study: Mapping[str, Any], name: str, draw: Callable[[], Any], lines: Sequence[str], said: Iterable[str]
) -> None:
    """Write the files of a study, study.json last, and say the essence of it.

    ``draw`` makes the picture, which is called ``name`` and may fail alone; ``lines``: of study.md.
    """
    with log.decoration(name):
        write_figure(log.folder / name, draw(), dpi=200)
    write_text(log.folder / STUDY_MD, "\n".join(lines) + "\n")
    write_json(log.folder / STUDY_JSON, study)
    for line in said:
        log.line(line)
    log.line(f"the study is in {log.folder / STUDY_MD}")


def write_ranking(log: RunLog, study: Mapping[str, Any]) -> None:
    """Write what a study of rankings found."""
    measure = study["measure"]
    said = (
        f"{name}: tau {shown(found[measure]['tau'])} by {measure}, {shown(found['loss']['tau'])} by loss"
        for name, found in study["rankers"].items()
    )
    write_study(log, study, PICTURE, lambda: picture(study), ranking_lines(study), said)


def ranking_lines(study: Mapping[str, Any]) -> list[str]:
    """study.md, line by line."""
    n, seeds = len(study["genotypes"]), study["seeds"]
    lines, population = ["# Rankings against trainings from scratch", ""], study["settings"]["population"]
    lines += [f"{n} {population} genotypes, each trained alone with {len(seeds)} seed{'s' * (len(seeds) > 1)} {seeds}."]
    lines += [""]
    settings = {k: v for k, v in study["settings"].items() if k.startswith("--") and k != "--data"}
    lines += [f"Trained with {' '.join(f'`{k} {v}`' for k, v in settings.items())}.", ""]
    lines += alone_lines(study)
    for name in (study["measure"], "loss"):
        lines += agreement_lines(study, name)
    if study["between"] is not None:
        lines += [
            f"The shared weights of two searches rank these genotypes alike with a tau of {shown(study['between'])},",
            "by loss, the mean over all pairs. Where they agree with one another but not with what is trained alone, a",
            "bias of sharing limits the ranking, and more weights of the same kind would not mend it.",
            "",
        ]
    return lines


def alone_lines(study: Mapping[str, Any], title: str = "Trained alone") -> list[str]:
    """Spread and noise of the stand-alone results."""
    rows = []
    for name in (study["measure"], "loss"):
        found, floor, sign = study["alone"][name], study["floor"][name], -1 if name == "loss" else 1
        ends = sorted(sign * found[end] for end in ("lowest", "highest"))
        own = [shown(sign * found["mean"]), shown(found["std"]), *map(shown, ends), shown(found["noise"])]
        keys = ("tau", "reliability", "ceiling")
        rows.append([f"valid/{name}", *own, *(shown(floor and floor[key]) for key in keys)])
    head = ["", "mean", "std", "lowest", "highest", "noise", "tau between seeds", "reliability", "ceiling"]
    lines = [f"## {title}", "", *table(head, rows)]
    if len(study["seeds"]) < 2:
        return [*lines, "One seed: nothing is known of the noise, and no tau below has a floor to be read against.", ""]
    return [
        *lines,
        "Mean, std and range are those of the genotypes' means over seeds; *noise* is the std between the seeds of one",
        "genotype. *Reliability* is that of the mean over the seeds, by Spearman-Brown from the correlation between",
        "them, and *ceiling* the tau that a perfect ranker could then expect, were all values normal.",
        "",
    ]


def agreement_lines(study: Mapping[str, Any], name: str) -> list[str]:
    """How each ranker agrees with one of the results."""
    ends = [f"{side}_{percent}" for side in ("top", "bottom") for percent in SHARES]
    rows, n = [], len(study["genotypes"])
    for ranker, by_result in study["rankers"].items():
        found = by_result[name]
        ranks = " ".join(map(str, found["true_ranks"]))
        rows.append([ranker, shown(found["tau"]), shown(found["rho"]), *(shown(found[e]) for e in ends), ranks])
    head = ["score", "Kendall's tau", "Spearman's rho", *(e.replace("_", " ") + " %" for e in ends), "true ranks"]
    what = "mean loss, the lowest first" if name == "loss" else f"mean {name}, the highest first"
    return [
        f"## Against the {what}",
        "",
        *table(head, rows),
        "Correlations with their 95 % bootstrap intervals; then the share of the best and worst by score that are so",
        f"in truth; then the true ranks of the best {BEST} by score, of which 0 is the best of {n}.",
        "",
    ]


def picture(study: Mapping[str, Any]) -> Any:
    """Score against result: of the shared weights of each search by loss, and of the best untrained ranker."""
    measure = study["measure"]
    taus = {name: found[measure]["tau"] for name, found in study["rankers"].items()}
    shared = [name for name in taus if name.startswith("shared (loss)")]
    others = [name for name in taus if not name.startswith("shared (") and taus[name] is not None]
    return scatter(study, shared + sorted(others, key=lambda name: -taus[name][0])[:1])


def scatter(study: Mapping[str, Any], chosen: Sequence[str]) -> Any:
    """The scores of chosen rankers against the result of training alone."""
    measure = study["measure"]
    taus = {name: study["rankers"][name][measure]["tau"] for name in chosen}
    true = means([[result[f"valid/{measure}"] for result in g["alone"]] for g in study["genotypes"]])
    panels = {  # one by title: the name of a search stands in a line of its own
        "\n".join([*name.split(", "), f"tau {shown(taus[name])}"]): [
            (g["scores"][name], value) for g, value in zip(study["genotypes"], true, strict=True)
        ]
        for name in chosen
    }
    return plots.scatters(panels, "score", f"{measure} alone")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown, and the empty line behind it."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def shown(value: Any) -> str:
    """A number as a table shows it; a dash where there is none."""
    if value is None:
        return "-"
    if isinstance(value, Correlation | str | int):
        return str(value)
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.2f}"


def over_seeds(values: Sequence[float]) -> str:
    """Mean and, of several, std."""
    std = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return shown(statistics.fmean(values)) + std
