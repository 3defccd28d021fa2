"""CSV (RFC 4180): the header, where a record ends, and its cells."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Final

from customers.errors import FieldError, InvalidError
from customers.imports.files.columns import ADDED, HEADER_RULE, INTEGERS, NAMES, OPTIONAL, REQUIRED
from customers.imports.files.rows import WRONG_HEADER, BrokenError, Layout, RowTooLongError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from customers.imports.files.blocks import Buffer

_DELIMITERS: Final = (",", ";", "\t")
_SHOWN_COLUMNS: Final = 5
_SHOWN_CHARACTERS: Final = 50
"""Of a column's name."""
_CONVERTED: Final = INTEGERS.union(OPTIONAL)
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")


def read_header(line: bytes) -> Layout:
    """Read the header. Its names may be in any order and case.

    Raises
    ------
    BrokenError
        It is not a header of customers.
    """
    layouts = []
    for delimiter in _DELIMITERS:
        try:
            names = tuple(name.strip().lower() for name in cells(line, delimiter))
        except InvalidError:
            continue
        layouts.append(Layout("csv", names, delimiter))
    if not layouts:
        raise BrokenError("not_text", "The first line is neither a CSV header in UTF-8 nor JSON.")
    layout = max(layouts, key=lambda layout: len(NAMES.intersection(layout.columns)))
    if reasons := _wrong_with(layout.columns):
        raise BrokenError(WRONG_HEADER, f"{HEADER_RULE}: it {'; it '.join(reasons)}.")
    return layout


def _wrong_with(columns: tuple[str, ...]) -> list[str]:
    known = [name for name in columns if name in NAMES]
    missing = [name for name in REQUIRED if name not in known]
    unknown = [name for name in columns if name not in NAMES and name not in ADDED]
    repeated = sorted({name for name in known if known.count(name) > 1})
    return [
        f"{text} {', '.join(repr(name[:_SHOWN_CHARACTERS]) for name in names[:_SHOWN_COLUMNS])}"
        + (f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else "")
        for text, names in (("lacks", missing), ("has the unknown", unknown), ("repeats", repeated))
        if names
    ]


def record_length(buffer: Buffer, delimiter: bytes) -> int:
    """Return the length of the next record with its line end: one line, or more if quoted cells contain line feeds.

    If a quotation mark is never closed, only the line that opens it is bad, so the record is that line.

    Raises
    ------
    RowTooLongError
        Its first line is longer than a row may be.
    BrokenError
        The file is damaged.
    """
    first = length = buffer.line_length()
    start = buffer.at
    if buffer.data.find(b'"', start, start + first) < 0:
        return first
    inside = ends_in_quotes(buffer.data[start : start + first], delimiter)
    while inside:
        try:
            further = buffer.line_length(length)
        except RowTooLongError:
            return first
        if further == length:
            return first
        inside = ends_in_quotes(buffer.data[buffer.at + length : buffer.at + further], delimiter, inside=True)
        length = further
    return length


def ends_in_quotes(line: bytes, delimiter: bytes, *, inside: bool = False) -> bool:
    """Whether a quoted cell is open at the end of a line. A quotation mark that does not begin a cell is text.

    Parameters
    ----------
    line, delimiter
        The line, and what separates its cells.
    inside
        Whether a quoted cell is open at its start.
    """
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


def parse(layout: Layout, original: bytes) -> dict[str, str | int | None]:
    """Return a record as an object, without what a report added to it.

    Raises
    ------
    InvalidError
        It is not CSV in UTF-8, or does not have as many cells as the header.
    """
    found = cells(original, layout.delimiter)
    if len(found) != len(layout.columns):
        detail = f"Must have {len(layout.columns)} cells, as the header has; has {len(found)}."
        raise InvalidError([FieldError(pointer="#", code="wrong_cell_count", detail=detail)])
    return {
        name: _converted(name, cell) if name in _CONVERTED else cell
        for name, cell in zip(layout.columns, found, strict=True)
        if name not in ADDED
    }


def _converted(name: str, cell: str) -> str | int | None:
    if name in OPTIONAL and not cell.strip():
        return None
    if name in INTEGERS and _INTEGER.fullmatch(cell.strip()):
        return int(cell)
    # The model reports what is wrong with it.
    return cell


def cells(record: bytes, delimiter: str) -> list[str]:
    """Return the cells of a record.

    Raises
    ------
    InvalidError
        It is not CSV in UTF-8.
    """
    try:
        text = record.decode()
    except UnicodeDecodeError:
        raise InvalidError([FieldError(pointer="#", code="not_utf8", detail="Must be UTF-8.")]) from None
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error:
        detail = "Quotation marks must enclose a whole cell, and be doubled within it."
        raise InvalidError([FieldError(pointer="#", code="invalid_csv", detail=detail)]) from None


def record(values: Iterable[str], delimiter: str) -> str:
    """Return cells as a record, with its line end."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerow(values)
    return text.getvalue()
