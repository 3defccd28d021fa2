"""What people see: plain text and tables. Text from files and labels is shown literally, never interpreted."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_OBEYED: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories of control characters, of bytes that are not UTF-8, and of line separators."""
_DIRECTIONS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reorder the text around them (https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters)."""
_TABLE_WIDTH: Final = 120
"""Characters. A narrower table would cut text that people copy."""
_UNLIMITED: Final = 1_000_000


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text literally, also `[red]` and `:smile:`."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def printable(text: str) -> str:
    """Return a text with everything that a terminal would obey, such as escape sequences, shown as its code."""
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if char in _DIRECTIONS or unicodedata.category(char) in _OBEYED
        else char
        for char in text
    )


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, wraps: str) -> None:
    """Print a table to standard output, in a file or a pipe each row on one line.

    Parameters
    ----------
    headings
        One for each column.
    rows
        The cells of each row. They may contain any text.
    wraps
        The heading of the one column whose cells may wrap on a terminal. Half an id would be of no use.
    """
    table = Table(box=SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, no_wrap=heading != wraps, overflow="fold" if heading == wraps else "ellipsis")
    for row in rows:
        table.add_row(*(printable(cell) for cell in row))
    output = console()
    output.width = max(output.width, _TABLE_WIDTH) if output.is_terminal else _UNLIMITED
    output.print(table)
