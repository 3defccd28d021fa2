"""Rows that repeat an earlier one's id or external id are found, and next to no others."""

from __future__ import annotations

import pytest

from customers.imports.chunks import Chunk
from customers.imports.files.reader import RowReader
from customers.imports.files.rows import Layout, Row
from customers.imports.repeats import Repeats
from tests.unit.imports.samples import read


def repeated(data: bytes, *, seen_all: bool = True) -> list[int]:
    """Return the numbers of the rows that may repeat an earlier one, chunk by chunk."""
    reader, rows = read(data)
    assert isinstance(reader, RowReader)
    assert reader.layout is not None
    repeats, found = Repeats(seen_all=seen_all), []
    for chunk in (rows[:2], rows[2:3], rows[3:]):
        bits = repeats.among(chunk, reader.layout)
        found += [row.number for index, row in enumerate(chunk) if bits >> index & 1]
    return found


HEAD = b"id,first_name,last_name,email,group_id,external_id\n"
ROWS = b"""\
,A,B,a@x.de,1,one
7,A,B,a@x.de,1,two
,Jo,Doe,x,x,one
C-007,Jo,Doe,,,
,A,B,a@x.de,1,
,A,B,a@x.de,1,ONE
x,Jo,Doe,,,,,
7,Jo,Doe,,,,,
7,,,,,
"""
LINES = b"""{"external_id": "one"}
{"external_id": "two", "id": 7}
{"external_id": "one", "bad": 1}
{"id": "C-7"}
{bad, "id": 7}
["one", "two"]
{"id": 7.0   }
{"external_id": 7}
{"external_id": "8", "id": 1}
{"external_id": "two", "id": 9}
{"id": 9     }
{"id": 9}
"""


@pytest.mark.parametrize(("data", "numbers"), [(HEAD + ROWS, [3, 4, 8]), (LINES, [3, 4, 7, 10, 11])])
def test_a_row_that_repeats_a_name_is_found_whatever_else_is_wrong_with_it(data: bytes, numbers: list[int]) -> None:
    assert repeated(data) == numbers


def test_of_a_file_that_is_read_from_its_middle_every_row_with_a_name_may_repeat_one() -> None:
    assert repeated(HEAD + ROWS, seen_all=False) == [1, 2, 3, 4, 6, 8]


def test_rows_without_names_repeat_nothing() -> None:
    assert repeated(b"first_name,last_name,email,group_id\n" + b"A,B,a@x.de,1\n" * 9, seen_all=False) == []


def keyed(numbers: range) -> list[Row]:
    return [Row(number, b"the-customer-%d" % number) for number in numbers]


def test_next_to_no_other_row_is_found() -> None:
    layout = Layout("csv", ("external_id",), ",")
    repeats = Repeats(seen_all=True)
    for start in range(0, 100_000, 1000):
        assert repeats.among(keyed(range(start, start + 1000)), layout) == 0
    assert repeats.among(keyed(range(0, 100_000, 100)), layout) == 2**1000 - 1


def test_a_chunk_says_which_of_its_rows_repeat_one() -> None:
    rows = [Row(number, b"x") for number in range(1, 1001)]
    for repeats in (0, 1, 2**1000 - 1, 1 << 999):
        chunk = Chunk("i", 1, Layout("csv", ("external_id",)), "2026-11-26T12:13:14.567Z", False, rows, repeats)  # noqa: FBT003
        assert Chunk.of_message(chunk.message()) == chunk
        assert ("repeats" in chunk.message()) == (repeats > 0)
