"""Turn an unpacked official download into `<out>/train/<class>/` and `<out>/val/<class>/`.

    python -m data.prepare aid --source ~/downloads/AID --out ../data/exp_data/AID_50 --train_ratio 0.5

Beside the images it writes classes.json, the class names in index order, and split.json, with rule, seed, counts
per class and the source of every image. `docs/datasets.md` tells where each archive unpacks to.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from data.prepare import flowers102, mit67, plantvillage
from data.prepare.folder import check_out, fresh_folder
from data.prepare.pictures import DataSet, Picture, Rule, divide, read_pictures, spelling_key
from utils.system import numbers
from utils.system.command import short_command
from utils.system.errors import UsageError, WorkError
from utils.system.terminal import OneLineParser, say, show

COMMAND = "data.prepare"
# The official class names, in index order (sorted by code point), are those of the folders in the downloads.
AID = (
    "Airport BareLand BaseballField Beach Bridge Center Church Commercial DenseResidential Desert Farmland "
    "Forest Industrial Meadow MediumResidential Mountain Park Parking Playground Pond Port RailwayStation "
    "Resort River School SparseResidential Square Stadium StorageTanks Viaduct"
).split()

NWPU = (
    "airplane airport baseball_diamond basketball_court beach bridge chaparral church circular_farmland cloud "
    "commercial_area dense_residential desert forest freeway golf_course ground_track_field harbor "
    "industrial_area intersection island lake meadow medium_residential mobile_home_park mountain overpass "
    "palace parking_lot railway railway_station rectangular_farmland river roundabout runway sea_ice ship "
    "snowberg sparse_residential stadium storage_tank tennis_court terrace thermal_power_station wetland"
).split()

# The capital letters make it the first class: lower-casing it would shift every index.
SPORT8 = "RockClimbing badminton bocce croquet polo rowing sailing snowboarding".split()

RATIO = {"ratio": Rule("--train_ratio of each class, seeded")}
SETS = {
    "aid": DataSet(AID, (10000,), RATIO, ratio=0.5),
    "nwpu": DataSet(NWPU, (31500,), RATIO, ratio=0.2),
    "sport8": DataSet(SPORT8, (1579,), {"80-20": Rule("80 % of each class, seeded, as NAS papers: 1261 / 318")}),
    "mit67": mit67.SET,
    "flowers102": flowers102.SET,
    "plantvillage": plantvillage.SET,
}
ALIASES = {"flowers": "flowers102", "nwpuresisc45": "nwpu", "resisc45": "nwpu", "nwpu45": "nwpu"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 fault while reading or writing, 2 wrong use or bad input."""
    return short_command(COMMAND, lambda: prepare(_parser().parse_args(argv)), after_fault="; nothing was left behind")


def prepare(args: argparse.Namespace) -> None:
    """Check flags and folders, read the source, divide it and write the result, which is whole or not there at all."""
    data = SETS[args.name]
    rule, ratio, names = args.split or next(iter(data.rules)), args.train_ratio or data.ratio, ", ".join(data.rules)
    if rule not in data.rules:
        raise UsageError(f"--split {show(rule)} is no rule of {args.name}; its rules: {names}")
    if ratio is not None and data.ratio is None:
        raise UsageError(f"--train_ratio means nothing for {args.name}, whose rules are: {names}")
    if not os.path.isdir(args.source):  # unlike Path.is_dir, false for a name that is too long, too
        what = "a file; unpack it first" if os.path.isfile(args.source) else "not there"
        raise UsageError(f"--source is {what}: {show(args.source)}")
    source = Path(os.path.abspath(args.source))  # so that `.` has a parent, where lists may lie
    out = check_out(args.out, source)
    pictures, notices = read_pictures(data, source, rule)
    sides = divide(data.rules[rule], pictures, args.seed, ratio)
    for line in notices:
        say(f"notice: {line}")
    classes = sorted({picture.label for picture in pictures})
    totals = {side: len(chosen) for side, chosen in sides.items()}
    totals["left_out"] = len(pictures) - sum(totals.values())
    facts = {
        "dataset": args.name,
        "rule": rule,
        "train_ratio": ratio,
        "seed": args.seed,
        "source": os.path.realpath(source),
        "num_classes": len(classes),
        "totals": totals,
        "counts": {side: dict(sorted(Counter(p.label for p in chosen).items())) for side, chosen in sides.items()},
        "files": {
            side: {f"{p.label}/{p.name}": Path(os.path.relpath(p.file, source)).as_posix() for p in chosen}
            for side, chosen in sides.items()
        },
    }
    with fresh_folder(out, classes, facts) as work:
        copy(sides, work)
    say(
        f"{args.name}: {len(classes)} classes, {totals['train']} train and {totals['val']} val images, "
        f"{totals['left_out']} left out; rule {rule}{f' {ratio}' if ratio is not None else ''}, seed {args.seed}; "
        f"written to {show(out)}"
    )


def copy(sides: dict[str, list[Picture]], folder: Path) -> None:
    """Copy the pictures of both sides into their class folders. Raises WorkError where two would be one file."""
    for side, chosen in sides.items():
        for picture in tqdm(chosen, desc=side, disable=None, unit="image", leave=False):
            target = folder / side / picture.label / picture.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():  # a file system that does not tell A.jpg from a.jpg
                raise WorkError(f"two images would be the same file here: {show(target.name)} of {show(picture.label)}")
            shutil.copyfile(picture.file, target)


def _parser() -> argparse.ArgumentParser:
    lines = ["split rules (train / val images of the official download), the default first:"]
    lines += [f"  {name:14}{key:14}{rule.text}" for name, data in SETS.items() for key, rule in data.rules.items()]
    lines += ["", "exit status: 0 done; 1 a fault, and nothing is left behind; 2 wrong use or bad input"]
    parser = OneLineParser(
        prog=f"python -m {COMMAND}",
        description="Make <out>/train/<class>/ and <out>/val/<class>/ from an unpacked official download.",
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", type=_data_set, metavar="NAME", help=f"data set: {', '.join(SETS)}")
    parser.add_argument("--source", type=Path, required=True, help="folder the archive was unpacked to")
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must not exist, or be empty")
    ratio = "share of each class for train (default the larger ratios of their papers: 0.5 for aid, 0.2 for nwpu)"
    parser.add_argument("--train_ratio", type=numbers.fraction, help=ratio)
    parser.add_argument("--split", metavar="RULE", help="split rule, see below")
    parser.add_argument("--seed", type=numbers.seed, default=0, help="of the random split rules (default 0)")
    return parser


def _data_set(text: str) -> str:
    plain = spelling_key(text)
    name = ALIASES.get(plain, plain)
    if name not in SETS:
        raise argparse.ArgumentTypeError(f"{show(text)} is no known data set; known: {', '.join(SETS)}")
    return name
