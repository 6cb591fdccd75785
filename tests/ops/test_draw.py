import json
import random
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import combinations

import matplotlib
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from ops.draw import draw, main, render
from ops.genotype import Genotype
from ops.space import SLNAS, edges

pytestmark = pytest.mark.pictures

ARCH = "[[0,4,0,1,0,4,1,1,0,1,3,4,1,0,0,3,1,1,0,4],[0,3,0,0,1,0,1,0,1,0,0,0,1,4,1,0,1,1,1,4]]"
FLAT = tuple([0, 3, 1, 3] * 5)
CHAIN = (0, 3, 1, 3, 2, 3, 2, 3, 3, 2, 3, 3, 4, 3, 0, 3, 5, 3, 1, 2)  # the deepest, with the longest names
DOUBLE = (0, 3, 0, 3, 2, 3, 2, 3, 3, 3, 3, 3, 4, 3, 4, 3, 5, 3, 5, 3)
FAN = (0, 3, 0, 2, 2, 3, 1, 2, 3, 3, 2, 3, 4, 3, 2, 2, 5, 3, 2, 3)

encodings = st.tuples(
    *[st.integers(0, high) for n in range(5) for _ in range(2) for high in (n + 1, len(SLNAS.operations) - 1)]
)


def random_encoding(rng):
    return tuple(rng.randrange(high) for n in range(5) for _ in range(2) for high in (n + 2, len(SLNAS.operations)))


def drawn(figure):
    """The figure's renderer, after it has drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def written(text):
    """What a text says, as operations are named."""
    return "_".join(text.get_text().split())


@settings(max_examples=12, deadline=None)
@given(encodings, encodings)
@example(CHAIN, FLAT)
@example(DOUBLE, FAN)
def test_every_edge_is_named_and_no_name_covers_another_one_or_a_state_or_leaves_the_page(normal, reduction):
    figure = draw(Genotype((normal, reduction)))
    renderer = drawn(figure)
    page = figure.bbox.padded(0.5)
    assert figure.get_size_inches()[0] * 2.54 == pytest.approx(8.5)
    for axes, encoding in zip(figure.axes, (normal, reduction), strict=True):
        names = [written(text) for text in axes.texts]
        operations = [name for name in names if name in SLNAS.operations]
        assert sorted(operations) == sorted(SLNAS.operations[e.op] for pair in edges(encoding) for e in pair)
        assert {"s0", "s1", *"01234"} <= set(names)
        boxes = [text.get_window_extent(renderer) for text in axes.texts]
        assert all(text.get_fontsize() >= 5.5 for text in axes.texts)
        patches = [patch.get_window_extent(renderer) for patch in axes.patches]
        assert all(page.containsx(b.x0) and page.containsx(b.x1) for b in boxes + patches)
        assert all(page.containsy(b.y0) and page.containsy(b.y1) for b in boxes + patches)
        assert not any(Bbox.intersection(a, b) for a, b in combinations(boxes, 2))
        labels = [box for box, name in zip(boxes, names, strict=True) if name in SLNAS.operations]
        states = [p.get_window_extent() for p in axes.patches if isinstance(p, Circle)]
        assert not any(Bbox.intersection(a, b) for a in labels for b in states)


@settings(max_examples=25, deadline=None)
@given(encodings)
@example(DOUBLE)
def test_a_line_touches_only_the_two_states_that_it_joins(encoding):
    figure = draw(Genotype((encoding,), "stage"))
    drawn(figure)
    (axes,) = figure.axes
    inside = [p.get_extents().padded(12) for p in axes.patches if isinstance(p, Circle)]
    touched = []
    for line in (p for p in axes.patches if isinstance(p, FancyArrowPatch)):
        arc = Path(line.get_path().vertices[:3], line.get_path().codes[:3])  # behind it comes its head
        path = line.get_transform().transform_path(arc)
        touched.append({k for k, box in enumerate(inside) if path.intersects_bbox(box, filled=False)})
    assert touched == [{e.input, state} for state, pair in enumerate(edges(encoding), 2) for e in pair]


@pytest.mark.parametrize(
    ("sharing", "count", "titles"),
    [
        ("type", 2, ["normal cell", "reduction cell"]),
        ("stage", 3, ["stage 0", "stage 1", "stage 2"]),
        ("block", 6, [f"block {i}" for i in range(6)]),
    ],
)
def test_every_cell_has_its_heading_and_a_place_of_its_own(sharing, count, titles):
    rng = random.Random(count)
    figure = draw(Genotype(tuple(random_encoding(rng) for _ in range(count)), sharing))
    assert [axes.texts[0].get_text() for axes in figure.axes] == titles
    places = [axes.get_position() for axes in figure.axes]
    overlaps = [Bbox.intersection(a, b) for a, b in combinations(places, 2)]
    assert not any(overlap.width * overlap.height > 1e-9 for overlap in overlaps if overlap)  # else they share a border


def test_the_three_kinds_of_file_are_valid(tmp_path):
    genotypes = tmp_path / "genotypes.json"
    document = {"sharing": "stage", "blocks": [1], "candidates": [{"cells": [list(CHAIN)]}]}
    genotypes.write_text(json.dumps(document))
    for name in ("cell.svg", "cell.PNG", "cell.pdf"):
        assert main([f"{genotypes}#0", "-o", str(tmp_path / name)]) == 0
    width = ElementTree.parse(tmp_path / "cell.svg").getroot().get("width")
    assert float(width.removesuffix("pt")) == pytest.approx(8.5 / 2.54 * 72)
    assert imread(tmp_path / "cell.PNG").shape[1] in (1003, 1004)
    pdf = (tmp_path / "cell.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert main([ARCH, "-o", str(tmp_path / "low.png"), "--dpi", "100"]) == 0
    assert imread(tmp_path / "low.png").shape[1] in (334, 335)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "cell.PNG", "cell.pdf", "cell.svg", "genotypes.json", "low.png"
    ]  # fmt: skip


def test_the_command_writes_the_same_bytes_in_another_process_without_pyplot(tmp_path):
    code = (
        "import sys; from ops.draw import main; status = main(sys.argv[1:]); "
        "assert 'matplotlib.pyplot' not in sys.modules; sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, ARCH, "-o", str(tmp_path / "a.svg")], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    genotype = Genotype.from_lists(json.loads(ARCH))
    assert (tmp_path / "a.svg").read_bytes() == render(genotype, "svg")
    assert render(genotype, "pdf") == render(genotype, "pdf")


def test_the_picture_does_not_depend_on_the_settings_of_the_user():
    genotype = Genotype.from_lists(json.loads(ARCH))
    odd = {"text.usetex": True, "lines.dashed_pattern": [1, 9], "savefig.bbox": "tight", "font.size": 30}
    expected = render(genotype, "svg")
    with matplotlib.rc_context(odd):
        assert render(genotype, "svg") == expected
        assert matplotlib.rcParams["text.usetex"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["[[0,4,9]]", "-o", "x.svg"], "cell 0 has 3 values"),
        ([ARCH.replace("[[0,4", "[[2,4"), "-o", "x.svg"], "node 0: input_1 is 2"),
        (["none.json#0", "-o", "x.svg"], "none.json"),
        ([ARCH, "-o", "x.gif"], ".svg, .png or .pdf"),
        ([ARCH, "-o", "x"], ".svg, .png or .pdf"),
        ([ARCH, "-o", "nowhere/x.svg"], "there is no folder nowhere"),
        ([ARCH], "-o/--output"),
        ([], "genotype"),
        ([ARCH, "-o", "x.png", "--dpi", "9"], "--dpi: 9 is not"),
        ([ARCH, "-o", "x.png", "--dpi", "many"], "--dpi"),
        ([ARCH, "-o", "x.png", "--shar", "type"], "--shar"),
        ([ARCH, "-o", "x.png", "--sharing", "cell"], "--sharing"),
        ([json.dumps([list(FLAT)] * 3), "-o", "x.png"], "sharing 'type' takes 2 encodings"),
        ([json.dumps([list(FLAT)] * 30), "-o", "x.png", "--sharing", "block", "--dpi", "1200"], "pixels"),
        ([ARCH, "-o", "two\nlines\x1b.gif"], ".svg"),
    ],
)
def test_wrong_use_is_one_line_and_status_2_and_leaves_nothing(args, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ops.draw: ")
    assert err.count("\n") == 1
    assert said in err
    assert "\x1b" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 300 + ".svg", "nul\0.svg", "folder.svg"])
def test_a_fault_while_writing_is_one_line_and_status_1(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.svg").mkdir()
    assert main([ARCH, "-o", name]) == 1
    err = capsys.readouterr().err
    assert err.startswith("ops.draw: ")
    assert "cannot be written" in err
    assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["folder.svg"]


def test_a_fault_keeps_the_old_file(tmp_path, monkeypatch, capsys):
    path = tmp_path / "cell.svg"
    path.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    assert main([ARCH, "-o", str(path)]) == 1
    assert capsys.readouterr().err == f"ops.draw: {path} cannot be written: No space left on device\n"
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "python -m ops.draw genotypes.json#0 -o cell.svg" in capsys.readouterr().out
