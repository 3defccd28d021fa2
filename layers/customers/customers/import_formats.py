"""Files of customers: cuts a stream into rows, and reads a row. Knows nothing of AWS.

Cutting holds no more than a block and a row in memory, whatever the stream is, and decides nothing about a row's
content: bytes that are not UTF-8 or not JSON are that row's trouble alone. Where no further row can be found, the
reader ends with a Break that says from which row on, and why; the rows before it count.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from customers.errors import CustomersError, FieldError, InvalidError
from customers.model import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ROW_BYTES: Final = 64 * 1024
"""A customer with the longest fields, every character escaped, is an eighth of it."""
FIELDS: Final = ("first_name", "last_name", "email", "group_id", "age")
REQUIRED: Final = FIELDS[:4]
ROW_COLUMN: Final = "import_row"
ERRORS_COLUMN: Final = "import_errors"
ADDED_COLUMNS: Final = frozenset({ROW_COLUMN, ERRORS_COLUMN})
"""What a report of rejected rows adds to each: ignored on the way in, so that a mended report is a file to import."""

_WRONG_HEADER: Final = "wrong_header"
_HEADER_RULE: Final = f"The CSV header must name {', '.join(REQUIRED)} and may name age"
_BLOCK_BYTES: Final = 256 * 1024
_MAX_EXPANSION: Final = 250
"""Times that a gzip file may grow, over its first 64 MB: text of customers grows tenfold, a zip bomb a thousandfold."""
_EXPANSION_FREE_BYTES: Final = 64 * 1024 * 1024
_GZIP_WBITS: Final = 31
_SHOWN_COLUMNS: Final = 5
_SHOWN_BYTES: Final = 1000
"""Of a row that is too long."""
_SPACE: Final = b" \t\r\n"
_DELIMITERS: Final = (",", ";", "\t")
_WRAPPED: Final = re.compile(rb'\{\s*"customers"\s*:\s*\[')
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\]]', re.DOTALL)
"""A whole string, or the start of one that is cut off, or a bracket."""
_SCALAR_END: Final = re.compile(rb"[,\]}\s]")
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")

Format = Literal["csv", "json_lines", "json_array", "json_object"]


class ByteStream(Protocol):
    """What the reader reads from: a file, or the body of an S3 object."""

    def read(self, size: int, /) -> bytes:
        """Give at most so many bytes, none at the end."""


class Layout(NamedTuple):
    """What kind of file it is."""

    format: Format
    columns: tuple[str, ...] = ()
    """CSV: the header's names, trimmed, in lower case."""
    delimiter: str = ""
    """CSV: what separates the cells."""


class Position(NamedTuple):
    """A place between two rows, from which another reader can go on."""

    layout: Layout
    offset: int
    """Bytes before it, unpacked."""
    rows: int
    """Rows before it."""
    packed: bool
    """Whether the file is a gzip file, whose bytes must be read from the start to get there."""


class Row(NamedTuple):
    """One row as it stands in the file."""

    number: int
    """From 1, counting neither the header nor empty lines."""
    original: bytes
    """Of a line that is too long, its beginning: a byte more than a row may have."""


class Break(NamedTuple):
    """Where the file stops being a file of customers, or being read."""

    row: int
    """The first row that could not be found; the rows before it are good to use."""
    code: str
    """Why, for programs; stable."""
    detail: str
    """Why, for people. May show a header's names, so it belongs into reports and not into logs."""

    def unquoting(self) -> Break:
        """Give it without what it quotes of the file."""
        return self._replace(detail=f"{_HEADER_RULE}.") if self.code == _WRONG_HEADER else self


class _BrokenError(CustomersError):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__()
        self.code = code
        self.detail = detail


class RowReader:
    """Cuts a stream into rows. Iterate over it once; then `broken` tells how it ended.

    Parameters
    ----------
    stream
        The file. What its `read` raises passes through; nothing else is raised.
    position
        Where an earlier reader of the same file got to. The stream then begins at `position.offset`, or at the
        file's own start if `position.packed`.
    """

    def __init__(self, stream: ByteStream, position: Position | None = None) -> None:
        self.broken: Break | None = None
        self.layout: Layout | None = None if position is None else position.layout
        self.rows = 0 if position is None else position.rows
        self._resumed = position
        self._blocks = _Blocks(stream, None if position is None else position.packed)
        self._failure: _BrokenError | None = None
        self._buffer = b""
        self._at = 0
        self._base = 0 if position is None or position.packed else position.offset

    def __iter__(self) -> Iterator[Row]:
        try:
            if self._resumed is not None:
                self._skip_to(self._resumed.offset)
            elif self.layout is None:
                self.layout = self._open()
            assert self.layout is not None  # noqa: S101 (for the type checker)
            cut = {"csv": self._csv_row, "json_lines": self._line}.get(self.layout.format, self._element)
            while (original := cut()) is not None:
                if original.strip(b" \r\n"):
                    self.rows += 1
                    yield Row(self.rows, original)
        except _BrokenError as error:
            self.broken = Break(self.rows + 1, error.code, error.detail)

    @property
    def position(self) -> Position | None:
        """Where it stands: after the last row given. None before the first one."""
        if self.layout is None:
            return None
        return Position(self.layout, self._base + self._at, self.rows, self._blocks.packed)

    def _open(self) -> Layout:
        """Find out what the file is, and stop before its first row."""
        while not self._buffer.strip() and self._fill():
            # Nothing but space so far. A byte order mark is no space, so it cannot be lost here.
            self._compact(len(self._buffer) - len(self._buffer.lstrip(_SPACE)))
        while len(self._buffer) < MAX_ROW_BYTES and self._fill():
            pass
        if self._buffer.startswith(b"\xef\xbb\xbf"):
            self._at = 3
        start = self._buffer[self._at :].lstrip(_SPACE)
        if not start:
            self._check_whole()
            raise _BrokenError("empty", "The file is empty.")
        if start.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in start[:MAX_ROW_BYTES].partition(b"\n")[0]:
            raise _BrokenError(
                "not_text", "The file is not a text in UTF-8. Save it as UTF-8: CSV, JSON Lines or JSON."
            )
        self._at = len(self._buffer) - len(start)
        return self._form(start)

    def _form(self, start: bytes) -> Layout:
        """Tell the form of a text by its beginning, and pass what comes before its first row."""
        first, _, rest = start.partition(b"\n")
        # JSON Lines are still that if their first line is bad, unless it is what another form begins with.
        has_json_line = rest.lstrip(_SPACE).startswith(b"{")
        if start.startswith(b"[") and not (has_json_line and first.rstrip().endswith(b"]")):
            self._at += 1
            return Layout("json_array")
        if wrapped := _WRAPPED.match(start):
            self._at += wrapped.end()
            return Layout("json_object")
        if start.startswith((b"{", b"[")):
            return Layout("json_lines")
        end = self._line_end(self._at)
        if end is None:
            raise _too_long()
        try:
            layout = _header(self._buffer[self._at : end].rstrip(b"\r\n"))
        except _BrokenError:
            if has_json_line:
                return Layout("json_lines")
            raise
        self._at = end
        return layout

    def _skip_to(self, offset: int) -> None:
        while self._base + len(self._buffer) < offset and self._fill():
            self._compact(min(len(self._buffer), offset - self._base))
        self._at = max(0, offset - self._base)

    def _fill(self) -> bool:
        """Read one more block; tell whether there was one."""
        if self._failure is not None:
            return False
        try:
            block = self._blocks.read()
        except _BrokenError as failure:
            # What came before it is still good.
            self._failure = failure
            return False
        self._buffer += block
        return bool(block)

    def _compact(self, size: int) -> None:
        self._buffer = self._buffer[size:]
        self._base += size
        self._at = max(0, self._at - size)

    def _line_end(self, start: int) -> int | None:
        """Give the index after the next line feed, or that of the end of the file; None if the row gets too long."""
        searched = start
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if self._is_too_long(searched):
                return None
            if not self._fill():
                self._check_whole()
                return searched
        return None if self._is_too_long(end) else end + 1

    def _is_too_long(self, end: int) -> bool:
        return end - self._at > MAX_ROW_BYTES

    def _line(self) -> bytes | None:
        end = self._line_end(self._begin())
        return self._pass_line() if end is None else self._take(end)

    def _pass_line(self) -> bytes:
        """Pass a line that is too long, and give as much of it as shows that."""
        beginning = self._buffer[self._at : self._at + MAX_ROW_BYTES + 1]
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            self._compact(len(self._buffer))
            if not self._fill():
                self._check_whole()
                return beginning
        self._at = end + 1
        return beginning

    def _begin(self) -> int:
        if self._at > _BLOCK_BYTES // 2:
            self._compact(self._at)
        return self._at

    def _take(self, end: int) -> bytes | None:
        start, self._at = self._at, end
        return None if end == start else self._buffer[start:end].rstrip(b"\r\n")

    def _csv_row(self) -> bytes | None:
        assert self.layout is not None  # noqa: S101 (for the type checker)
        delimiter = self.layout.delimiter.encode()
        start = self._begin()
        first = self._line_end(start)
        if first is None:
            return self._pass_line()
        line, end = self._buffer[start:first], first
        inside = b'"' in line and _ends_in_quotes(line, delimiter, inside=False)
        while inside:
            further = self._line_end(end)
            if further is None or further == end:
                # Nothing closes them: then the line that opened them is bad, and no other.
                return self._take(first)
            inside = _ends_in_quotes(self._buffer[end:further], delimiter, inside=True)
            end = further
        return self._take(end)

    def _element(self) -> bytes | None:
        """Cut the next element of a JSON array; None after its last."""
        self._begin()
        sign = self._next_sign()
        if sign == b"]":
            self._close()
            return None
        if self.rows:
            if sign != b",":
                if not sign:
                    raise self._ends_early()
                raise _BrokenError("not_json", "There must be a comma or the end of the array before this row.")
            self._at += 1
            sign = self._next_sign()
        if sign in {b"", b",", b"]", b"}"}:
            raise self._ends_early() if not sign else _BrokenError("not_json", "There must be a row here.")
        while (end := self._element_end()) is None:
            if self._is_too_long(len(self._buffer)):
                raise _too_long()
            if not self._fill():
                raise self._ends_early()
        if self._is_too_long(end):
            raise _too_long()
        return self._take(end)

    def _next_sign(self) -> bytes:
        """Pass space, and give the next character; none at the end of the file."""
        while not (rest := self._buffer[self._at : self._at + 1].strip(_SPACE)):
            following = re.compile(rb"[^ \t\r\n]").search(self._buffer, self._at)
            if following:
                self._at = following.start()
            else:
                self._compact(len(self._buffer))
                if not self._fill():
                    return b""
        return rest

    def _element_end(self) -> int | None:
        if self._buffer[self._at] not in b'{["':
            ended = _SCALAR_END.search(self._buffer, self._at)
            return ended and ended.start()
        depth = 0
        for token in _TOKEN.finditer(self._buffer, self._at):
            sign = token[0]
            if sign == b'"':
                return None
            depth += (sign in b"{[") - (sign in b"}]")
            if depth == 0:
                return token.end()
        return None

    def _close(self) -> None:
        self._at += 1
        assert self.layout is not None  # noqa: S101 (for the type checker)
        if self.layout.format == "json_object":
            sign = self._next_sign()
            if sign != b"}":
                raise (
                    self._ends_early()
                    if not sign
                    else _BrokenError("not_json", "The object must end after its customers: it has no other member.")
                )
            self._at += 1
        if self._next_sign():
            raise _BrokenError("not_json", "There must be nothing after the end of the array.")
        self._check_whole()

    def _check_whole(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _ends_early(self) -> _BrokenError:
        return self._failure or _BrokenError("cut_off", "The file ends in the middle: the array is not closed.")


class _Blocks:
    """The stream in blocks, unpacked if it is a gzip file by its content, whatever its name."""

    def __init__(self, stream: ByteStream, packed: bool | None) -> None:  # noqa: FBT001 (None: to be found out)
        self._stream = stream
        self._pending = b""
        self._unpack = zlib.decompressobj(_GZIP_WBITS)
        self._read = 0
        self._unpacked = 0
        self._known = packed is not None
        self.damaged = False
        self.packed = bool(packed)

    def read(self) -> bytes:
        """Give the next block, none at the end."""
        if not self._known:
            self._known = True
            while len(self._pending) < len(b"\x1f\x8b") and (more := self._more()):
                self._pending += more
            self.packed = self._pending.startswith(b"\x1f\x8b")
        if self.packed:
            return self._unpacked_block()
        block, self._pending = self._pending or self._more(), b""
        return block

    def _more(self) -> bytes:
        block = self._stream.read(_BLOCK_BYTES)
        self._read += len(block)
        return block

    def _unpacked_block(self) -> bytes:
        if self.damaged:
            raise _BrokenError("gzip_damaged", "The gzip file is damaged here.")
        while True:
            if self._unpack.eof:
                # Several gzip files in one are one file (RFC 1952, section 2.2); tools pad with zeros.
                self._pending = self._unpack.unused_data.lstrip(b"\0") or self._more().lstrip(b"\0")
                if not self._pending:
                    return b""
                self._unpack = zlib.decompressobj(_GZIP_WBITS)
            self._pending = self._pending or self._more()
            if not self._pending:
                raise _BrokenError("gzip_cut_off", "The gzip file is cut off here.")
            before = self._unpack.copy()
            try:
                block = self._unpack.decompress(self._pending, _BLOCK_BYTES)
            except zlib.error:
                return self._before_damage(before)
            self._pending = self._unpack.unconsumed_tail
            self._unpacked += len(block)
            if self._unpacked > max(_EXPANSION_FREE_BYTES, self._read * _MAX_EXPANSION):
                raise _BrokenError("gzip_expands", f"The gzip file grows more than {_MAX_EXPANSION} times.")
            if block:
                return block

    def _before_damage(self, unpack: zlib._Decompress) -> bytes:
        """Give what a damaged block holds before the damage; at most a block, for the first try found no more."""
        good = bytearray()
        for at in range(len(self._pending)):
            try:
                good += unpack.decompress(self._pending[at : at + 1])
            except zlib.error:
                break
        # From here on, the damage stands first.
        self._unpack, self._pending, self.damaged = unpack, b"", True
        if not good:
            raise _BrokenError("gzip_damaged", "The gzip file is damaged here.")
        return bytes(good)


def _too_long() -> _BrokenError:
    return _BrokenError("row_too_long", f"The row has more than {MAX_ROW_BYTES} bytes.")


def parse_row(layout: Layout, original: bytes) -> object:
    """Read a row into the value that POST would have got: of a customer, a `dict`.

    Parameters
    ----------
    layout
        What kind of file it comes from.
    original
        The row as it stands there.

    Raises
    ------
    InvalidError
        It cannot be read.
    """
    if len(original) > MAX_ROW_BYTES:
        detail = f"Must have at most {MAX_ROW_BYTES} bytes."
        raise InvalidError([FieldError(pointer="#", code="row_too_long", detail=detail)])
    if layout.format != "csv":
        value = parse_json(original)
        return (
            {name: member for name, member in value.items() if name not in ADDED_COLUMNS}
            if isinstance(value, dict)
            else value
        )
    cells = _cells(original, layout.delimiter)
    if len(cells) != len(layout.columns):
        detail = f"Must have {len(layout.columns)} cells, as the header has; has {len(cells)}."
        raise InvalidError([FieldError(pointer="#", code="wrong_cell_count", detail=detail)])
    return {
        name: _value(name, cell) for name, cell in zip(layout.columns, cells, strict=True) if name not in ADDED_COLUMNS
    }


def report_header(layout: Layout) -> bytes:
    """Give the first line of a report of rejected rows, none for JSON Lines."""
    if layout.format != "csv":
        return b""
    columns = [name for name in layout.columns if name not in ADDED_COLUMNS]
    return _csv_line([ROW_COLUMN, ERRORS_COLUMN, *columns], layout.delimiter).encode()


def report_line(layout: Layout, row: Row, errors: list[FieldError]) -> bytes:
    """Give a rejected row as a line of the report: as it came, with its number and errors before it."""
    original = _without_added(layout, row.original)
    too_long = len(original) > MAX_ROW_BYTES
    if too_long:
        original = original[:_SHOWN_BYTES]
    if layout.format != "csv":
        added = json.dumps({ROW_COLUMN: row.number, ERRORS_COLUMN: errors}, ensure_ascii=False)
        body = re.sub(rb"[\r\n]+", b" ", original).strip()
        if too_long or not (body.startswith(b"{") and body.endswith(b"}")):
            # Not even an object: the text itself is shown, to be mended by hand.
            text = json.dumps({"original": body.decode(errors="backslashreplace")}, ensure_ascii=False)
            body = text.encode()
        rest = body[1:].lstrip()
        return added[:-1].encode() + (b"" if rest == b"}" else b", ") + rest + b"\n"
    told = "; ".join(f"{(error.get('pointer') or '#')[2:] or 'row'}: {error['detail']}" for error in errors)
    if too_long or _ends_in_quotes(original, layout.delimiter.encode(), inside=False):
        # As it is it would run on into the rows behind it: it is one cell, to be mended by hand.
        text = original.decode(errors="backslashreplace")
        return _csv_line([str(row.number), told, text], layout.delimiter).encode()
    added = _csv_line([str(row.number), told], layout.delimiter).removesuffix("\r\n")
    return added.encode() + layout.delimiter.encode() + original + b"\r\n"


def _without_added(layout: Layout, original: bytes) -> bytes:
    """Take out what an earlier report added, if the row can be read."""
    try:
        if layout.format != "csv":
            value = parse_json(original)
            if isinstance(value, dict) and ADDED_COLUMNS & value.keys():
                kept = {name: member for name, member in value.items() if name not in ADDED_COLUMNS}
                return json.dumps(kept, ensure_ascii=False).encode()
            return original
        if ADDED_COLUMNS.isdisjoint(layout.columns):
            return original
        cells = _cells(original, layout.delimiter)
    except InvalidError:
        return original
    kept_cells = [
        cell
        for index, cell in enumerate(cells)
        if index >= len(layout.columns) or layout.columns[index] not in ADDED_COLUMNS
    ]
    return _csv_line(kept_cells, layout.delimiter).removesuffix("\r\n").encode()


def _header(line: bytes) -> Layout:
    """Read the header line of a CSV file, in any order and case."""
    layouts = []
    for delimiter in _DELIMITERS:
        try:
            names = tuple(name.strip().lower() for name in _cells(line, delimiter))
        except InvalidError:
            continue
        layouts.append(Layout("csv", names, delimiter))
    if not layouts:
        raise _BrokenError("not_text", "The first line is neither a CSV header in UTF-8 nor JSON.")
    layout = max(layouts, key=lambda layout: len(set(FIELDS) & set(layout.columns)))
    known = [name for name in layout.columns if name in FIELDS]
    missing = [name for name in REQUIRED if name not in known]
    unknown = [name for name in layout.columns if name not in FIELDS and name not in ADDED_COLUMNS]
    repeated = sorted({name for name in known if known.count(name) > 1})
    reasons = [
        f"{text} {', '.join(repr(name[:50]) for name in names[:_SHOWN_COLUMNS])}"
        + (f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else "")
        for text, names in (("lacks", missing), ("has the unknown", unknown), ("repeats", repeated))
        if names
    ]
    if reasons:
        raise _BrokenError(_WRONG_HEADER, f"{_HEADER_RULE}: it {'; it '.join(reasons)}.")
    return layout


def _cells(record: bytes, delimiter: str) -> list[str]:
    try:
        text = record.decode()
    except UnicodeDecodeError:
        raise InvalidError([FieldError(pointer="#", code="not_utf8", detail="Must be UTF-8.")]) from None
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error:
        detail = "Quotation marks must enclose a whole cell, and be doubled within it."
        raise InvalidError([FieldError(pointer="#", code="invalid_csv", detail=detail)]) from None


def _value(name: str, cell: str) -> str | int | None:
    if name == "age" and not cell.strip():
        return None
    if name in {"age", "group_id"} and _INTEGER.fullmatch(cell.strip()):
        return int(cell)
    return cell


def _csv_line(cells: list[str], delimiter: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerow(cells)
    return text.getvalue()


def _ends_in_quotes(line: bytes, delimiter: bytes, *, inside: bool) -> bool:
    """Tell whether a quoted cell is open at the end of a line. A quotation mark that is not around a cell is text."""
    at = 0
    if not inside and line.startswith(b'"'):
        inside, at = True, 1
    while True:
        if inside:
            end = line.find(b'"', at)
            if end < 0:
                return True
            doubled = line[end + 1 : end + 2] == b'"'
            inside, at = doubled, end + 1 + doubled
        else:
            opened = line.find(delimiter + b'"', at)
            if opened < 0:
                return False
            inside, at = True, opened + 2
