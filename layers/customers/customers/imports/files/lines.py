"""Rows that are lines or begin with one: the reader of JSON Lines and CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from customers.imports.files.rows import MAX_ROW_BYTES, RowTooLongError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from customers.imports.files.blocks import Buffer

_LINE_END: Final = b"\r\n"
_BLANK: Final = b" \r\n"


def read_rows(buffer: Buffer, row_length: Callable[[Buffer], int]) -> Iterator[bytes]:
    """Read every row up to the end of the file, without its line end. Blank lines are not rows.

    Parameters
    ----------
    buffer
        The file, at the start of a line.
    row_length
        Returns the length of the next row with its line end; 0 at the end of the file. If it raises RowTooLongError,
        the row is one line, and only its beginning is read.

    Raises
    ------
    BrokenError
        The file is damaged.
    """
    while True:
        try:
            length = row_length(buffer)
        except RowTooLongError:
            yield from _long_line(buffer)
            continue
        if length == 0:
            return
        row = buffer.take(length).rstrip(_LINE_END)
        if row.strip(_BLANK):
            yield row


def _long_line(buffer: Buffer) -> Iterator[bytes]:
    """Skip a line, and yield its beginning, as much as shows that it is too long; nothing if it is blank."""
    beginning = buffer.data[buffer.at : buffer.at + MAX_ROW_BYTES + 1]
    is_blank = True
    is_over = False
    while not is_over:
        end = buffer.data.find(b"\n", buffer.at)
        piece = buffer.take((len(buffer.data) if end < 0 else end + 1) - buffer.at)
        is_blank = is_blank and not piece.strip(_BLANK)
        is_over = end >= 0 or not buffer.fill()
    if not is_blank:
        yield beginning
