"""The result of an import, for people: its counts, its first rejected rows, and where to find all of them."""

from __future__ import annotations

import csv
import json
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, TextIO

from cli.terminal import printable
from customers.imports.files.columns import ERRORS_COLUMN, ROW_COLUMN
from customers.imports.files.csv import delimiter_named
from customers.imports.store import Counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cli.target import Target
    from customers.errors import FieldError

_SHOWN_ROWS: Final = 10
_WHOLE_ROW: Final = "row"
"""How the report names an error that is not about one field."""


def summary_text(target: Target, name: str, summary: Mapping[str, Any]) -> str:
    """Return the summary of an import as lines of text.

    Parameters
    ----------
    target
        Where its report is.
    name
        What to call the import: its file's name.
    summary
        The content of its `summary.json`.
    """
    lines = [f"{printable(name)}: {counts_text(summary)}"]
    broken, report = summary["broken"], summary["rejected_rows"]
    if broken is not None:
        lines.append(f"The file cannot be read from row {broken['row']} on: {printable(broken['detail'])}")
    if report is not None:
        lines += _rejected_text(target, report, summary["rejected"])
    return "\n".join(lines)


def counts_text(counts: Mapping[str, Any]) -> str:
    """Return the counts of an import's rows, such as `3 created, 2 rejected`."""
    others = [name for name in Counts._fields[1:] if counts[name]]
    return ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in ("created", *others))


def _rejected_text(target: Target, report: str, number: int) -> list[str]:
    place = f"Rejected rows, to correct and import again: {printable(target.place(report))}"
    opened = target.open_text(report)
    if opened is None:
        return [f"{place} (no longer kept)"]
    with opened:
        lines = [f"  {printable(line)}" for line in islice(_rejected_rows(opened), _SHOWN_ROWS)]
    if (more := number - len(lines)) > 0:
        lines.append(f"  and {more:,} more")
    return [*lines, place]


def _rejected_rows(report: TextIO) -> Iterator[str]:
    """Read what is wrong with each row of a report, which is CSV or JSON Lines like the imported file."""
    first = report.readline()
    if delimiter_named(first.rstrip().encode()) is not None:
        first = report.readline()
    if not first.startswith(ROW_COLUMN):
        for line in chain((first,), report):
            row = json.loads(line)
            yield row_text(row[ROW_COLUMN], row[ERRORS_COLUMN])
        return
    for number, errors, *_ in csv.reader(report, delimiter=first[len(ROW_COLUMN)]):
        yield _told(number, errors)


def row_text(number: int, errors: Iterable[FieldError]) -> str:
    """Return what is wrong with a row, such as `row 2, email: Must be a valid email address.`."""
    fields = [((error.get("pointer") or "#")[2:], error["detail"]) for error in errors]
    return _told(number, "; ".join(f"{field or _WHOLE_ROW}: {detail}" for field, detail in fields))


def _told(number: object, errors: str) -> str:
    whole = f"{_WHOLE_ROW}: "
    return f"row {number}: {errors.removeprefix(whole)}" if errors.startswith(whole) else f"row {number}, {errors}"
