"""The value of a row: the customer, checked as POST would check it, and who it says it is."""

from __future__ import annotations

import re
from operator import methodcaller
from typing import TYPE_CHECKING, Final

from customers.errors import FieldError, InvalidError
from customers.ids import MAX_ID
from customers.imports.files import csv, json
from customers.imports.files.columns import (
    EXTERNAL_ID,
    ID,
    IGNORED,
    INTEGERS,
    LEFT_OUT,
    METADATA,
    METADATA_PREFIX,
    OPTIONAL,
    VERSION,
)
from customers.imports.files.rows import MAX_ROW_BYTES
from customers.json_text import parse_json
from customers.model import new_customer
from customers.store.identity import ImportRow
from customers.trimming import WHITE_SPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from customers.errors import RowErrorCode
    from customers.imports.files.rows import Layout

_INTEGER: Final = re.compile(r"\s*(-?[0-9]{1,18})(?:\.0*)?\s*")
"""Spreadsheets and pandas write whole numbers as 30.0 too."""
_ID: Final = re.compile(r"(?:C-)?([0-9]{1,16})")
"""Exports write C- before an id, because spreadsheets round long numbers."""
_VERSION: Final = re.compile(r"([0-9]{1,16})(?:\.0*)?")


class RowParser:
    """Reads and checks the rows of a file.

    Parameters
    ----------
    layout
        The format of the file.
    """

    def __init__(self, layout: Layout) -> None:
        self._read: Callable[[bytes], object] = _CsvValues(layout) if layout.format == "csv" else _JsonValues(layout)

    def value(self, original: bytes) -> object:
        """Return the value of a row, unchecked; for a customer, a `dict`.

        Raises
        ------
        InvalidError
            It cannot be read.
        """
        if len(original) > MAX_ROW_BYTES:
            detail = f"Must have at most {MAX_ROW_BYTES} bytes."
            raise InvalidError([FieldError(pointer="#", code="row_too_long", detail=detail)])
        return self._read(original)

    def names(self, original: bytes) -> list[str]:
        """Return what a row calls its customer, its id and its external id, as far as it can be read and has them."""
        try:
            value = self.value(original)
        except InvalidError:
            return []
        if not isinstance(value, dict):
            return []
        of, external_id = _number(value.get(ID), _ID, [], "invalid_id"), value.get(EXTERNAL_ID)
        names = [] if of is None else [f"id {of}"]
        return [*names, f"key {external_id}"] if isinstance(external_id, str) else names

    def parse(self, original: bytes) -> ImportRow:
        """Read and check a row, as it is in the file.

        Raises
        ------
        InvalidError
            With everything that is wrong with it.
        """
        value = self.value(original)
        if not isinstance(value, dict) or (ID not in value and VERSION not in value):
            return ImportRow(new_customer(value), None, None)
        errors: list[FieldError] = []
        of = _number(value.pop(ID, None), _ID, errors, "invalid_id")
        version = _number(value.pop(VERSION, None), _VERSION, errors, "invalid_version")
        try:
            customer = new_customer(value)
        except InvalidError as error:
            raise InvalidError([*errors, *error.errors]) from None
        if errors:
            raise InvalidError(errors)
        return ImportRow(customer, of, version)


_NUMBER_ERRORS: Final[dict[RowErrorCode, tuple[str, str]]] = {
    "invalid_id": (
        ID,
        "Must be a customer's id, such as C-4503599627370496 or 4503599627370496, or an empty cell or null.",
    ),
    "invalid_version": (VERSION, "Must be the customer's version, such as 3, or an empty cell or null."),
}


def _number(value: object, pattern: re.Pattern[str], errors: list[FieldError], code: RowErrorCode) -> int | None:
    """Return a row's id or version, None if it has none; add an error if it is neither."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    found = None if isinstance(value, bool) else pattern.fullmatch(str(value))
    if found is not None and 1 <= int(found[1]) <= MAX_ID:
        return int(found[1])
    name, detail = _NUMBER_ERRORS[code]
    errors.append(FieldError(pointer=f"#/{name}", code=code, detail=detail))
    return None


class _CsvValues:
    """The values of CSV records."""

    def __init__(self, layout: Layout) -> None:
        self._delimiter = layout.delimiter
        self._count = len(layout.columns)
        self._fields = [
            (index, name, _converter(name))
            for index, name in enumerate(layout.columns)
            if name != LEFT_OUT and name not in IGNORED and not name.startswith(METADATA_PREFIX)
        ]
        self._metadata = {
            index: name.removeprefix(METADATA_PREFIX)
            for index, name in enumerate(layout.columns)
            if name.startswith(METADATA_PREFIX)
        }

    def __call__(self, original: bytes) -> dict[str, object]:
        if self._metadata:
            entries = csv.cells_or_none(original, self._delimiter)
            value = self._values([cell or "" for cell in entries])
            value[METADATA] = {
                self._metadata[index]: entry
                for index, entry in enumerate(entries)
                if entry is not None and index in self._metadata
            }
            return value
        return self._values(csv.cells(original, self._delimiter))

    def _values(self, found: list[str]) -> dict[str, object]:
        """Return the fields in some cells. Spreadsheets leave out empty cells at the end of a row, or add some."""
        count = len(found)
        if count == self._count:
            return {name: convert(found[index]) for index, name, convert in self._fields}
        if any(cell and not cell.isspace() for cell in found[self._count :]):
            detail = f"Must have at most {self._count} cells, as the header has; has {count}."
            raise InvalidError([FieldError(pointer="#", code="wrong_cell_count", detail=detail)])
        # Not padded: a row of two bytes would cost as much as the widest header.
        return {name: convert(found[index] if index < count else "") for index, name, convert in self._fields}


def _optional_text(cell: str) -> str | None:
    return cell.strip(WHITE_SPACE) or None


def _integer(cell: str) -> int | str:
    # The model reports what is wrong with any other text.
    return cell if (found := _INTEGER.fullmatch(cell)) is None else int(found[1])


def _optional_integer(cell: str) -> int | str | None:
    return _integer(cell) if cell and not cell.isspace() else None


def _converter(name: str) -> Callable[[str], object]:
    """Return what makes a value of a cell of a column. White space around a cell is not part of it."""
    if name in OPTIONAL or name in {ID, VERSION}:
        return _optional_integer if name in INTEGERS else _optional_text
    return _integer if name in INTEGERS else methodcaller("strip", WHITE_SPACE)


class _JsonValues:
    """The values of JSON rows."""

    def __init__(self, layout: Layout) -> None:
        self._names = dict(layout.renamed)
        self._in_lines = layout.format == "json_lines"

    def __call__(self, original: bytes) -> object:
        try:
            value = parse_json(original)
        except InvalidError:
            if self._in_lines and original.rstrip().endswith(b","):
                raise InvalidError([_COMMA]) from None
            raise
        if not isinstance(value, dict):
            return value
        if self._names:
            value = json.renamed(value, self._names)
        if not IGNORED.isdisjoint(value):
            return {name: member for name, member in value.items() if name not in IGNORED}
        return value


_COMMA: Final = FieldError(
    pointer="#",
    code="invalid_json",
    detail="Must be valid JSON. The line ends in a comma: remove it, or make the file an array by enclosing it in [ ].",
)
