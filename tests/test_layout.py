"""The rules of the house, held with the standard library's ast. Every test lists all violations at once."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ("train_search_cifar", "retrainer_cifar")
ROOMS = ("ops", "models", "controller", "data", "utils", "engine", "studies")
FILES = [*(f"{name}.py" for name in SCRIPTS)]
FILES += sorted(path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.py"))
BENCHMARKS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "benchmarks").glob("*.py"))
TESTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py"))

# Who may import whom. A name with a dot is a package or module of a room.
EVERYTHING = {*ROOMS, *SCRIPTS}
ALLOWED = {
    **dict.fromkeys((*SCRIPTS, "studies"), EVERYTHING),
    "engine": {"engine", "models", "controller", "data", "ops", "utils"},
    "models": {"models", "ops", "utils.system"},
    "controller": {"controller", "ops", "utils.system"},
    "data": {"data", "utils.system"},
    "ops": {"ops", "utils.system"},
    "utils": {"utils"},
    "utils.system": {"utils.system"},
}
CONSTANTS = re.compile(r"ops\.\w+\.[A-Z][A-Z0-9_]*")  # names and choices, which utils may read
ONLY_STANDARD_LIBRARY = ("ops/genotype.py", "ops/space.py")  # and what they import
DEVICE = {"utils/system/device.py", "utils/system/processes.py", "engine/precision.py"}
LONGEST_FILE, LONGEST_FUNCTION = 250, 50
FORBIDDEN_CALLS = {"eval", "exec", "compile", "pickle.load", "pickle.loads", "__import__"}


@cache
def text(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


@cache
def tree(file: str) -> ast.Module:
    return ast.parse(text(file))


@cache
def imports(file: str) -> frozenset[str]:
    """Dotted names of all that a file imports anywhere; ``from ops import draw`` counts as ops.draw."""
    names = set()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def module_of(name: str) -> str | None:
    """The file of ours that an imported name lies in; None for another's."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = "/".join(parts[:end])
        for file in (f"{path}.py", f"{path}/__init__.py"):
            if (ROOT / file).is_file():
                return file
    return None


def calls(file: str) -> set[str]:
    """What is called, as it is written: ``eval``, ``pickle.load``."""
    return {ast.unparse(node.func) for node in ast.walk(tree(file)) if isinstance(node, ast.Call)}


def public(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """(dotted name, node) of every function and class that does not begin with ``_``, and what is public in classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
            yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{prefix}{child.name}.")


def room(file: str) -> str:
    return "utils.system" if file.startswith("utils/system/") else file.removesuffix(".py").split("/")[0]


def none(violations: list[str]) -> None:
    """Assert that there are no violations; all of them are listed at once."""
    assert not violations, "\n" + "\n".join(sorted(set(violations)))


def test_rooms_import_what_lies_below_them():
    violations = []
    for file in FILES:
        for name in imports(file):
            top = name.split(".")[0]
            if top in ("tests", "benchmarks"):
                violations.append(f"{file} imports {name}")
                continue
            allowed = any(f"{name}.".startswith(f"{below}.") for below in ALLOWED[room(file)])
            allowed |= room(file) == "utils" and CONSTANTS.fullmatch(name) is not None
            if top in EVERYTHING and not allowed:
                violations.append(f"{file} imports {name}")
    none(violations)


def test_the_description_of_architectures_needs_the_standard_library_alone():
    violations, files = [], list(ONLY_STANDARD_LIBRARY)
    for file in files:
        ours = {module_of(name): name for name in imports(file)}
        others = {name for name in imports(file) if not module_of(name)}
        violations += [f"{file} imports {n}" for n in others if n.split(".")[0] not in sys.stdlib_module_names]
        violations += [f"{file} imports {name}" for path, name in ours.items() if path and room(path) != "ops"]
        files += [path for path in ours if path and path not in files]
    none(violations)


def test_reading_data_imports_nothing_of_its_preparation():
    reading = [file for file in FILES if file.startswith("data/") and not file.startswith("data/prepare/")]
    none([f"{file} imports {name}" for file in reading for name in imports(file) if name.startswith("data.prepare")])


def test_imports_go_in_no_circle():
    graph = {file: {module_of(name) for name in imports(file)} - {None, file} for file in FILES}
    violations = []
    while True:  # one circle after the other, each opened where it closes
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle = error.args[1]  # each is imported by the next one, the first being the last one too
            violations.append(f"circle: {sorted(circle[1:])}")
            graph[circle[1]] = graph[circle[1]] - {circle[0]}
        else:
            break
    none(violations)


def test_files_and_functions_are_short_enough_to_read():
    violations = []
    for file in (*FILES, *BENCHMARKS, *TESTS):
        if len(text(file).splitlines()) > LONGEST_FILE:
            violations.append(f"{file} has more than {LONGEST_FILE} lines")
    for file in (*FILES, *BENCHMARKS):
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= LONGEST_FUNCTION:
                violations.append(f"{file}: {node.name} has more than {LONGEST_FUNCTION} lines")
    none(violations)


def test_every_public_name_has_a_docstring():
    violations = []
    for file in (*FILES, *BENCHMARKS):
        names = [("the module", tree(file)), *public(tree(file))]
        violations += [f"{file}: {name} has no docstring" for name, node in names if not ast.get_docstring(node)]
    none(violations)


def test_every_forward_names_its_shapes():
    violations = []
    for file in FILES:
        for name, node in public(tree(file)):
            if name.endswith(".forward") and not re.search(r"\([Nn], ", ast.get_source_segment(text(file), node)):
                violations.append(f"{file}: {name} names no shape")
    none(violations)


def test_the_device_is_chosen_in_one_place():
    violations = []
    for file in sorted({*FILES} - DEVICE):
        for node in ast.walk(tree(file)):
            if "cuda" in (getattr(node, "attr", None), getattr(node, "value", None)):
                violations.append(f"{file}:{node.lineno} names cuda")
    none(violations)


def test_nothing_is_evaluated_and_no_foreign_object_is_loaded():
    violations = [f"{file} calls {name}" for file in FILES for name in calls(file) & FORBIDDEN_CALLS]
    for file in FILES:
        for node in ast.walk(tree(file)):
            is_load = isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
            if is_load and "weights_only=True" not in {ast.unparse(keyword) for keyword in node.keywords}:
                violations.append(f"{file}:{node.lineno} loads without weights_only=True")
    none(violations)


def test_rooms_below_the_engine_print_nothing_and_take_no_config():
    violations = []
    for file in FILES:
        if room(file) not in ("ops", "models", "controller", "data"):
            continue
        if "print" in calls(file):
            violations.append(f"{file} prints")
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.arg):
                annotation = ast.unparse(node.annotation) if node.annotation else ""
                if node.arg == "config" or "Config" in annotation:
                    violations.append(f"{file}:{node.lineno} takes a config")
    none(violations)


def test_importing_does_nothing(tmp_path):
    modules = [file.removesuffix(".py").replace("/", ".") for file in FILES if not file.endswith("__main__.py")]
    code = f"import importlib, sys; sys.path.insert(0, {str(ROOT)!r})\nfor m in {modules!r}: importlib.import_module(m)"
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())
