"""Reports: what a run cost and what it gave, from the files in its folder, so also of an interrupted one.

python -m utils.report result/search/mine-... [result/retrain/mine-... ...] [-o report.md]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.reports import plots
from utils.reports.log import RunLog, read_epochs, write_json
from utils.system.command import short_command
from utils.system.errors import UsageError
from utils.system.files import read_json, write_figure, write_text
from utils.system.terminal import OneLineParser, reason, say, show, some

RESULT = "result.json"  # what a run gave; it is there when the run is complete
PHASES = {"search": ("weights", "strategy", "report"), "retrain": ("train", "valid")}
DATA = ("dataset", "train_images", "val_images", "image_size", "skipped")
CURVES = {
    name: tuple(f"{side}/{name}" for side in ("shared", "train", "valid")) for name in ("loss", "top1", "miou", "fit")
}
PICTURES = (*(f"{name}.png" for name in CURVES), "derived.png", "pareto.png", "finals.png", "predictions.png")
COLUMNS = ("shared/loss", "controller/reward", "controller/entropy", "train/loss", "valid/loss")  # of the epochs
COLUMNS += ("valid/top1", "valid/miou", "valid/fit")
# Rows of the table, and where report.json has them.
ROWS = {
    "complete": "complete",
    "data": "data.dataset",
    "training images": "data.train_images",
    "validation images": "data.val_images",
    "skipped images": "data.skipped_images",
    "device": "device.device_name",
    "processes": "device.processes",
    "precision": "device.precision",
    "epochs done": "cost.epochs",
    "seconds": "cost.total_s",
    **{f"seconds: {name}": f"cost.seconds.{name}" for name in (*PHASES["search"], "derive", *PHASES["retrain"])},
    "CPU-hours": "cost.CPU_hours",
    "GPU-hours": "cost.GPU_hours",
    "images seen": "cost.images",
    "images/s": "cost.images_per_s",
    "peak memory (MB)": "cost.peak_memory_mb",
    "last valid/top1 (%)": "last_epoch.valid/top1",
    "best valid/top1 (%)": "best_top1",
    "mean IoU (%)": "val_miou",
    "AP at an IoU of 0.5 (%)": "val_ap50",
    "score of the derived": "score",
    "ranked by": "ranked_by",
    "parameters": "parameters",
    "MACs": "macs",
}


def read_run(folder: Path) -> dict[str, Any]:
    """Read the files of a run folder: config, epochs (a list), result, genotypes; what is missing is empty."""
    config = read_json(folder / "config.json")
    kind = config.get("kind")
    if kind not in PHASES or not {"flags", "machine"} <= config.keys():
        raise UsageError(f"{folder} is no run folder: it has no config.json of a search or a retraining")
    files = {"result": read_json(folder / RESULT), "genotypes": read_json(folder / "genotypes.json")}
    return {"folder": folder, "kind": kind, "config": config, "epochs": read_epochs(folder), **files}


def costs(run: Mapping[str, Any]) -> dict[str, Any]:
    """Sum up what a run cost so far: seconds by phase, device-hours, images, images/s and peak memory."""
    epochs, config, names = run["epochs"], run["config"], PHASES[run["kind"]]
    seconds = {name: sum(epoch.get(f"time/{name}_s") or 0.0 for epoch in epochs) for name in names}
    if "derive_s" in run["result"]:
        seconds["derive"] = run["result"]["derive_s"]  # behind the last epoch, so in none of them
    total = sum(seconds.values())
    device = "CPU" if config["machine"]["device"] == "cpu" else "GPU"  # what is counted in hours
    # Every epoch passes over the same number of images, on all processes together.
    images = len(epochs) * config.get("derived", {}).get("epoch_images", 0)
    peak = max((epoch.get("memory/peak_bytes") or 0 for epoch in epochs), default=0)  # null in a file becomes 0
    return {
        "seconds": seconds,
        "total_s": total,
        f"{device}_hours": total * config.get("processes", 1) / 3600,
        "epochs": len(epochs),
        "images": images,
        "images_per_s": images / seconds[names[0]] if seconds[names[0]] else None,
        "peak_memory_bytes": peak,
        "peak_memory_mb": peak / 1e6,
    }


def document(run: Mapping[str, Any]) -> dict[str, Any]:
    """Make the content of report.json."""
    # Defaults are those of the code that ran, as its config.json states them.
    config, defaults = run["config"], run["config"].get("defaults", {})
    data = {key: value for key, value in config.get("derived", {}).items() if key in DATA}
    return {
        "run": run["folder"].name,
        "kind": run["kind"],
        "complete": bool(run["result"]),
        "changed_flags": {k: v for k, v in config["flags"].items() if k in defaults and v != defaults[k]},
        "data": {**data, "skipped_images": len(data.get("skipped") or [])},
        "device": {**config["machine"], "processes": config.get("processes"), "precision": config.get("precision")},
        "cost": costs(run),
        "last_epoch": run["epochs"][-1] if run["epochs"] else {},
        **run["result"],
    }


def write(log: RunLog, result: Mapping[str, Any]) -> None:
    """End a run: pictures and reports, each of which may fail alone, then result.json, which says that all is there.

    A run that is killed before goes on here when it is resumed.
    """
    folder = log.folder
    with log.decoration("the picture of the curves"):
        _draw_curves(read_run(folder))
    with log.decoration("report.json"):
        write_json(folder / "report.json", document({**read_run(folder), "result": result}))
    with log.decoration("report.md"):
        text = render([{**read_run(folder), "result": result}])
        write_text(folder / "report.md", text.replace(f"]({folder}/", "]("))  # the pictures lie beside the report
    # Last: whoever finds this file knows that all others are whole.
    write_json(folder / RESULT, result)


def _draw_curves(run: Mapping[str, Any]) -> None:
    """Learning curves as pictures beside the other files of the run."""
    for name, tags in CURVES.items():
        points = {tag: [(e["epoch"], e[tag]) for e in run["epochs"] if e.get(tag) is not None] for tag in tags}
        curves = {tag: curve for tag, curve in points.items() if curve}
        if curves:
            write_figure(run["folder"] / f"{name}.png", plots.panels({"epoch": curves}, name, lines=True), dpi=200)


def render(runs: Sequence[Mapping[str, Any]]) -> str:
    """Write Markdown: runs side by side, differing settings first; then each by itself."""
    documents = [document(run) for run in runs]
    names = [f"{d['kind']} {d['run']}" for d in documents]
    lines = [f"# {names[0] if len(runs) == 1 else f'{len(runs)} runs'}", ""]
    flags = sorted({key for d in documents for key in d["changed_flags"]})
    values = {key: [run["config"]["flags"].get(key) for run in runs] for key in flags}
    flags.sort(key=lambda key: all(value == values[key][0] for value in values[key]))  # those that differ first
    lines += _table(["setting", *names], [[key, *values[key]] for key in flags])
    # A row that no run has a value for is left out.
    rows = [[label, *(_cell(_at(d, place)) for d in documents)] for label, place in ROWS.items()]
    lines += _table(["", *names], [row for row in rows if any(row[1:])])
    for run, name in zip(runs, names, strict=True):
        lines += _details(run, name)
    return "\n".join(lines).rstrip() + "\n"


def _at(values: Any, place: str) -> Any:
    """The value at a dotted place in nested dicts; None where there is none."""
    for key in place.split("."):
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def _details(run: Mapping[str, Any], name: str) -> list[str]:
    """Learning curves, the ranked table and the commands to go on, of one run."""
    lines, epochs = [f"## {name}", ""], run["epochs"]
    tags = [tag for tag in COLUMNS if any(tag in epoch for epoch in epochs)]
    # Some twenty rows of a long run, the last among them.
    every = max(1, len(epochs) // 20)
    rows = [epoch for i, epoch in enumerate(epochs) if i % every == 0 or i == len(epochs) - 1]
    lines += _table(["epoch", *tags], [[epoch["epoch"], *(epoch.get(tag) for tag in tags)] for epoch in rows])
    lines += [f"![{name}]({run['folder'] / name})" for name in PICTURES if (run["folder"] / name).is_file()] + [""]
    candidates = run["genotypes"].get("candidates", [])
    if candidates:
        rankers = list(candidates[0].get("scores", {}))  # where there were several
        final = {"final": "final.score", "epochs": "final.epochs"} if "final" in candidates[0] else {}
        columns = {"rank": "rank", **final, "score": "score", **{name: f"scores.{name}" for name in rankers}}
        columns |= {"parameters": "parameters", "MACs": "macs", "Pareto": "pareto"}
        rows = [[*(_at(c, place) for place in columns.values()), f"`{c['cells']}`"] for c in candidates]
        lines += _table([*columns, "encodings"], rows)
        lines += ["Go on with", "", f"    {candidates[0]['retrain']}", ""]
        lines += [f"    python -m ops.draw {run['folder'] / 'genotypes.json'}#0 -o cell.svg", ""]
    return lines


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return show(value).replace("|", "\\|")  # a bar would end the cell of Markdown


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    if not rows:
        return []
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows), ""]


def main(argv: Sequence[str] | None = None) -> int:
    """Print, or write, a report of one or several run folders."""
    parser = OneLineParser(prog="utils.report", description="Lay runs side by side.", allow_abbrev=False)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, finished or not")
    parser.add_argument("-o", "--output", type=Path, help="file to write (default: standard output)")

    def work() -> None:
        args = parser.parse_args(argv)
        try:
            text = render([read_run(folder) for folder in args.runs])
        except (AttributeError, LookupError, TypeError, ValueError) as error:  # files that were edited
            what = f"the files of {some(args.runs)} do not hold what a run writes: {reason(error)}"
            raise UsageError(what) from None
        if args.output is None:
            say(text.removesuffix("\n"))
        else:
            write_text(args.output, text)

    return short_command("utils.report", work, OSError)
