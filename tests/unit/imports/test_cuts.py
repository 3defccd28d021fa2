"""Where chunks begin. An import that goes on in another process, or after a deployment, has to make the same cuts."""

from __future__ import annotations

import io

from customers.imports.chunks import cuts
from customers.imports.files.reader import RowReader


def sizes(lines: list[bytes]) -> list[list[int]]:
    """Return the lengths of the rows of each chunk of a file."""
    reader = RowReader(io.BytesIO(b"".join(line + b"\n" for line in lines)))
    return [[len(row.original) for row in cut.rows] for cut in cuts(reader) if cut.rows]


def test_a_chunk_has_a_thousand_rows() -> None:
    assert [len(chunk) for chunk in sizes([b"{}"] * 2_500)] == [1000, 1000, 500]


def test_a_chunk_ends_with_the_row_that_makes_it_100_000_bytes() -> None:
    full, just_below = [50_000, 50_000], [50_000, 49_999, 30]
    wanted = [full, just_below, full, just_below, just_below, [20]]
    assert sizes([b"{" + b" " * (size - 2) + b"}" for chunk in wanted for size in chunk]) == wanted


def test_blank_lines_after_the_first_row_end_a_chunk_after_8_mib() -> None:
    blank = [b" " * 1023] * 8 * 1024
    assert sizes([b"{}", b"{}", *blank, b"{}", b"{}"]) == [[2, 2], [2, 2]]
    assert sizes([b"{}", b"{}", *blank[:-10], b"{}", b"{}"]) == [[2, 2, 2, 2]]
