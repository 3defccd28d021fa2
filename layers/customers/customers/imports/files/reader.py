"""The reader of files: it recognizes a file's format, and cuts the file into rows.

It keeps at most two blocks and a row in memory, whatever the file is. It does not judge a row's content: bytes that are
not UTF-8 or not JSON only affect their row. If it finds no further row, it ends with a `Break` that says at which row
and why. The rows before it count.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from customers.imports.files import csv, json, lines
from customers.imports.files.blocks import Blocks, Buffer
from customers.imports.files.mapping import AS_NAMED
from customers.imports.files.rows import (
    BYTE_ORDER_MARK,
    MAX_ROW_BYTES,
    Break,
    BrokenError,
    Layout,
    Position,
    Row,
    RowTooLongError,
    without_marks,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from customers.imports.files.blocks import ByteStream
    from customers.imports.files.mapping import ColumnMapping

_SPACE: Final = b" \t\r\n"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_WRAPPED: Final = re.compile(rb'\{\s*"customers"\s*:\s*\[')
_LINE_END: Final = re.compile(rb"\r\n?|\n")
_EMPTY_LINES: Final = re.compile(rb"[\r\n]++")


class RowReader:
    """Cuts a file into rows. Iterate over it once; then `broken` says why it ended, None if at the end of the file.

    Parameters
    ----------
    stream
        The file. Exceptions of its `read` pass through; no others are raised.
    position
        Where an earlier reader of the same file stopped. The stream must begin at `position.offset`, or at the file's
        start if `position.packed`.
    mapping
        What the caller says about the columns. Not needed with a position, whose layout has it.
    """

    def __init__(self, stream: ByteStream, position: Position | None = None, mapping: ColumnMapping = AS_NAMED) -> None:
        self.broken: Break | None = None
        self.layout = None if position is None else position.layout
        self.names: tuple[str, ...] = ()
        """CSV: the columns as the header calls them."""
        self.rows = 0 if position is None else position.rows
        self._mapping = mapping
        self.offset = 0 if position is None else position.offset
        """How many bytes, decompressed, come before the place that the last step reached."""
        self._blocks = Blocks(stream, None if position is None else position.packed)
        self._buffer = Buffer(self._blocks, 0 if position is None or position.packed else position.offset)

    def __iter__(self) -> Iterator[Row]:
        return (row for row in self.steps() if row is not None)

    def steps(self) -> Iterator[Row | None]:
        """Yield each row, and None after a stretch of the file without one: some 100 KB, up to some MB."""
        try:
            if self.layout is None:
                self.layout = self._find_layout()
            else:
                self._buffer.skip_to(self.offset)
            for original in self._originals(self.layout):
                self.offset = self._buffer.offset
                if original is None:
                    yield None
                else:
                    self.rows += 1
                    yield Row(self.rows, original)
            self._buffer.check_at_end()
        except BrokenError as error:
            self.broken = Break(self.rows + 1, error.code, error.detail)

    def position_at(self, offset: int, rows: int) -> Position:
        """Return a place that an earlier step reached.

        Parameters
        ----------
        offset, rows
            The bytes and the rows before it.
        """
        assert self.layout is not None  # noqa: S101 (for the type checker)
        return Position(self.layout, offset, rows, self._blocks.packed)

    def _originals(self, layout: Layout) -> Iterator[bytes | None]:
        match layout.format:
            case "csv":
                return lines.read_rows(self._buffer, csv.CsvForm(layout.delimiter))
            case "json_lines":
                return lines.read_rows(self._buffer, json.JsonLinesForm())
            case "json_array" | "json_object" as form:
                return json.read_elements(self._buffer, in_object=form == "json_object", first=self.rows == 0)

    def _find_layout(self) -> Layout:
        """Recognize the file's format, and skip what comes before its first row."""
        buffer = self._buffer
        start = _first_bytes(buffer)
        renamed = tuple(self._mapping.columns.items())
        first, _, rest = start.partition(b"\n")
        # A bad first line does not keep a file from being JSON Lines, unless it is how another format begins.
        has_json_line = rest.lstrip(_SPACE).startswith(b"{")
        if start.startswith(b"[") and not (has_json_line and first.rstrip().endswith(b"]")):
            buffer.at += 1
            return Layout("json_array", renamed=renamed)
        if wrapped := _WRAPPED.match(start):
            buffer.at += wrapped.end()
            return Layout("json_object", renamed=renamed)
        if start.startswith((b"{", b"[")):
            return Layout("json_lines", renamed=renamed)
        before = buffer.offset
        try:
            return self._csv_layout()
        except BrokenError:
            if has_json_line and buffer.offset == before:
                return Layout("json_lines", renamed=renamed)
            raise

    def _csv_layout(self) -> Layout:
        """Read the header of a CSV file, and the line before it that names the delimiter."""
        buffer = self._buffer
        # A tab before the first name is a delimiter, and not white space.
        buffer.at = len(buffer.data[: buffer.at].rstrip(b"\t"))
        line, length = _first_line(buffer)
        delimiter = csv.delimiter_named(line)
        if delimiter is not None:
            buffer.at += length
            line, length = _first_line(buffer)
        header = csv.read_header(line, delimiter, self._mapping)
        buffer.at += length
        self.names = header.names
        return header.layout


def _first_bytes(buffer: Buffer) -> bytes:
    """Pass what may come before any format, and return what follows it, at least as much as a row may have."""
    while True:
        if not buffer.pass_space():
            raise BrokenError("empty", "The file is empty.")
        buffer.fill_up_to(MAX_ROW_BYTES)
        if not buffer.data.startswith(BYTE_ORDER_MARK, buffer.at):
            break
        buffer.at += len(BYTE_ORDER_MARK)
    start = buffer.rest()
    if start.startswith(_UTF_16) or b"\0" in _LINE_END.split(start[:MAX_ROW_BYTES], maxsplit=1)[0]:
        raise BrokenError("not_text", "The file is not UTF-8 text. Save it as UTF-8: CSV, JSON Lines or JSON.")
    return start


def _first_line(buffer: Buffer) -> tuple[bytes, int]:
    """Pass blank lines and lines of delimiters, and return the next line, and its length with its line end."""
    while True:
        if empty := _EMPTY_LINES.match(buffer.data, buffer.at):
            buffer.at = empty.end()
        buffer.fill_up_to(MAX_ROW_BYTES + len(b"\r\n"))
        found = _LINE_END.search(buffer.data, buffer.at)
        end, after = (len(buffer.data),) * 2 if found is None else found.span()
        line = buffer.data[buffer.at : end]
        if len(line) > MAX_ROW_BYTES:
            raise RowTooLongError
        line = without_marks(line)
        if found is None or csv.may_be_header(line):
            return line, after - buffer.at
        buffer.at = after
