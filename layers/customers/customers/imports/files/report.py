"""The report of rejected rows: the original rows with their numbers and errors, to correct and import again."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from customers.errors import InvalidError
from customers.imports.files import csv
from customers.imports.files.columns import ADDED, ERRORS_COLUMN, LEFT_OUT, ROW_COLUMN
from customers.imports.files.json import renamed
from customers.imports.files.rows import BYTE_ORDER_MARK, MAX_ROW_BYTES
from customers.json_text import parse_json

if TYPE_CHECKING:
    from customers.errors import FieldError
    from customers.imports.files.rows import Layout, Row

_NOT_SHOWN: Final = frozenset({*ADDED, LEFT_OUT})
"""Columns of the file that the report does not have, so that it can be imported without saying anything about them."""
_SHOWN_BYTES: Final = 1000
"""Of a row that is too long."""


def report_header(layout: Layout) -> bytes:
    """Return how a report begins; with nothing for JSON Lines.

    The byte order mark tells Excel that the file is UTF-8.
    """
    if layout.format != "csv":
        return b""
    columns = [name for name in layout.columns if name not in _NOT_SHOWN]
    header = csv.record([ROW_COLUMN, ERRORS_COLUMN, *columns], layout.delimiter)
    return BYTE_ORDER_MARK + (csv.delimiter_line(layout.delimiter) + header).encode()


def report_line(layout: Layout, row: Row, errors: list[FieldError]) -> bytes:
    """Return a rejected row as a line of the report: CSV for a CSV file, JSON for all others."""
    if layout.format == "csv":
        return _csv_line(layout, row, errors)
    return _json_line(layout, row, errors)


def _csv_line(layout: Layout, row: Row, errors: list[FieldError]) -> bytes:
    original, is_cut = _shown(_csv_shown(layout, row.original))
    told = "; ".join(f"{(error.get('pointer') or '#')[2:] or 'row'}: {error['detail']}" for error in errors)
    if is_cut or (b'"' in original and csv.CsvForm(layout.delimiter).is_open_after(original)):
        # Unchanged, it would run into the rows after it. It becomes one cell, to be corrected by hand.
        text = original.decode(errors="backslashreplace")
        return csv.record([str(row.number), told, text], layout.delimiter).encode()
    added = csv.record([str(row.number), told], layout.delimiter).removesuffix("\r\n")
    return added.encode() + layout.delimiter.encode() + original + b"\r\n"


def _json_line(layout: Layout, row: Row, errors: list[FieldError]) -> bytes:
    original, is_cut = _shown(_json_shown(layout, row.original))
    added = json.dumps({ROW_COLUMN: row.number, ERRORS_COLUMN: errors}, ensure_ascii=False)
    body = re.sub(rb"[\r\n]+", b" ", original).strip()
    if is_cut or not _is_object(body):
        # No JSON object, so its text is shown, to be corrected by hand.
        text = json.dumps({"original": body.decode(errors="backslashreplace")}, ensure_ascii=False)
        body = text.encode()
    rest = body[1:].lstrip()
    return added[:-1].encode() + (b"" if rest == b"}" else b", ") + rest + b"\n"


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(parse_json(text), dict)
    except InvalidError:
        return False


def _shown(original: bytes) -> tuple[bytes, bool]:
    """Return what a report shows of a row, and whether that is only its beginning."""
    is_cut = len(original) > MAX_ROW_BYTES
    return (original[:_SHOWN_BYTES] if is_cut else original), is_cut


def _csv_shown(layout: Layout, original: bytes) -> bytes:
    """Remove what an earlier report added and what the caller ignores, if the row can be read."""
    if _NOT_SHOWN.isdisjoint(layout.columns):
        return original
    try:
        cells = csv.cells_or_none(original, layout.delimiter)
    except InvalidError:
        return original
    kept = [
        cell
        for index, cell in enumerate(cells)
        if index >= len(layout.columns) or layout.columns[index] not in _NOT_SHOWN
    ]
    return csv.record(kept, layout.delimiter).removesuffix("\r\n").encode()


def _json_shown(layout: Layout, original: bytes) -> bytes:
    """Remove what an earlier report added and what the caller ignores, if the row can be read."""
    try:
        value = parse_json(original)
    except InvalidError:
        return original
    if not isinstance(value, dict) or (ADDED.isdisjoint(value) and not layout.renamed):
        return original
    kept = {name: member for name, member in value.items() if name not in ADDED}
    text = json.dumps(renamed(kept, dict(layout.renamed)), ensure_ascii=False)
    return text.encode(errors="backslashreplace")
