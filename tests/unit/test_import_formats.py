"""A file of customers is cut into rows, whatever its form; what is none says why, from which row on."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
import zlib
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customers import import_formats, model
from customers.errors import FieldError, InvalidError
from customers.import_formats import (
    MAX_ROW_BYTES,
    Layout,
    Position,
    Row,
    RowReader,
    parse_row,
    report_header,
    report_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """A stream that gives few bytes at a time, as a network does."""

    def __init__(self, data: bytes, most: int) -> None:
        self._stream = io.BytesIO(data)
        self._most = most

    def read(self, size: int = -1, /) -> bytes:
        return self._stream.read(min(size, self._most))


def read(data: bytes) -> tuple[RowReader, list[Row]]:
    reader = RowReader(io.BytesIO(data))
    return reader, list(reader)


def values(reader: RowReader, rows: list[Row]) -> list[Any]:
    assert reader.layout is not None
    return [parse_row(reader.layout, row.original) for row in rows]


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_customers(form: str, wrapping: str) -> None:
    reader, rows = read(WRAPPINGS[wrapping](FORMS[form]()))
    assert reader.broken is None
    assert values(reader, rows) == CUSTOMERS
    assert [row.number for row in rows] == list(range(1, 501))


@pytest.mark.parametrize("form", FORMS)
def test_a_stream_may_come_in_small_pieces(form: str) -> None:
    reader = RowReader(Slow(gzip.compress(FORMS[form]()), 7))
    assert values(reader, list(reader)) == CUSTOMERS
    reader = RowReader(Slow(FORMS[form](), 50))
    assert values(reader, list(reader)) == CUSTOMERS


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_reader_goes_on_where_another_stopped(form: str, packed: bool) -> None:  # noqa: FBT001
    plain = FORMS[form]()
    data = gzip.compress(plain) if packed else plain
    for stop in (1, 250, 499, 500):
        first = RowReader(io.BytesIO(data))
        rows = list(islice(first, stop))
        position = first.position
        assert position is not None
        kept = json.loads(json.dumps(position))
        again = Position(Layout(kept[0][0], tuple(kept[0][1]), kept[0][2]), *kept[1:])
        second = RowReader(io.BytesIO(data if packed else data[position.offset :]), again)
        rows += list(second)
        assert second.broken is None
        assert values(second, rows) == CUSTOMERS
        assert [row.number for row in rows] == list(range(1, 501))


def test_quoted_cells_may_hold_line_feeds_delimiters_and_quotes() -> None:
    head = b"first_name,last_name,email,group_id\n"
    reader, rows = read(head + b'"a\r\n""b"",\n",5" pipe,e@example.com,1\n\n  \nc,d,e@example.com,2')
    assert values(reader, rows) == [
        {"first_name": 'a\r\n"b",\n', "last_name": '5" pipe', "email": "e@example.com", "group_id": 1},
        {"first_name": "c", "last_name": "d", "email": "e@example.com", "group_id": 2},
    ]


HEAD = b"first_name,last_name,email,group_id,age\n"
GOOD = b"Ann,Doe,ann@example.com,1,\n"
ITEM = b'{"first_name":"Ann","last_name":"Doe","email":"ann@example.com","group_id":1}'
BROKEN: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 1, "empty"),
    "only space": (b" \r\n" * 1_000_000, 1, "empty"),
    "only a bom": (b"\xef\xbb\xbf", 1, "empty"),
    "utf-16": ((HEAD + GOOD).decode().encode("utf-16"), 1, "not_text"),
    "utf-16 without a bom": ((HEAD + GOOD).decode().encode("utf-16-le"), 1, "not_text"),
    "binary": (bytes(range(256)) * 1000, 1, "not_text"),
    "a zip archive": (b"PK\x03\x04\x14\x00" + bytes(100), 1, "not_text"),
    "latin-1 header": ("prénom,nom\n".encode("latin-1"), 1, "not_text"),
    "wrong header": (b"name;mail\nx;y\n", 1, "wrong_header"),
    "no header": (GOOD * 3, 1, "wrong_header"),
    "a surplus column": (b"first_name,last_name,email,group_id,phone\n", 1, "wrong_header"),
    "a column twice": (b"first_name,last_name,email,group_id,email\n", 1, "wrong_header"),
    "a million columns": (b"a," * 1_000_000 + b"\n" + GOOD, 1, "row_too_long"),
    "a line of 50 MB": (b"x" * 50_000_000, 1, "row_too_long"),
    "an element of 50 MB": (b"[" + ITEM + b',{"a":"' + b"x" * 50_000_000, 2, "row_too_long"),
    "open brackets": (b"[" * 10_000, 1, "cut_off"),
    "very many open brackets": (b"[" * 10_000_000, 1, "row_too_long"),
    "a cut-off array": (b"[" + ITEM + b"," + ITEM[:30], 2, "cut_off"),
    "a cut-off array after a comma": (b"[" + ITEM + b",", 2, "cut_off"),
    "a cut-off object": (b'{"customers": [' + ITEM + b"]", 2, "cut_off"),
    "another member": (b'{"customers": [' + ITEM + b'], "more": 1}', 2, "not_json"),
    "no comma": (b"[" + ITEM + b" " + ITEM + b"]", 2, "not_json"),
    "a last comma": (b"[" + ITEM + b",]", 2, "not_json"),
    "text after the array": (b"[" + ITEM + b"] x", 2, "not_json"),
    "a truncated gzip": (gzip.compress(HEAD + GOOD * 1000)[:-8], 1001, "gzip_cut_off"),
    "gzip that is none": (b"\x1f\x8b" + b"x" * 100, 1, "gzip_damaged"),
    "a damaged checksum": (gzip.compress(HEAD + GOOD)[:-8] + bytes(8), 2, "gzip_damaged"),
    "gzip with something after it": (gzip.compress(HEAD + GOOD) + b"x" * 100, 2, "gzip_damaged"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_file_of_customers_says_so_and_keeps_the_rows_before(kind: str) -> None:
    data, row, code = BROKEN[kind]
    reader, rows = read(data)
    assert reader.broken is not None
    assert (reader.broken.code, reader.broken.detail[-1]) == (code, ".")
    assert len(rows) == reader.broken.row - 1
    assert reader.broken.row == row


@pytest.mark.parametrize("line", [b"", GOOD])
def test_a_zip_bomb_is_cut_off_in_constant_memory(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_formats, "_EXPANSION_FREE_BYTES", 4_000_000)
    packer = zlib.compressobj(9, wbits=31)
    data = packer.compress(HEAD) + b"".join(packer.compress(line * 10_000 or b"x" * 1_000_000) for _ in range(100))
    data += packer.flush()
    tracemalloc.start()
    reader = RowReader(io.BytesIO(data))
    rows = sum(1 for _ in reader)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reader.broken is not None
    assert reader.broken.code in {"gzip_expands", "row_too_long"}
    assert rows == reader.broken.row - 1
    assert peak < 4_000_000


BAD_ROWS: dict[str, tuple[bytes, str]] = {
    "not utf-8": (HEAD + b"Ann,D\xe9,ann@example.com,1,\n" + GOOD, "not_utf8"),
    "too few cells": (HEAD + b"Ann\n" + GOOD, "wrong_cell_count"),
    "too many cells": (HEAD + GOOD.strip() + b",x\n" + GOOD, "wrong_cell_count"),
    "a row of 50 MB": (HEAD + b"x" * 50_000_000 + b"\n" + GOOD, "row_too_long"),
    "a row of a byte too many": (HEAD + b"x" * (MAX_ROW_BYTES + 1) + b"\n" + GOOD, "row_too_long"),
    "an open quote": (HEAD + b'Ann,"Doe,ann@example.com,1,\n' + GOOD, "invalid_csv"),
    "an open quote and much after it": (HEAD + b'"' + GOOD + GOOD + b"\n" * 90_000, "invalid_csv"),
    "a bad first json line": (b"no json\n\n" + ITEM, "invalid_json"),
    "a first json line of two": (b"[1] [2]\r\n" + ITEM, "invalid_json"),
    "a json line of 50 MB": (b'{"a":"' + b"x" * 50_000_000 + b"\n" + ITEM, "row_too_long"),
    "text after quotes": (HEAD + b'"Ann"x,Doe,ann@example.com,1,\n' + GOOD, "invalid_csv"),
    "json, not utf-8": (ITEM.replace(b"Doe", b"\xff") + b"\n" + ITEM, "invalid_json"),
    "json, nested": (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}\n" + ITEM, "invalid_json"),
    "element, nested": (b"[" + b"[" * 10_000 + b"]" * 10_000 + b"," + ITEM + b"]", "invalid_json"),
    "element, not utf-8": (b"[" + ITEM.replace(b"Doe", b"\xff") + b"," + ITEM + b"]", "invalid_json"),
    "element with mixed brackets": (b'[{"a":[}},' + ITEM + b"]", "invalid_json"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_bad_row_is_its_own_trouble_alone(kind: str) -> None:
    data, code = BAD_ROWS[kind]
    reader, rows = read(data)
    assert reader.broken is None
    assert reader.layout is not None
    assert len(rows) == 2
    with pytest.raises(InvalidError) as raised:
        parse_row(reader.layout, rows[0].original)
    assert [error["code"] for error in raised.value.errors] == [code]
    assert model.new_customer(parse_row(reader.layout, rows[1].original))["first_name"] == "Ann"


def test_a_first_json_line_that_is_a_list_is_a_row() -> None:
    reader, rows = read(b"[1]\n" + ITEM)
    assert (reader.broken, [row.original for row in rows]) == (None, [b"[1]", ITEM])
    reader, rows = read(b"[[1],\n" + ITEM + b"]")
    assert (reader.broken, [row.original for row in rows]) == (None, [b"[1]", ITEM])


@pytest.mark.parametrize("last", [b'Ann,Doe,ann@example.com,1,"3', b"\0\0", b"x" * 70_000, b'x,"' + b"x" * 70_000])
def test_a_bad_last_row_is_a_row(last: bytes) -> None:
    for start in (HEAD + GOOD, ITEM + b"\n"):
        reader, rows = read(start + last)
        assert reader.broken is None
        assert [row.number for row in rows] == [1, 2]


@pytest.mark.parametrize("bad", [b'Ann,Doe,ann@example.com,1,"3', b'"Ann,Doe', b'x,"' + b"x" * 70_000, b"x" * 70_000])
def test_a_row_without_an_end_ends_in_the_report(bad: bytes) -> None:
    reader, rows = read(HEAD + bad + b"\n" + GOOD)
    assert reader.layout is not None
    report = report_header(reader.layout) + b"".join(report_line(reader.layout, row, []) for row in rows)
    again, found = read(report)
    assert (again.broken, len(found)) == (None, 2)
    assert len(report) < 2000
    assert bad[:1000].replace(b'"', b'""') in report
    assert again.layout is not None
    assert parse_row(again.layout, found[1].original) == parse_row(reader.layout, rows[1].original)
    with pytest.raises(InvalidError):
        parse_row(again.layout, found[0].original)


def test_a_row_whose_quotes_stay_open_is_in_the_report_whole() -> None:
    bad = b'Ann,"' + b"x" * 3000
    reader, rows = read(HEAD + bad + b"\n" + GOOD)
    assert reader.layout is not None
    assert bad.replace(b'"', b'""') in report_line(reader.layout, rows[0], [])


def test_cells_that_are_no_integers_stay_text_for_the_model_to_refuse() -> None:
    reader, rows = read(HEAD + b"Ann,Doe,ann@example.com,1.5,old\nAnn,Doe,ann@example.com, 7 , 8 \n")
    first, second = values(reader, rows)
    assert (first["group_id"], first["age"]) == ("1.5", "old")
    assert (second["group_id"], second["age"]) == (7, 8)


@pytest.mark.parametrize("form", ["csv", "csv with semicolons", "json lines", "json array, indented"])
def test_a_report_of_rejected_rows_is_a_file_to_import(form: str) -> None:
    errors = [FieldError(pointer="#/email", code="invalid_email", detail='Must be "valid"; or not,\nat all.')]
    data = FORMS[form]()
    for _ in range(3):
        reader, rows = read(data)
        assert reader.layout is not None
        assert values(reader, rows) == CUSTOMERS
        lines = [report_line(reader.layout, row, errors) for row in rows]
        data = report_header(reader.layout) + b"".join(lines)
        assert data.count(b"import_errors") == (1 if "csv" in form else 500)


@pytest.mark.parametrize("original", [b"[1]", b"{}", b'"x"', b"\xff", b'{"a":1', b"1"])
def test_a_report_line_of_anything_is_one_line_of_json(original: bytes) -> None:
    line = report_line(
        Layout("json_lines"), Row(7, original), [FieldError(pointer="#", code="invalid_csv", detail="d")]
    )
    assert line.count(b"\n") == 1
    assert json.loads(line)["import_row"] == 7


@given(st.binary(max_size=300), st.sampled_from([b"", b"[", b'{"customers":[', HEAD, b"{", b"\x1f\x8b"]))
def test_no_bytes_make_it_raise(data: bytes, start: bytes) -> None:
    reader = RowReader(io.BytesIO(start + data))
    for row in reader:
        assert reader.layout is not None
        try:
            parse_row(reader.layout, row.original)
        except InvalidError as error:
            report_line(reader.layout, row, error.errors)
