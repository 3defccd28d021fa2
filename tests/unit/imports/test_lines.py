"""Lines: blank ones are skipped, and one that is too long is a row of its own."""

from __future__ import annotations

import pytest

from customers.errors import InvalidError
from customers.imports.files.lines import Window
from customers.imports.files.rows import MAX_ROW_BYTES
from customers.imports.files.values import RowParser
from tests.unit.imports.samples import GOOD, HEAD, ITEM, read

STARTS = {"csv": (HEAD, GOOD), "json lines": (ITEM + b"\n", ITEM + b"\n")}
LONG = b" " * (MAX_ROW_BYTES + 1)


@pytest.mark.parametrize("form", STARTS)
@pytest.mark.parametrize("padding", [b"", b" " * 1_000_000])
def test_a_line_that_is_blank_as_far_as_a_row_may_go_is_a_row_if_anything_follows(form: str, padding: bytes) -> None:
    start, good = STARTS[form]
    reader, before = read(start)
    for end in (b"\n" + good, b""):
        reader, rows = read(start + LONG + padding + b"x" + end)
        assert reader.broken is None
        assert len(rows) == len(before) + 1 + bool(end)
        assert reader.layout is not None
        with pytest.raises(InvalidError) as raised:
            RowParser(reader.layout).value(rows[len(before)].original)
        assert [error["code"] for error in raised.value.errors] == ["row_too_long"]


@pytest.mark.parametrize("form", STARTS)
@pytest.mark.parametrize("blank", [b"", b"\r", b"  \r", LONG, LONG * 10])
def test_a_blank_line_is_no_row_however_long_it_is(form: str, blank: bytes) -> None:
    start, good = STARTS[form]
    for end in (b"\n" + good, b""):
        reader, rows = read(start + good + blank + end)
        without, expected = read(start + good + end)
        assert reader.broken is without.broken is None
        assert [row.number for row in rows] == [row.number for row in expected]


@pytest.mark.parametrize("cells", [b"," * MAX_ROW_BYTES, b" ,\t" * MAX_ROW_BYTES])
def test_a_line_of_empty_cells_is_no_row_however_long_it_is(cells: bytes) -> None:
    reader, rows = read(HEAD + GOOD + cells + b"\n" + GOOD + cells)
    assert reader.broken is None
    assert [row.original for row in rows] == [GOOD.rstrip()] * 2


@pytest.mark.parametrize(
    ("data", "is_last", "lines", "unfinished"),
    [
        (b"", False, [], 0),
        (b"a\nb\n", False, [b"a\n", b"b\n"], 0),
        (b"a\r\nb\r\n", False, [b"a\r\n", b"b\r\n"], 0),
        (b"a\nbcd", False, [b"a\n"], 3),
        # The line feed may still follow.
        (b"a\r\nbcd\r", False, [b"a\r\n"], 4),
        (b"a\nbcd", True, [b"a\n", b"bcd"], 0),
        (b"a\r\nbcd\r", True, [b"a\r\n", b"bcd\r"], 0),
    ],
)
def test_a_window_has_every_line_that_is_known_to_end_in_it(
    data: bytes,
    is_last: bool,  # noqa: FBT001
    lines: list[bytes],
    unfinished: int,
) -> None:
    window = Window(data, is_last=is_last)
    assert (window.lines, window.unfinished) == (lines, unfinished)
