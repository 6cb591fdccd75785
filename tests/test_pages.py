"""What the pages and comments refer to exists: files, functions, tests, sections, links; nothing refers elsewhere."""

from __future__ import annotations

import ast
import re

from tests.test_layout import BENCHMARKS, FILES, ROOT, TESTS, none, text, tree

FOLDERS = ("", "docs", "benchmarks")
PAGES = sorted(page.relative_to(ROOT).as_posix() for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
HEADING = r"^##+ (\d+(?:\.\d+)?)"
SECTION = r"docs/(\w+)\.md,\s+sections?\s+(\d+(?:\.\d+)?)(?:\s+and\s+(\d+(?:\.\d+)?))?"
OUTSIDE = r"METHOD[ ]section|issue [0-9]+|machine[ ]of the plan"  # references that resolve elsewhere


def defined(file: str, name: str) -> bool:
    """Whether a file of the repository defines a name; one with a dot is a method of a class."""
    if not (ROOT / file).is_file():
        return False
    body: list[ast.stmt] = tree(file).body
    for part in name.split("."):
        named = {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        targets = [t for node in body for t in getattr(node, "targets", [getattr(node, "target", None)])]
        if part not in named:
            return part in {target.id for target in targets if isinstance(target, ast.Name)}
        body = named[part].body
    return True


def test_files_names_and_links_in_the_pages_exist():
    violations = []
    for page in sorted({*PAGES} - {"CHANGELOG.md"}):
        names = re.findall(r"`([\w/]+\.py)::([\w.]+)`", text(page))  # `file.py::function`
        names += re.findall(r"^    ([\w/]+\.py) +([\w.]+) {2,}\S", text(page), flags=re.MULTILINE)  # a chain of calls
        violations += [f"{page} names {file}::{name}" for file, name in names if not defined(file, name)]
        files = re.findall(r"`((?:\w+/)+\w+\.(?:py|md))`", text(page))
        violations += [f"{page} names {file}" for file in files if not (ROOT / file).exists()]
        links = re.findall(r"\]\(([\w./]+\.\w+)", text(page))
        violations += [f"{page} links to {link}" for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    none(violations)


def test_every_promise_names_a_test():
    rows = [row for row in text("docs/promises.md").splitlines() if row.startswith("| ")][1:]
    assert rows
    none([row for row in rows if not re.search(r"`tests/[\w/]+\.py::\w+`", row)])


def test_cited_sections_exist_and_nothing_refers_out_of_the_repository():
    violations = []
    for file in (*FILES, *BENCHMARKS, *TESTS, *PAGES):
        for page, *numbers in re.findall(SECTION, text(file)):
            headings = re.findall(HEADING, text(f"docs/{page}.md"), flags=re.MULTILINE)
            missing = [number for number in numbers if number and number not in headings]
            violations += [f"{file} cites section {number} of docs/{page}.md" for number in missing]
        violations += [f"{file}: {phrase}" for phrase in re.findall(OUTSIDE, text(file))]
    none(violations)
