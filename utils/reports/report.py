"""Reports: what a run cost and what it gave, from the files in its folder, so also of an interrupted one.

python -m utils.reports.report result/search/mine-... [result/retrain/mine-... ...] [-o report.md]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.reports import plots
from utils.reports.log import RunLog, write_json
from utils.runs.clock import PARTS, Clock, legend, percent
from utils.system.errors import UsageError
from utils.system.files import read_json, write_figure, write_text
from utils.system.terminal import complain, say, show

RESULT = "result.json"  # what a run gave; it is there when the run is complete
PHASES = {"search": ("weights", "strategy", "report"), "retrain": ("train", "valid")}


class ReportError(UsageError):
    """A folder that is no run, in one line."""


def read_run(folder: Path) -> dict[str, Any]:
    """Read the files of a run folder: config, epochs (a list), result, genotypes; what is missing is empty."""
    config = read_json(folder / "config.json")
    kind = config.get("kind")
    if kind not in PHASES or not {"flags", "machine"} <= config.keys():
        raise ReportError(f"{folder} is no run folder: it has no config.json of a search or a retraining")
    epochs = []
    path = folder / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            epochs.append(json.loads(line))
        except ValueError:
            continue  # cut short when the run was killed
    return {
        "folder": folder,
        "kind": kind,
        "config": config,
        "epochs": epochs,
        "result": read_json(folder / RESULT),
        "genotypes": read_json(folder / "genotypes.json"),
    }


def costs(run: Mapping[str, Any]) -> dict[str, Any]:
    """Sum up what a run cost so far: seconds by phase, device-hours, images, images/s and peak memory."""
    epochs, names = run["epochs"], PHASES[run["kind"]]
    seconds = {name: sum(epoch.get(f"time/{name}_s") or 0.0 for epoch in epochs) for name in names}
    if "derive_s" in run["result"]:
        seconds["derive"] = run["result"]["derive_s"]
    total = sum(seconds.values())
    derived, processes = run["config"].get("derived", {}), run["config"].get("processes", 1)
    device = "CPU" if run["config"]["machine"]["device"] == "cpu" else "GPU"
    images = len(epochs) * derived.get("epoch_images", 0)
    return {
        "seconds": seconds,
        "total_s": total,
        "percent": percent(run["result"].get("time_s", {})),
        f"{device}_hours": total * processes / 3600,
        "epochs": len(epochs),
        "images": images,
        "images_per_s": images / seconds[names[0]] if seconds[names[0]] else None,
        "peak_memory_bytes": max((epoch.get("memory/peak_bytes") or 0 for epoch in epochs), default=0),
    }


def document(run: Mapping[str, Any]) -> dict[str, Any]:
    """Make the content of report.json."""
    config = run["config"]
    return {
        "run": run["folder"].name,
        "kind": run["kind"],
        "complete": bool(run["result"]),
        "changed_flags": changed_flags(config),
        "data": {k: v for k, v in config.get("derived", {}).items() if k in DATA_KEYS},
        "device": {**config["machine"], "processes": config.get("processes"), "precision": config.get("precision")},
        "cost": costs(run),
        "last_epoch": run["epochs"][-1] if run["epochs"] else {},
        **run["result"],
    }


DATA_KEYS = ("dataset", "train_images", "val_images", "image_size", "skipped")


def changed_flags(config: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that differ from their defaults."""
    defaults = config.get("defaults", {})
    return {k: v for k, v in config["flags"].items() if k in defaults and v != defaults[k]}


def write(log: RunLog, *, result: Mapping[str, Any], clock: Clock) -> None:
    """End a run: pictures and reports, each of which may fail alone, then result.json, which says that all is there.

    A run that is killed before goes on here when it is resumed. ``clock``: of the run; it is read after the picture.
    """
    folder = log.folder
    with log.decoration("the picture of the curves"):
        _draw_curves(read_run(folder))
    result = {**result, "time_s": clock.seconds()}
    with log.decoration("report.json"):
        write_json(folder / "report.json", document({**read_run(folder), "result": result}))
    with log.decoration("report.md"):
        text = render([{**read_run(folder), "result": result}])
        write_text(folder / "report.md", text.replace(f"]({folder}/", "]("))  # the pictures lie beside the report
    write_json(folder / RESULT, result)


CURVES = {
    name: tuple(f"{side}/{name}" for side in ("shared", "train", "valid")) for name in ("loss", "top1", "miou", "fit")
}
PICTURES = ("loss.png", "top1.png", "miou.png", "fit.png", "derived.png", "pareto.png", "predictions.png")


def _draw_curves(run: Mapping[str, Any]) -> None:
    """Learning curves as pictures beside the other files of the run."""
    for name, tags in CURVES.items():
        points = {tag: [(e["epoch"], e[tag]) for e in run["epochs"] if e.get(tag) is not None] for tag in tags}
        found = {tag: curve for tag, curve in points.items() if curve}
        if found:
            write_figure(run["folder"] / f"{name}.png", plots.curves(found, "epoch", name), dpi=200)


def render(runs: Sequence[Mapping[str, Any]]) -> str:
    """Write Markdown: runs side by side, differing settings first; then what each found."""
    documents = [document(run) for run in runs]
    names = [f"{d['kind']} {d['run']}" for d in documents]
    lines = [f"# {names[0] if len(runs) == 1 else f'{len(runs)} runs'}", ""]
    flags = sorted({key for d in documents for key in d["changed_flags"]})
    values = {key: [run["config"]["flags"].get(key) for run in runs] for key in flags}
    if len(runs) > 1:
        differing = [key for key in flags if any(v != values[key][0] for v in values[key])]
        flags = differing + [key for key in flags if key not in differing]
    lines += _table(["setting", *names], [[key, *values[key]] for key in flags])
    rows = [[label, *(_shown(get(d)) for d in documents)] for label, get in ROWS]
    lines += _table(["", *names], [row for row in rows if any(cell != "" for cell in row[1:])])
    parts = {part for d in documents for part in d["cost"]["percent"]}
    if parts:
        lines += [legend(parts, gpu=any("GPU_hours" in d["cost"] for d in documents)), ""]
    for run, name in zip(runs, names, strict=True):
        lines += _details(run, name)
    return "\n".join(lines).rstrip() + "\n"


def _get(*keys: str):
    def get(found: Any) -> Any:
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    return get


ROWS = [
    ("complete", _get("complete")),
    ("data", _get("data", "dataset")),
    ("training images", _get("data", "train_images")),
    ("validation images", _get("data", "val_images")),
    ("skipped images", lambda d: len(d["data"].get("skipped") or [])),
    ("device", _get("device", "device_name")),
    ("processes", _get("device", "processes")),
    ("precision", _get("device", "precision")),
    ("epochs done", _get("cost", "epochs")),
    ("seconds", _get("cost", "total_s")),
    *[
        (f"seconds: {n}", _get("cost", "seconds", n))
        for n in ("weights", "strategy", "report", "derive", "train", "valid")
    ],
    *[(f"time, {n} (%)", _get("cost", "percent", n)) for n in PARTS],
    ("CPU-hours", _get("cost", "CPU_hours")),
    ("GPU-hours", _get("cost", "GPU_hours")),
    ("images seen", _get("cost", "images")),
    ("images/s", _get("cost", "images_per_s")),
    ("peak memory (MB)", lambda d: d["cost"]["peak_memory_bytes"] / 1e6),
    ("last valid/top1 (%)", _get("last_epoch", "valid/top1")),
    ("best valid/top1 (%)", _get("best_top1")),
    ("mean IoU (%)", _get("val_miou")),
    ("AP at an IoU of 0.5 (%)", _get("val_ap50")),
    ("score of the derived", _get("score")),
    ("ranked by", _get("ranked_by")),
    ("of the best, random seeds of NAO", _get("nao", "top_from_seed")),
    ("pairwise accuracy of NAO", _get("nao", "pairwise_accuracy")),
    ("reconstruction error of NAO", _get("nao", "reconstruction_error")),
    ("parameters", _get("parameters")),
    ("MACs", _get("macs")),
]


def _details(run: Mapping[str, Any], name: str) -> list[str]:
    """Learning curves, the ranked table and the commands to go on, of one run."""
    lines = [f"## {name}", ""]
    tags = ("shared/loss", "controller/reward", "controller/entropy", "train/loss", "valid/loss")
    tags += ("valid/top1", "valid/miou", "valid/fit")
    tags = [tag for tag in tags if any(tag in epoch for epoch in run["epochs"])]
    step = max(1, len(run["epochs"]) // 20)
    shown = [e for i, e in enumerate(run["epochs"]) if i % step == 0 or i == len(run["epochs"]) - 1]
    lines += _table(["epoch", *tags], [[e["epoch"], *(e.get(tag) for tag in tags)] for e in shown])
    lines += [f"![{name}]({run['folder'] / name})" for name in PICTURES if (run["folder"] / name).is_file()] + [""]
    lines += [line for text in run["result"].get("advice", []) for line in (text, "")]
    candidates = run["genotypes"].get("candidates", [])
    if candidates:
        rows = [
            [c["rank"], c["score"], c["parameters"], c["macs"], "yes" if c.get("pareto") else "", f"`{c['cells']}`"]
            for c in candidates
        ]
        lines += _table(["rank", "score", "parameters", "MACs", "Pareto", "encodings"], rows)
        lines += ["Go on with", "", f"    {candidates[0]['retrain']}", ""]
        lines += [f"    python -m ops.draw {run['folder'] / 'genotypes.json'}#0 -o cell.svg", ""]
    return lines


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return show(value).replace("|", "\\|")


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    if not rows:
        return []
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(_shown(cell) for cell in row)} |" for row in rows), ""]


def main(argv: Sequence[str] | None = None) -> int:
    """Print, or write, a report of one or several run folders."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.reports.report", description="Lay runs side by side.", allow_abbrev=False
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, finished or not")
    parser.add_argument("-o", "--output", type=Path, help="file to write (default: standard output)")
    args = parser.parse_args(argv)
    try:
        text = render([read_run(folder) for folder in args.runs])
        if args.output is None:
            say(text.removesuffix("\n"))
        else:
            write_text(args.output, text)
    except (ReportError, OSError) as error:
        complain("utils.reports.report", error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
