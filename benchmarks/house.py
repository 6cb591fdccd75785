"""Count how readable a checkout is: sizes, docstrings, comments, and how deep a network lies below its loop.

    python -m benchmarks.house                      this checkout, as a table
    python -m benchmarks.house FOLDER --json        another one, for a comparison
    python -m benchmarks.house --frames             also start both scripts in small, and look at the stack

Counted is the program: the two scripts and the rooms below them, without tests/ and benchmarks/. The standard library
is enough, except that ``--frames`` runs the scripts. A function reaches from its ``def`` to its last line.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SCRIPTS = {"search": "train_search_cifar.py", "retrain": "retrainer_cifar.py"}
NOT_COUNTED = ("tests", "benchmarks")
LONG_FUNCTION = 50  # lines
SMALL = "--data digits --blocks [1] --child_out_filters 4 --batch_size 480 --image_size 16 --epochs 1 --no-tensorboard"
SMALL_SEARCH = "--controller_steps 1 --valid_steps 1 --derive_samples 1"
Function = ast.FunctionDef | ast.AsyncFunctionDef


def files_of(folder: Path) -> list[Path]:
    """The Python files of the program in a checkout: the scripts beside its packages, and those packages."""
    packages = [p.parent for p in folder.glob("*/__init__.py") if p.parent.name not in NOT_COUNTED]
    return sorted([*folder.glob("*.py"), *(path for package in packages for path in package.rglob("*.py"))])


def functions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines and name of every function, methods and nested functions included."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node.end_lineno - node.lineno + 1, node.name


def undocumented(body: Sequence[ast.stmt], prefix: str) -> Iterator[str]:
    """Public classes, functions and methods without a docstring; what is nested in a function is not public."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            if ast.get_docstring(node) is None:
                yield f"{prefix}{node.name}"
            if isinstance(node, ast.ClassDef):
                yield from undocumented(node.body, f"{prefix}{node.name}.")


def comments(text: str) -> int:
    """Lines with a comment for a reader; those for the linter do not count."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT and "# noqa" not in token.string for token in tokens)


def count(folder: Path) -> dict[str, Any]:
    """All that can be read off the files of a checkout. Raises ValueError where there is no file to count."""
    lines, lengths, bare, commented = {}, [], [], 0
    for path in files_of(folder):
        name, text = path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        lines[name] = len(text.splitlines())
        lengths += [(size, f"{name}:{function}") for size, function in functions(tree)]
        bare += undocumented(tree.body, f"{name}:")
        if text.strip() and ast.get_docstring(tree) is None:
            bare.append(name)
        commented += comments(text)
    if not lines:
        raise ValueError(f"there is no Python file in {folder}")
    total = sum(lines.values())
    longest_file, (size, longest_function) = max(lines, key=lines.get), max(lengths)
    in_utils = sum(n for name, n in lines.items() if name.startswith("utils/"))
    return {
        "files": len(lines),
        "lines": total,
        "longest_file": [longest_file, lines[longest_file]],
        "longest_function": [longest_function, size],
        "long_functions": sorted(name for size, name in lengths if size > LONG_FUNCTION),
        "utils_share": in_utils / total,
        "undocumented": sorted(bare),
        "comments_per_100_lines": 100 * commented / total,
    }


def frames(folder: Path, kind: str) -> list[str]:
    """Our functions between the loop over epochs and a forward pass, from a small run of a script: the longest way."""
    words = [*SMALL.split(), *(SMALL_SEARCH.split() if kind == "search" else [])]
    with tempfile.TemporaryDirectory() as result:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("frames.py")), SCRIPTS[kind], *words, "--result", result],
            cwd=folder,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            check=True,
        )
    return json.loads(done.stdout.splitlines()[-1])


def table(found: dict[str, Any]) -> Iterator[str]:
    """The counts as lines for a person."""
    yield f"lines in {found['files']} files  {found['lines']}"
    for name in ("file", "function"):
        place, size = found[f"longest_{name}"]
        yield f"longest {name}  {size} lines, {place}"
    yield f"functions over {LONG_FUNCTION} lines  {len(found['long_functions'])}"
    yield f"share of utils/ in all lines  {100 * found['utils_share']:.1f} %"
    yield f"public names without a docstring  {len(found['undocumented'])}"
    yield f"comments per 100 lines  {found['comments_per_100_lines']:.2f}"
    for kind, between in found.get("frames", {}).items():
        yield f"frames between loop and forward pass, {kind}  {len(between)}: {', '.join(between)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the counts of a checkout; see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--json", action="store_true", help="print one JSON object, with all names")
    parser.add_argument("--frames", action="store_true", help="also run both scripts, half a minute")
    flags = parser.parse_args(argv)
    try:
        found = count(flags.folder.resolve())
    except (OSError, ValueError, SyntaxError) as error:
        parser.error(str(error))
    if flags.frames:
        found["frames"] = {kind: frames(flags.folder.resolve(), kind) for kind in SCRIPTS}
    print(json.dumps(found, indent=1) if flags.json else "\n".join(table(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
