"""Rows that are lines or begin with one: what the readers of CSV and of JSON Lines share.

A line ends in CR, LF or CRLF. The file is cut into lines a window at a time, and each byte is looked at a few times at
most, whatever the bytes are.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Protocol

from customers.imports.files.rows import MAX_ROW_BYTES, BrokenError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from customers.imports.files.blocks import Buffer

_LINE_END: Final = b"\r\n"
_LINE_ENDS: Final = re.compile(rb"[\r\n]")
_LONGEST_LINE: Final = 64 * 1024 * 1024
"""A line that is longer is not a row of customers that somebody could correct, and the file is broken there."""


class Window:
    """The lines that a buffer holds, from the start of one on.

    Parameters
    ----------
    data
        What the buffer holds.
    is_last
        Whether no line follows, so that the last one needs no line end.
    is_damaged
        Whether more lines followed before the file was damaged.
    """

    def __init__(self, data: bytes, *, is_last: bool, is_damaged: bool = False) -> None:
        self.data = data
        self.lines = data.splitlines(keepends=True)
        self._is_whole = is_last and not is_damaged
        # A line feed may follow a carriage return.
        if self.lines and not is_last and not self.lines[-1].endswith(b"\n"):
            self.unfinished = len(self.lines.pop())
        else:
            self.unfinished = 0

    @cached_property
    def starts(self) -> list[int]:
        """Where in the data each line begins, and where the last one ends."""
        return list(accumulate(map(len, self.lines), initial=0))

    def line_at(self, place: int) -> int:
        """Return the line that holds a byte of the data."""
        return bisect_right(self.starts, place) - 1

    def fits(self, first: int, last: int) -> bool:
        """Whether the lines from `first` to `last` are no longer than a row may be."""
        return self.starts[last + 1] - self.starts[first] <= MAX_ROW_BYTES

    def may_continue(self, first: int) -> bool:
        """Whether a row that begins at line `first` may include lines that the window does not hold yet."""
        size = self.starts[-1] - self.starts[first] + self.unfinished
        return not self._is_whole and size <= MAX_ROW_BYTES


class RowForm(Protocol):
    """What distinguishes rows of CSV and of JSON Lines."""

    blank: bytes
    """The bytes of which a blank row consists."""

    def is_plain(self, line: bytes) -> bool:
        """Whether a line is a row of its own for certain, without a byte order mark. May be wrong about others."""

    def content(self, row: bytes) -> bytes:
        """Return a row without the byte order marks before it; nothing if it is blank."""

    def last_line(self, window: Window, first: int) -> int | None:
        """Return the last line of a row, by its first one; None if none of the window's lines ends it."""


def read_rows(buffer: Buffer, form: RowForm) -> Iterator[bytes | None]:
    """Read every row up to the end of the file, without its line end. Blank rows are passed over.

    Yields each row; None for a stretch of the file in which none ends, so that the caller can look at the clock.

    Parameters
    ----------
    buffer
        The file, at the start of a line.
    form
        What its rows are like.

    Raises
    ------
    BrokenError
        The file is damaged, or a line is longer than `_LONGEST_LINE`.
    """
    damage: BrokenError | None = None
    while True:
        try:
            is_last = not buffer.fill()
        except BrokenError as error:
            # What comes before the damage counts, up to the last line end.
            damage = error
            buffer.cut_off_unfinished_line()
            is_last = True
        _pass_blank(buffer, form.blank)
        window = Window(buffer.rest(), is_last=is_last, is_damaged=damage is not None)
        yield from _rows_in(window, buffer, form)
        if damage is not None:
            raise damage
        if is_last:
            return
        if window.unfinished > MAX_ROW_BYTES and window.unfinished == len(buffer.data) - buffer.at:
            yield from _long_line(buffer, form.blank)
            continue
        yield None


def _rows_in(window: Window, buffer: Buffer, form: RowForm) -> Iterator[bytes]:
    """Read the rows that a window holds as a whole."""
    lines, is_plain, blank = window.lines, form.is_plain, form.blank
    index = 0
    while index < len(lines):
        first, row = index, lines[index]
        index += 1
        if is_plain(row) and len(row) <= MAX_ROW_BYTES:
            buffer.at += len(row)
            yield row.rstrip(_LINE_END)
            continue
        if row[0] in blank and not row.strip(blank):
            buffer.at += len(row)
            # Blank lines often come together.
            while index < len(lines) and not lines[index].strip(blank):
                buffer.at += len(lines[index])
                index += 1
            continue
        last = form.last_line(window, first)
        if last is None:
            if window.may_continue(first):
                return
        # If a row does not end in time, only its first line is bad: the next one is a row of its own.
        elif last > first and window.fits(first, last):
            row = b"".join(lines[first : last + 1])
            index = last + 1
        buffer.at += len(row)
        if row := form.content(row.rstrip(_LINE_END)):
            yield row[: MAX_ROW_BYTES + 1]


def _pass_blank(buffer: Buffer, blank: bytes) -> None:
    """Pass over blank lines quickly, up to the start of the line that holds the first other byte."""
    rest = buffer.rest()
    skipped = len(rest) - len(rest.lstrip(blank))
    line_end = max(rest.rfind(b"\n", 0, skipped), rest.rfind(b"\r", 0, skipped))
    buffer.at += line_end + 1


def _long_line(buffer: Buffer, blank: bytes) -> Iterator[bytes]:
    """Skip a line, and yield its beginning, as much as shows that it is too long; nothing if it is blank."""
    beginning = buffer.data[buffer.at : buffer.at + MAX_ROW_BYTES + 1]
    start = buffer.offset
    is_blank = True
    while True:
        end = _LINE_ENDS.search(buffer.data, buffer.at)
        piece = buffer.take((len(buffer.data) if end is None else end.start()) - buffer.at)
        is_blank = is_blank and not piece.strip(blank)
        if end is not None or not buffer.fill():
            break
        if buffer.offset - start > _LONGEST_LINE:
            raise BrokenError("row_too_long", f"The row has more than {_LONGEST_LINE} bytes.")
    if not is_blank:
        yield beginning
