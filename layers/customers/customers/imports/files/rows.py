"""What all readers share: rows, their position, and why a file is broken."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self

from customers.errors import CustomersError
from customers.imports.files.columns import HEADER_RULE

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ROW_BYTES: Final = 64 * 1024
"""Eight times a customer with the longest fields, every character escaped."""
WRONG_HEADER: Final = "wrong_header"
WRONG_MAPPING: Final = "wrong_mapping"
_WITHOUT_QUOTES: Final = {
    WRONG_HEADER: f"{HEADER_RULE}.",
    WRONG_MAPPING: "What the file's own metadata says about its columns cannot be followed.",
}
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_MARKS: Final = re.compile(rb"(?:%b)++" % BYTE_ORDER_MARK)

Format = Literal["csv", "json_lines", "json_array", "json_object"]


class Layout(NamedTuple):
    """The format of a file."""

    format: Format
    columns: tuple[str, ...] = ()
    """CSV: which column each cell is in, as `columns` names it; `LEFT_OUT` if the caller ignores it."""
    delimiter: str = ""
    """CSV: what separates the cells."""
    renamed: tuple[tuple[str, str], ...] = ()
    """JSON: members that the caller names otherwise, squashed, and the column that each is."""

    @classmethod
    def of_json(cls, value: Sequence[Any]) -> Self:
        """Return a layout that was written as JSON."""
        kind, columns, delimiter, renamed = value
        return cls(kind, tuple(columns), delimiter, tuple((name, column) for name, column in renamed))


class Position(NamedTuple):
    """A place between two rows where another reader can continue."""

    layout: Layout
    offset: int
    """Bytes before it, decompressed."""
    rows: int
    """Rows before it."""
    packed: bool
    """Whether the file is a gzip file, which must be read from its start to get there."""


class Row(NamedTuple):
    """One row as it is in the file."""

    number: int
    """From 1, counting neither the header nor blank rows."""
    original: bytes
    """Never blank. If a line is too long, its beginning: one byte more than a row may have."""


class Break(NamedTuple):
    """Where a file stops being a file of customers, or cannot be read further."""

    row: int
    """The first row that was not found. The rows before it are good."""
    code: str
    """Why, for programs; stable."""
    detail: str
    """Why, for people. May quote the header, so it belongs in reports and not in logs."""

    def unquoting(self) -> Break:
        """Return the break without what it quotes from the file."""
        return self._replace(detail=_WITHOUT_QUOTES.get(self.code, self.detail))


def without_marks(line: bytes) -> bytes:
    """Return a line without the byte order marks before it. Files that were joined have some in the middle."""
    return _MARKS.sub(b"", line, count=1) if line.startswith(BYTE_ORDER_MARK) else line


class BrokenError(CustomersError):
    """The file cannot be read further. The reader turns this into a `Break`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__()
        self.code = code
        self.detail = detail


class RowTooLongError(BrokenError):
    """A row has more than `MAX_ROW_BYTES` bytes, and where the next one begins cannot be told."""

    def __init__(self) -> None:
        super().__init__("row_too_long", f"The row has more than {MAX_ROW_BYTES} bytes.")
