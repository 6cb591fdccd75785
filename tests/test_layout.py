"""The rules of the house, held with the standard library's ast: who imports whom, and what no file may do."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ("train_search_cifar", "retrainer_cifar")
ROOMS = ("ops", "models", "controller", "data", "utils", "engine", "studies")
FILES = sorted(
    [*(ROOT / f"{name}.py" for name in SCRIPTS), *(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))]
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))
ALLOWED = {"ops": {"ops"}, "models": {"models", "ops"}, "controller": {"controller", "ops"}, "data": {"data"}}
LONG = {"train_search_cifar.py", "retrainer_cifar.py"}  # the two stories
DEVICE_ROOMS = ("utils/system/device.py", "utils/system/processes.py", "engine/precision.py")
SYSTEM = "utils/system/"  # imports nothing of ours but itself
OF_OPS = {f"ops.genotype.{word}" for word in ("SHARINGS", "GenotypeError", "MAX_BLOCKS", "MAX_STAGES")}  # for utils
CONFIG = "utils/config/"  # reads the tables that own choices of flags, and nothing else of the rooms
OF_CONFIG = {
    *("controller.strategies.CONTROLLERS", "controller.strategies.SEARCHERS", "controller.strategies.GRADIENT"),
    "controller.relaxation.RELAXATIONS",
    *("models.stems.STEMS", "models.supernet.BN_STATS", "ops.primitives.ANTIALIAS"),
    *("models.proxies.PROXIES", "ops.space.SPACES", "ops.space.SLNAS"),
    *("controller.learning.ADVANTAGES", "controller.learning.OPTIMIZERS", "controller.sampling.PATHS"),
    "controller.sampling.POLICY",
    *("data.datasets.KINDS", "data.policies.POLICIES", "data.sources.BAD_IMAGES", "data.sources.CACHES"),
}
STANDARD_LIBRARY_ONLY = ("ops/genotype.py", "ops/encodings.py", "ops/named.py", "ops/space.py")
DOCUMENTED = [
    path
    for path in FILES
    if path.relative_to(ROOT).parts[0] in ("ops", "models", "controller", "utils", "engine", "studies")
]
PROSE = [*FILES, *TESTS, *ROOT.glob("*.md"), *(p for f in ("benchmarks", "docs") for p in sorted((ROOT / f).iterdir()))]
PROSE = [path for path in PROSE if path.suffix in (".py", ".md")]
# Files that are being rewritten: names without a docstring, or a reference that leads out of the repository.
SECTION = r"docs/method\.md,\s+sections?\s+(\d+(?:\.\d+)?)(?:\s+and\s+(\d+(?:\.\d+)?))?"
OUTSIDE = r"METHOD[ ]section|issue [0-9]+|machine[ ]of the plan"  # references that resolve elsewhere


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports anywhere; ``from ops import draw`` counts as ops.draw."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name(path)}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def calls(path: Path) -> set[str]:
    """What is called, as it is written: ``eval``, ``pickle.load``."""
    return {ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_who_imports_whom(path):
    room, ours = name(path).split("/")[0], {*ROOMS, *SCRIPTS, "tests", "benchmarks"}
    for module in imports(path):
        top = module.split(".")[0]
        if room in ALLOWED:
            assert top not in ours or top in ALLOWED[room] or module.startswith("utils.system."), module
        elif room == "utils":
            above = SYSTEM not in name(path) and (top in ("utils", "engine") or module in OF_OPS)
            table = CONFIG in name(path) and module in OF_CONFIG
            assert top not in ours or module.startswith("utils.system.") or above or table, module
        elif room == "engine":
            assert top not in {*SCRIPTS, "studies", "data", "models", "controller", "ops"}, module
        elif room != "studies":
            assert top not in {*SCRIPTS, "studies"}, module
        assert top not in {"tests", "benchmarks"}, module
        if name(path) in STANDARD_LIBRARY_ONLY:
            own = {path.removesuffix(".py").replace("/", ".") for path in STANDARD_LIBRARY_ONLY}
            assert top in sys.stdlib_module_names or module.rpartition(".")[0] in own, module


@pytest.mark.parametrize("path", [p for p in FILES if name(p).startswith("data/")], ids=name)
def test_loading_data_imports_nothing_of_its_preparation(path):
    if not name(path).startswith("data/prepare/") and name(path) != "data/check.py":  # the door of python -m data.check
        assert not any(module.startswith("data.prepare") for module in imports(path))


def test_nothing_but_their_tests_imports_the_studies():
    importing = {path for path in [*FILES, *TESTS] if any(m.split(".")[0] == "studies" for m in imports(path))}
    assert {name(path).split("/")[0] for path in importing} <= {"studies", "tests"}
    assert {name(path) for path in importing if path in TESTS} <= {name(p) for p in TESTS if "studies" in p.parts}


def test_nothing_but_the_tests_of_the_commands_imports_a_script():
    importing = {name(path) for path in TESTS if any(m.split(".")[0] in SCRIPTS for m in imports(path))}
    importing = {path for path in importing if not path.startswith(("tests/commands/", "tests/studies/"))}
    assert importing <= {"tests/harness.py"}


@pytest.mark.parametrize("path", [*FILES, *TESTS], ids=name)
def test_files_are_short_enough_to_read(path):
    if name(path) not in LONG:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 260


@pytest.mark.parametrize("path", FILES, ids=name)
def test_the_device_is_chosen_in_one_place(path):
    if name(path) not in DEVICE_ROOMS:
        for node in ast.walk(tree(path)):
            assert not (isinstance(node, ast.Constant) and node.value == "cuda"), node.lineno
            assert not (isinstance(node, ast.Attribute) and node.attr == "cuda"), node.lineno


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_is_evaluated_and_no_foreign_object_is_loaded(path):
    called = calls(path)
    assert not called & {"eval", "exec", "compile", "pickle.load", "pickle.loads", "__import__"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), node.lineno


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name in ("models", "ops", "controller")], ids=name)
def test_libraries_print_nothing(path):
    if name(path) != "ops/draw.py":  # has a command line
        assert "print" not in calls(path)


@pytest.mark.parametrize("path", [p for p in FILES if name(p).split("/")[0] in (*ALLOWED,)], ids=name)
def test_nothing_below_the_scripts_and_utils_takes_a_config(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.arg):
            annotation = ast.unparse(node.annotation) if node.annotation else ""
            assert node.arg != "config", node.lineno
            assert "Config" not in annotation, node.lineno


def test_importing_does_nothing(tmp_path):
    modules = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in FILES if p.name != "__main__.py"]
    code = f"import importlib, sys; sys.path.insert(0, {str(ROOT)!r})\nfor m in {modules!r}: importlib.import_module(m)"
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


def public(node: ast.AST, prefix: str = ""):
    """(dotted name, node) of every function and class that does not begin with ``_``, and what is public in classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
            yield prefix + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{prefix}{child.name}.")


@pytest.mark.parametrize("path", DOCUMENTED, ids=name)
def test_every_public_name_has_a_docstring(path):
    module = tree(path)
    bare = [dotted for dotted, node in [("module", module), *public(module)] if not ast.get_docstring(node)]
    assert not bare, bare


@pytest.mark.parametrize("path", [p for p in DOCUMENTED if name(p).split("/")[0] != "utils"], ids=name)
def test_every_forward_names_its_shapes(path):
    source = path.read_text(encoding="utf-8")
    for dotted, node in public(ast.parse(source)):
        if dotted.endswith(".forward"):
            assert re.search(r"\([Nn], ", ast.get_source_segment(source, node)), dotted


def test_cited_sections_of_the_method_exist():
    method = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    headings = re.findall(r"^##+ (\d+(?:\.\d+)?)", method, flags=re.MULTILINE)
    assert len(headings) == len(set(headings))
    cited = {}
    for path in PROSE:
        for found in re.findall(SECTION, path.read_text(encoding="utf-8")):
            cited |= {number: name(path) for number in found if number}
    assert cited
    assert not cited.keys() - set(headings), {number: cited[number] for number in cited.keys() - set(headings)}


@pytest.mark.parametrize("path", PROSE, ids=name)
def test_references_resolve_inside_the_repository(path):
    found = re.findall(OUTSIDE, path.read_text(encoding="utf-8"))
    assert not found, found
