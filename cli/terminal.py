"""What people see: plain text and tables. Text from files and labels is shown as it is, never interpreted."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_OBEYED: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories of control characters, of bytes that are not UTF-8, and of what breaks a line."""
_DIRECTIONS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reorder the text around them (https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters)."""
_TABLE_WIDTH: Final = 120
"""Characters: narrower, the table would cut what people copy."""


def console(*, stderr: bool = False) -> Console:
    """Return a console that takes text literally: `[red]` and `:smile:` are no more than their characters."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def printable(text: str) -> str:
    """Return a text in which whatever a terminal would obey, such as an escape sequence, is shown as its code."""
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if char in _DIRECTIONS or unicodedata.category(char) in _OBEYED
        else char
        for char in text
    )


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, wraps: str) -> None:
    """Print a table to standard output.

    Parameters
    ----------
    headings
        One for each column.
    rows
        The cells, in any text.
    wraps
        The heading of the only column whose cells may wrap: half an id is of no use.
    """
    table = Table(box=SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, no_wrap=heading != wraps, overflow="fold" if heading == wraps else "ellipsis")
    for row in rows:
        table.add_row(*(printable(cell) for cell in row))
    output = console()
    output.width = max(output.width, _TABLE_WIDTH)
    output.print(table)
