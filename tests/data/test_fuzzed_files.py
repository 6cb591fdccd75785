"""Files of data sets and tables with anything in them: they are read, or refused in one line."""

import gzip
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from data.datasets import find_dataset, load
from data.decoding import DataError
from data.torchvision_sets import IDX_FILES
from studies.table_reader import read_table
from tests.idx import idx_files
from utils.system.errors import UsageError

pytestmark = pytest.mark.pictures
FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
# Where a file is changed, by what; and where it ends, as a share of it.
EDITS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 255)), max_size=4)
ENDS = st.one_of(st.just(1.0), st.floats(0, 1))


def edited(content: bytes, edits, end: float) -> bytes:
    """The bytes with changes near their beginning, where headers are, and without what stands behind ``end``."""
    changed = bytearray(content)
    for place, value in edits:
        if place < len(changed):
            changed[place] = value
    return bytes(changed[: round(end * len(changed))])


def refusal_of(reader: Callable[[], None]) -> str | None:
    """What a reader that fails says; None where it does not."""
    try:
        reader()
    except (DataError, UsageError) as error:
        return str(error)
    return None


def is_one_line(text: str | None) -> bool:
    return text is None or (text != "" and "\n" not in text)


@FEW
@given(st.sampled_from(IDX_FILES), EDITS, ENDS, st.booleans())
def test_idx_files(tmp_path_factory, name, edits, end, packed):
    folder = tmp_path_factory.mktemp("idx")
    idx_files(folder, packed=packed)
    path = folder / (f"{name}.gz" if packed else name)
    path.write_bytes(edited(path.read_bytes(), edits, end))

    def read() -> None:
        assert len(load(find_dataset(str(folder)), download=False, log=lambda _line: None).train) == 40

    assert is_one_line(refusal_of(read))


@FEW
@given(EDITS, ENDS, st.sampled_from(["png", "jpg", "txt", "JPEG"]), st.text("ab .é-", min_size=1, max_size=3))
def test_folders_of_classes(tmp_path_factory, edits, end, suffix, name):
    folder = tmp_path_factory.mktemp("classes")
    for part in ("train", "val"):
        for label in ("x", f"y{name.strip(' .')}"):
            (folder / part / label).mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", (9, 9), (40 * i, 0, 0)).save(folder / part / label / f"{i}.png")
    content = (folder / "val" / "x" / "0.png").read_bytes()
    (folder / "train" / "x" / f"{name}.{suffix}").write_bytes(edited(content, edits, end))

    def read() -> None:
        assert len(load(find_dataset(str(folder)), download=False, log=lambda _line: None).classes) == 2

    assert is_one_line(refusal_of(read))


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=40), st.text("012,.\n-enai\"' \0٣", max_size=40)), st.booleans())
@example(content=b"\n", packed=False)
def test_tables(tmp_path_factory, content, packed):
    data = content if isinstance(content, bytes) else b"cell,a\n" + content.encode()
    path = tmp_path_factory.mktemp("table") / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(data) if packed and len(data) % 2 else data)

    def read() -> None:
        table = read_table(path)
        assert len(table) >= 1
        assert all(table.best(name) >= values[0] for name, values in table.columns.items())

    assert is_one_line(refusal_of(read))
