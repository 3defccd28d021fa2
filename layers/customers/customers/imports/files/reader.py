"""The reader of files: it recognizes a file's format, and cuts the file into rows.

It keeps at most a block and a row in memory, whatever the file is. It does not judge a row's content: bytes that are
not UTF-8 or not JSON only affect their row. If it finds no further row, it ends with a `Break` that says at which row
and why. The rows before it count.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from customers.imports.files import csv, json, lines
from customers.imports.files.blocks import Blocks, Buffer
from customers.imports.files.rows import MAX_ROW_BYTES, Break, BrokenError, Layout, Position, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from customers.imports.files.blocks import ByteStream

_SPACE: Final = b" \t\r\n"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_WRAPPED: Final = re.compile(rb'\{\s*"customers"\s*:\s*\[')


class RowReader:
    """Cuts a file into rows. Iterate over it once; then `broken` says why it ended, None if at the end of the file.

    Parameters
    ----------
    stream
        The file. Exceptions of its `read` pass through; no others are raised.
    position
        Where an earlier reader of the same file stopped. The stream must begin at `position.offset`, or at the file's
        start if `position.packed`.
    """

    def __init__(self, stream: ByteStream, position: Position | None = None) -> None:
        self.broken: Break | None = None
        self.layout = None if position is None else position.layout
        self.rows = 0 if position is None else position.rows
        self._offset = None if position is None else position.offset
        self._blocks = Blocks(stream, None if position is None else position.packed)
        self._buffer = Buffer(self._blocks, 0 if position is None or position.packed else position.offset)

    def __iter__(self) -> Iterator[Row]:
        try:
            if self.layout is None or self._offset is None:
                self.layout = _find_layout(self._buffer)
            else:
                self._buffer.skip_to(self._offset)
            for original in self._originals(self.layout):
                self.rows += 1
                self._offset = self._buffer.offset
                yield Row(self.rows, original)
            self._buffer.check_at_end()
        except BrokenError as error:
            self.broken = Break(self.rows + 1, error.code, error.detail)

    @property
    def position(self) -> Position | None:
        """After the last row; None before the first one."""
        if self.layout is None or self._offset is None:
            return None
        return Position(self.layout, self._offset, self.rows, self._blocks.packed)

    def _originals(self, layout: Layout) -> Iterator[bytes]:
        match layout.format:
            case "csv":
                length = partial(csv.record_length, delimiter=layout.delimiter.encode())
                return lines.read_rows(self._buffer, length)
            case "json_lines":
                return lines.read_rows(self._buffer, Buffer.line_length)
            case "json_array" | "json_object" as form:
                return json.read_elements(self._buffer, in_object=form == "json_object", first=self.rows == 0)


def _find_layout(buffer: Buffer) -> Layout:
    """Recognize a file's format, and skip what comes before its first row."""
    buffer.pass_space()
    buffer.fill_up_to(len(_BYTE_ORDER_MARK))
    if buffer.data.startswith(_BYTE_ORDER_MARK, buffer.at):
        buffer.at += len(_BYTE_ORDER_MARK)
    if not buffer.pass_space():
        raise BrokenError("empty", "The file is empty.")
    buffer.fill_up_to(MAX_ROW_BYTES)
    start = buffer.data[buffer.at :]
    if start.startswith(_UTF_16) or b"\0" in start[:MAX_ROW_BYTES].partition(b"\n")[0]:
        raise BrokenError("not_text", "The file is not UTF-8 text. Save it as UTF-8: CSV, JSON Lines or JSON.")
    first, _, rest = start.partition(b"\n")
    # A bad first line does not keep a file from being JSON Lines, unless it is how another format begins.
    has_json_line = rest.lstrip(_SPACE).startswith(b"{")
    if start.startswith(b"[") and not (has_json_line and first.rstrip().endswith(b"]")):
        buffer.at += 1
        return Layout("json_array")
    if wrapped := _WRAPPED.match(start):
        buffer.at += wrapped.end()
        return Layout("json_object")
    if start.startswith((b"{", b"[")):
        return Layout("json_lines")
    return _csv_layout(buffer, has_json_line=has_json_line)


def _csv_layout(buffer: Buffer, *, has_json_line: bool) -> Layout:
    """Read the header of a CSV file, unless it is a bad first line of JSON Lines."""
    length = buffer.line_length()
    try:
        layout = csv.read_header(buffer.data[buffer.at : buffer.at + length].rstrip(b"\r\n"))
    except BrokenError:
        if has_json_line:
            return Layout("json_lines")
        raise
    buffer.at += length
    return layout
