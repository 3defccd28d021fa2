"""The same customers as a file in each form."""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import TYPE_CHECKING, Any

from customers.imports.files.mapping import AS_NAMED
from customers.imports.files.reader import RowReader
from customers.imports.files.values import RowParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from customers.imports.files.mapping import ColumnMapping
    from customers.imports.files.rows import Row

NAMES = ["first_name", "last_name", "email", "group_id", "age"]
CUSTOMERS: list[dict[str, Any]] = [
    {
        "first_name": ["Élodie", 'John "Jack"', "Ann, Mary", "O'Neil; Jr", "José"][n % 5],
        "last_name": f"Doe {n}",
        "email": f"someone+{n}@example.com",
        "group_id": n % 3 + 1,
        "age": None if n % 4 == 0 else n % 150,
    }
    for n in range(500)
]


def as_csv(delimiter: str = ",", end: str = "\r\n", quoting: Any = csv.QUOTE_MINIMAL) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, NAMES, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writeheader()
    writer.writerows(CUSTOMERS)
    return text.getvalue().encode()


def as_lines() -> bytes:
    return b"".join(json.dumps(customer).encode() + b"\n" for customer in CUSTOMERS)


FORMS: dict[str, Callable[[], bytes]] = {
    "csv": as_csv,
    "csv with line feeds": lambda: as_csv(end="\n"),
    "csv with semicolons": lambda: as_csv(";"),
    "csv with tabs": lambda: as_csv("\t"),
    "csv, all quoted": lambda: as_csv(quoting=csv.QUOTE_ALL),
    "csv without a last line feed": lambda: as_csv().rstrip(),
    "csv with an upper-case header": lambda: as_csv().replace(b"first_name,last_name", b' First_Name ,"LAST_NAME"', 1),
    "json lines": as_lines,
    "json array": lambda: json.dumps(CUSTOMERS).encode(),
    "json array, indented": lambda: json.dumps(CUSTOMERS, indent=4, ensure_ascii=False).encode(),
    "json object": lambda: json.dumps({"customers": CUSTOMERS}).encode(),
    "json object, indented": lambda: json.dumps({"customers": CUSTOMERS}, indent=2).encode(),
}
WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "bom": lambda data: b"\xef\xbb\xbf" + data,
    "gzip": gzip.compress,
    "gzip of bom": lambda data: gzip.compress(b"\xef\xbb\xbf" + data),
    "two gzips": lambda data: gzip.compress(data[:777]) + gzip.compress(data[777:]) + b"\0" * 512,
}


class Slow(io.RawIOBase):
    """A stream that returns only a few bytes at a time, as a network does."""

    def __init__(self, data: bytes, most: int) -> None:
        self._stream = io.BytesIO(data)
        self._most = most

    def read(self, size: int = -1, /) -> bytes:
        return self._stream.read(min(size, self._most))


def read(data: bytes, mapping: ColumnMapping | None = None) -> tuple[RowReader, list[Row]]:
    reader = RowReader(io.BytesIO(data), mapping=mapping or AS_NAMED)
    return reader, list(reader)


def values(reader: RowReader, rows: list[Row]) -> list[Any]:
    assert reader.layout is not None
    return [RowParser(reader.layout).value(row.original) for row in rows]


HEAD = b"first_name,last_name,email,group_id,age\n"
GOOD = b"Ann,Doe,ann@example.com,1,\n"
ITEM = b'{"first_name":"Ann","last_name":"Doe","email":"ann@example.com","group_id":1}'
