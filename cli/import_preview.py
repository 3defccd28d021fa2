"""`customers import --dry-run`: what an import would find in a file. It writes nothing and needs no service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.import_summary import row_text
from cli.terminal import console, printable
from customers.errors import InvalidError
from customers.imports.files.columns import IGNORED, LEFT_OUT
from customers.imports.files.reader import RowReader
from customers.imports.files.values import RowParser

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from customers.errors import FieldError
    from customers.imports.files.mapping import ColumnMapping
    from customers.imports.files.rows import Break

_SHOWN_ROWS: Final = 10
_FORMATS: Final = {
    "csv": "CSV",
    "json_lines": "JSON Lines",
    "json_array": "a JSON array",
    "json_object": "a JSON object with customers",
}


class _BadRow(NamedTuple):
    row: int
    errors: list[FieldError]


class _Preview:
    """What was found in a file."""

    def __init__(self) -> None:
        self.format: str | None = None
        """None if it is not a file of customers."""
        self.delimiter = ""
        self.columns: list[tuple[str, str]] = []
        """CSV: each name in the header, and the column that it stands for."""
        self.valid = 0
        self.rejected = 0
        self.first_bad: list[_BadRow] = []
        self.broken: Break | None = None

    def read(self, reader: RowReader) -> None:
        """Read and check a whole file."""
        parser: RowParser | None = None
        for row in reader:
            assert reader.layout is not None  # noqa: S101 (for the type checker)
            parser = parser or RowParser(reader.layout)
            try:
                parser.parse(row.original)
            except InvalidError as error:
                self.rejected += 1
                if len(self.first_bad) < _SHOWN_ROWS:
                    self.first_bad.append(_BadRow(row.number, error.errors))
            else:
                self.valid += 1
        self.broken = reader.broken
        if reader.layout is not None:
            self.format, self.delimiter = reader.layout.format, reader.layout.delimiter
            self.columns = list(zip(reader.names, reader.layout.columns, strict=True))

    def facts(self, file: Path) -> dict[str, Any]:
        """Return the preview for programs."""
        return {
            "file": str(file),
            "format": self.format,
            "columns": {name: None if _is_ignored(column) else column for name, column in self.columns},
            "rows": self.valid + self.rejected,
            "valid": self.valid,
            "rejected": self.rejected,
            "first_rejected": [{"row": bad.row, "errors": bad.errors} for bad in self.first_bad],
            "broken": None if self.broken is None else self.broken._asdict(),
        }

    def text(self, file: Path) -> str:
        """Return the preview for people."""
        lines = [f"{printable(str(file))}: {self.valid:,} valid, {self.rejected:,} rejected; nothing was written"]
        if self.format is not None:
            names = {",": "commas", ";": "semicolons", "\t": "tabs"}
            delimited = (
                f", separated by {names.get(self.delimiter, printable(self.delimiter))}" if self.delimiter else ""
            )
            lines.append(f"Read as {_FORMATS[self.format]}{delimited}")
        lines += [
            f"  {printable(name) or '(no name)'}: {'ignored' if _is_ignored(column) else column}"
            for name, column in self.columns
            if name != column or _is_ignored(column)
        ]
        if self.broken is not None:
            lines.append(f"The file cannot be read from row {self.broken.row} on: {printable(self.broken.detail)}")
        lines += [f"  {printable(row_text(bad.row, bad.errors))}" for bad in self.first_bad]
        if (more := self.rejected - len(self.first_bad)) > 0:
            lines.append(f"  and {more:,} more")
        return "\n".join(lines)


def preview_files(files: Iterable[Path], mapping: ColumnMapping, *, as_json: bool) -> bool:
    """Read and check files, print what an import would find, and return whether nothing is wrong."""
    is_good = True
    for file in files:
        preview = _Preview()
        _read(file, mapping, preview)
        click.echo(json.dumps(preview.facts(file), ensure_ascii=False) if as_json else preview.text(file))
        is_good = is_good and not preview.rejected and preview.broken is None
    return is_good


def _read(file: Path, mapping: ColumnMapping, preview: _Preview) -> None:
    terminal = console(stderr=True)
    with (
        Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=terminal,
            transient=True,
            disable=not terminal.is_terminal,
        ) as progress,
        progress.open(file, "rb", description=f"checking {printable(file.name)}") as opened,
    ):
        preview.read(RowReader(opened, mapping=mapping))


def _is_ignored(column: str) -> bool:
    return column == LEFT_OUT or column in IGNORED
