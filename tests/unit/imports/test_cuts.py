"""Where chunks begin. An import that goes on in another process, or after a deployment, has to make the same cuts."""

from __future__ import annotations

import io
import random

import pytest

from customers.imports.chunks import Chunk, cuts
from customers.imports.files.mapping import ColumnMapping
from customers.imports.files.reader import RowReader
from customers.imports.files.rows import MAX_ROW_BYTES


def sizes(lines: list[bytes]) -> list[list[int]]:
    """Return the lengths of the rows of each chunk of a file."""
    reader = RowReader(io.BytesIO(b"".join(line + b"\n" for line in lines)))
    return [[len(row.original) for row in cut.rows] for cut in cuts(reader) if cut.rows]


def test_a_chunk_has_a_thousand_rows() -> None:
    assert [len(chunk) for chunk in sizes([b"{}"] * 2_500)] == [1000, 1000, 500]


def test_a_chunk_ends_with_the_row_that_makes_it_75_000_bytes() -> None:
    full, just_below = [50_000, 25_000], [50_000, 24_999, 30]
    wanted = [full, just_below, full, just_below, just_below, [20]]
    assert sizes([b"{" + b" " * (size - 2) + b"}" for chunk in wanted for size in chunk]) == wanted


@pytest.mark.parametrize(
    "header",
    [",".join(f"metadata.{number:023}" for number in range(1900)), ",".join(["x"] * 1995)],
    ids=["entries", "ignored"],
)
def test_the_largest_chunk_fits_into_a_message_of_sqs(header: str) -> None:
    randomness = random.Random(1)
    lengths = [*[1_000] * 74, 999, MAX_ROW_BYTES]
    lines = (randomness.randbytes(length).translate(bytes.maketrans(b'\r\n"', b"abc")) for length in lengths)
    file = f"{header},first_name,last_name,email,group_id\n".encode() + b"\n".join(lines)
    reader = RowReader(io.BytesIO(file), mapping=ColumnMapping.of_words([], ["x"]))
    first = next(cuts(reader))
    assert [len(row.original) for row in first.rows] == lengths
    chunk = Chunk("i" * 64, 10**9, first.position.layout, "2026-11-26T12:13:14.567Z", restore=False, rows=first.rows)
    assert 190_000 < len(chunk.message()) <= 256 * 1024


def test_blank_lines_after_the_first_row_end_a_chunk_after_8_mib() -> None:
    blank = [b" " * 1023] * 8 * 1024
    assert sizes([b"{}", b"{}", *blank, b"{}", b"{}"]) == [[2, 2], [2, 2]]
    assert sizes([b"{}", b"{}", *blank[:-10], b"{}", b"{}"]) == [[2, 2, 2, 2]]
