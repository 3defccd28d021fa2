"""CSV (RFC 4180): the header, where a record ends, and its cells."""

from __future__ import annotations

import csv
import re
import shlex
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from customers.errors import FieldError, InvalidError
from customers.imports.files.columns import HEADER_RULE, IGNORED, LEFT_OUT, REQUIRED
from customers.imports.files.rows import BYTE_ORDER_MARK, WRONG_HEADER, BrokenError, Layout, without_marks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from customers.imports.files.lines import Window
    from customers.imports.files.mapping import ColumnMapping

_DELIMITERS: Final = (",", ";", "\t")
_DELIMITER_LINE: Final = re.compile(rb'"?sep=([^"\r\n\x80-\xff])"?(?:\1| )*', re.IGNORECASE)
"""Excel's own first line, which names the delimiter. Spreadsheets fill it up to the width of the table."""
MAX_COLUMNS: Final = 2000
"""Each chunk's message names them all."""
_SHOWN_COLUMNS: Final = 5
_SHOWN_CHARACTERS: Final = 50
"""Of a column's name."""
_NEEDS_QUOTES: Final = re.compile(r'["\r\n]|\A\s|\s\Z')
_SPACE_BESIDE_QUOTES: Final = re.compile(r'[ \t]"|"[ \t]')
_NOT_BLANK_UNLESS_QUOTED: Final = re.compile(rb'[^",;\t \r\n]')


class Header(NamedTuple):
    """A header, read."""

    layout: Layout
    names: tuple[str, ...]
    """The columns as the file calls them."""


def delimiter_named(line: bytes) -> str | None:
    """Return the delimiter that a line `sep=;` names; None if it is no such line."""
    found = _DELIMITER_LINE.fullmatch(line)
    return None if found is None else found[1].decode()


def may_be_header(line: bytes) -> bool:
    """Whether a line has any name in it: it is neither blank nor only delimiters."""
    return _NOT_BLANK_UNLESS_QUOTED.search(line) is not None


def delimiter_line(delimiter: str) -> str:
    """Return the line that names a delimiter, with its end; nothing for one that is recognized without it."""
    return "" if delimiter in _DELIMITERS else f"sep={delimiter}\r\n"


def read_header(line: bytes, delimiter: str | None, mapping: ColumnMapping) -> Header:
    """Read the header. Its names may be in any order and spelling.

    Parameters
    ----------
    line
        The header, without its line end.
    delimiter
        What separates its names; None to find out.
    mapping
        What the caller says about the columns.

    Raises
    ------
    BrokenError
        It is not a header of customers.
    """
    found = []
    for one in _DELIMITERS if delimiter is None else (delimiter,):
        try:
            names = tuple(name.strip().strip("\ufeff") for name in cells(line, one))
        except InvalidError:
            continue
        if mapping.column("") is None:
            # What comes after the last name holds no data.
            names = names[: max((place for place, name in enumerate(names, 1) if name), default=0)]
        found.append((names, [mapping.column(name) for name in names], one))
    if not found:
        raise _unreadable(line, delimiter or ",")
    names, columns, used = max(found, key=lambda each: sum(1 for column in each[1] if column))
    if len(names) > MAX_COLUMNS:
        raise BrokenError(WRONG_HEADER, f"A file may have at most {MAX_COLUMNS:,} columns; it has {len(names):,}.")
    if reasons := _wrong_with(names, columns):
        raise BrokenError(WRONG_HEADER, f"{HEADER_RULE}: it {'; it '.join(reasons)}.{_advice(names, columns)}")
    return Header(Layout("csv", tuple(column or LEFT_OUT for column in columns), used), names)


def _unreadable(line: bytes, delimiter: str) -> BrokenError:
    """Return why a first line cannot be a header, although it is a line of text."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return BrokenError(
            "not_text",
            "The first line is not UTF-8. If the file comes from Excel or an older program, it is probably in "
            "Windows-1252: save it as “CSV UTF-8”, or convert it to UTF-8.",
        )
    if CsvForm(delimiter).is_open_after(line):
        return BrokenError(
            WRONG_HEADER,
            f"{HEADER_RULE}: it has a line break, or a quotation mark that is not closed. Write all names on one line.",
        )
    return BrokenError("not_text", "The first line is neither a CSV header nor JSON.")


def _wrong_with(names: tuple[str, ...], columns: list[str | None]) -> list[str]:
    known = [column for column in columns if column]
    lists = {
        "lacks": [name for name in REQUIRED if name not in known],
        "has the unknown": [name for name, column in zip(names, columns, strict=True) if column is None],
        "repeats": sorted(name for name, count in Counter(known).items() if count > 1 and name not in IGNORED),
    }
    return [
        f"{text} {', '.join(repr(name[:_SHOWN_CHARACTERS]) for name in found[:_SHOWN_COLUMNS])}"
        + (f" and {len(found) - _SHOWN_COLUMNS} more" if len(found) > _SHOWN_COLUMNS else "")
        for text, found in lists.items()
        if found
    ]


def _advice(names: tuple[str, ...], columns: list[str | None]) -> str:
    """Return what to do about the first column that is unknown; nothing if none is."""
    unknown = next((name for name, column in zip(names, columns, strict=True) if column is None), None)
    if unknown is None:
        return ""
    if not unknown:
        return f" Column {names.index(unknown) + 1} has no name: give it one, or leave it out: --ignore ''."
    name = unknown if len(unknown) <= _SHOWN_CHARACTERS else "COLUMN"
    return (
        f" To say which field the column {name!r} is: --map {shlex.quote(f'{name}=FIELD')}; to leave it out: --ignore "
        f"{shlex.quote(name)} (for a file put into the bucket directly, x-amz-meta-map and x-amz-meta-ignore)."
    )


class CsvForm:
    """Where records of CSV end, for `lines.read_rows`: each is a line, or more if quoted cells contain line ends.

    If a quotation mark is never closed within the length of a row, only the line that opens it is bad, so the record
    is that line. Between a delimiter and a quotation mark there may be spaces.

    Parameters
    ----------
    delimiter
        What separates the cells.
    """

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter
        self.blank = b" \t\r\n" + delimiter.encode()
        self._not_plain = self.blank + BYTE_ORDER_MARK[:1]
        sign, space = re.escape(delimiter.encode()), _space(delimiter).encode()
        # All quantifiers are possessive: no byte is tried twice.
        cell = rb'(?:%b*+"(?:[^"]++|"")*+"[^%b]*+|(?!%b*+")[^%b]*+)' % (space, sign, space, sign)
        self._empty_cells = re.compile(
            rb'[ \t\r\n]*+(?:"[ \t\r\n]*+"%b*+)?+(?:%b%b*+(?:"[ \t\r\n]*+"%b*+)?+)*+' % (space, sign, space, space)
        )
        self._cells = re.compile(rb"%b(?:%b%b)*+" % (cell, sign, cell))
        self._cells_after_quotes = re.compile(rb'(?:[^"]++|"")*+"[^%b]*+(?:%b%b)*+' % (sign, sign, cell))
        self._window: Window | None = None
        self._inside_from = 0
        self._inside_to = 0

    def is_plain(self, line: bytes) -> bool:
        """Whether a line is a record of its own for certain: it has no quotation marks, and does not begin blank."""
        if b'"' in line:
            return False
        return line[0] not in self._not_plain or not (line[0] in self.blank or line.startswith(BYTE_ORDER_MARK))

    def content(self, row: bytes) -> bytes:
        """Return a record without the byte order marks before it; nothing if it has only empty cells, quoted or not."""
        row = without_marks(row)
        return b"" if self._empty_cells.fullmatch(row) else row

    def is_open_after(self, line: bytes) -> bool:
        """Whether a quoted cell is open at the end of a record's first line."""
        found = self._cells.match(line)
        return found is None or found.end() < len(line)

    def last_line(self, window: Window, first: int) -> int | None:
        """Return the last line of a record; None if none of the window's lines ends it."""
        line = without_marks(window.lines[first])
        if b'"' not in line or not self.is_open_after(line):
            return first
        return self._closing(window, first + 1)

    def _closing(self, window: Window, first: int) -> int | None:
        """Return the first line from `first` on that closes a quoted cell; None if none does.

        No line is searched twice, however many quotation marks open before it: what was searched in vain is
        remembered.
        """
        if window is not self._window or not self._inside_from <= first <= self._inside_to:
            self._window, self._inside_from, self._inside_to = window, first, first
        lines, last = window.lines, self._inside_to
        while last < len(lines) and (b'"' not in lines[last] or not self._closes(lines[last])):
            last += 1
        self._inside_to = last
        return last if last < len(lines) else None

    def _closes(self, line: bytes) -> bool:
        """Whether no quoted cell is open at the end of a line, if one is open at its start."""
        found = self._cells_after_quotes.match(line)
        return found is not None and found.end() == len(line)


def _space(delimiter: str) -> str:
    return "[ ]" if delimiter == "\t" else "[ \\t]"


@lru_cache
def _cell(delimiter: str) -> re.Pattern[str]:
    """Return the pattern of a cell: what is quoted in it, or else its text, and whether it is the last one."""
    sign, space = re.escape(delimiter), _space(delimiter)
    return re.compile(rf'(?:{space}*+"((?:[^"]++|"")*+)"{space}*+|((?!{space}*+")[^{sign}]*+))(?:{sign}|(\Z))')


def cells(record: bytes, delimiter: str) -> list[str]:
    """Return the cells of a record.

    Raises
    ------
    InvalidError
        It is not CSV in UTF-8.
    """
    text = _decoded(record)
    if '"' in text and _SPACE_BESIDE_QUOTES.search(text):
        return [cell or "" for cell in _cells_beside_space(text, delimiter)]
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error:
        raise _invalid_csv() from None


def cells_or_none(record: bytes, delimiter: str) -> list[str | None]:
    """Return the cells of a record; None for an empty one, unless it is quoted.

    Raises
    ------
    InvalidError
        It is not CSV in UTF-8.
    """
    return _cells_beside_space(_decoded(record), delimiter)


def _decoded(record: bytes) -> str:
    try:
        return record.decode()
    except UnicodeDecodeError:
        detail = "Must be UTF-8. If the file comes from Excel, save it as “CSV UTF-8”."
        raise InvalidError([FieldError(pointer="#", code="not_utf8", detail=detail)]) from None


def _cells_beside_space(text: str, delimiter: str) -> list[str | None]:
    """Return the cells of a record. Unlike `csv`, it takes spaces before and after quotation marks."""
    pattern, at = _cell(delimiter), 0
    found: list[str | None] = []
    while True:
        one = pattern.match(text, at)
        if one is None:
            raise _invalid_csv()
        quoted, plain, is_last = one.groups()
        found.append(plain or None if quoted is None else quoted.replace('""', '"'))
        if is_last is not None:
            return found
        at = one.end()


def _invalid_csv() -> InvalidError:
    detail = "Quotation marks must enclose a whole cell, and be doubled within it."
    return InvalidError([FieldError(pointer="#", code="invalid_csv", detail=detail)])


def record(values: Iterable[str | None], delimiter: str) -> str:
    """Return cells as a record, with its line end. None is an empty cell; an empty text is quoted."""
    return delimiter.join("" if value is None else _quoted(value, delimiter) for value in values) + "\r\n"


def _quoted(value: str, delimiter: str) -> str:
    if value and delimiter not in value and _NEEDS_QUOTES.search(value) is None:
        return value
    return '"' + value.replace('"', '""') + '"'
