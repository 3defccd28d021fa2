"""The value of a row, as POST would have received it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from customers.errors import FieldError, InvalidError
from customers.imports.files import csv, json
from customers.imports.files.rows import MAX_ROW_BYTES

if TYPE_CHECKING:
    from customers.imports.files.rows import Layout


def parse_row(layout: Layout, original: bytes) -> object:
    """Return the value of a row; for a customer, a `dict`.

    Parameters
    ----------
    layout
        The format of its file.
    original
        The row as it is there.

    Raises
    ------
    InvalidError
        It cannot be read.
    """
    if len(original) > MAX_ROW_BYTES:
        detail = f"Must have at most {MAX_ROW_BYTES} bytes."
        raise InvalidError([FieldError(pointer="#", code="row_too_long", detail=detail)])
    return csv.parse(layout, original) if layout.format == "csv" else json.parse(original)
