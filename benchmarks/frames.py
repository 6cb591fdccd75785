"""Run a script of the current folder and print, as JSON, our functions between its loop over epochs and a network.

    python FOLDER/benchmarks/frames.py SCRIPT FLAG ...       started by benchmarks.house, in the checkout to look at

The loop is the outermost ``for`` or ``while`` on the stack whose first line speaks of an epoch. Of all forward passes
of a Network or SuperNet below it, the one with the most frames is printed, as the last line on standard output.
"""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import sys
from functools import cache
from pathlib import Path
from types import FrameType

ROOT = Path.cwd()
NETWORKS = ("Network", "SuperNet")


@cache
def epoch_loops(file: str) -> list[range]:
    """The lines of every loop over epochs in a file."""
    loops = []
    for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.For | ast.While):
            head = [node.target, node.iter] if isinstance(node, ast.For) else [node.test]
            if any(re.search(r"\bepochs?\b", ast.unparse(part)) for part in head):
                loops.append(range(node.lineno, node.end_lineno + 1))
    return loops


def way_to(frame: FrameType | None) -> list[str]:
    """Our functions on the stack above ``frame``, from below the loop inwards; empty outside every loop."""
    stack = []
    while frame is not None:
        path = Path(frame.f_code.co_filename).absolute()
        ours = ROOT in path.parents and "site-packages" not in path.parts  # an environment may lie in the checkout
        if ours and path.is_file() and path != Path(__file__).resolve():
            stack.append((str(path), frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    stack.reverse()  # the outermost first
    for i, (file, line, _) in enumerate(stack):
        if any(line in loop for loop in epoch_loops(file)):
            return [f"{Path(f).relative_to(ROOT).as_posix()}:{name}" for f, _, name in stack[i + 1 :]]
    return []


def main() -> None:
    """Run the script that the command line names, and print the longest way."""
    from torch.nn.modules.module import register_module_forward_pre_hook

    sys.path[0], sys.argv = str(ROOT), sys.argv[1:]
    longest: list[str] = []

    def look(module, _inputs) -> None:
        if type(module).__name__ in NETWORKS:
            longest[:] = max(longest, way_to(sys._getframe(1)), key=len)

    register_module_forward_pre_hook(look)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    print(json.dumps(longest), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
