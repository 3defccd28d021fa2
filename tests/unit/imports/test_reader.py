"""A file of customers is cut into rows, whatever its form. A broken file says why, and from which row on."""

from __future__ import annotations

import gzip
import io
import json
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customers import model
from customers.errors import InvalidError
from customers.imports.files import json as json_module
from customers.imports.files.json import read_elements
from customers.imports.files.reader import RowReader
from customers.imports.files.report import report_line
from customers.imports.files.rows import MAX_ROW_BYTES, Layout, Position
from customers.imports.files.values import RowParser
from tests.unit.imports.samples import CUSTOMERS, FORMS, GOOD, HEAD, ITEM, WRAPPINGS, Slow, read, values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from customers.imports.files.blocks import Buffer


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
        position = first.position_at(first.offset, first.rows)
        kept = json.loads(json.dumps(position))
        again = Position(Layout(kept[0][0], tuple(kept[0][1]), kept[0][2]), *kept[1:])
        second = RowReader(io.BytesIO(data if packed else data[position.offset :]), again)
        rows += list(second)
        assert second.broken is None
        assert values(second, rows) == CUSTOMERS
        assert [row.number for row in rows] == list(range(1, 501))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_reader_goes_on_after_the_last_row_of_one_that_came_to_the_end(form: str, packed: bool) -> None:  # noqa: FBT001
    data = gzip.compress(FORMS[form]()) if packed else FORMS[form]()
    first, rows = read(data)
    position = first.position_at(first.offset, first.rows)
    assert (len(rows), position.rows) == (500, 500)
    second = RowReader(io.BytesIO(data if packed else data[position.offset :]), position)
    assert (list(second), second.broken) == ([], None)


def test_a_reader_does_not_go_on_in_a_file_that_is_shorter_than_its_position() -> None:
    data = gzip.compress(HEAD + GOOD * 3)
    first, _ = read(data)
    second = RowReader(io.BytesIO(gzip.compress(HEAD + GOOD * 2)), first.position_at(first.offset, 3))
    assert list(second) == []
    assert second.broken is not None
    assert (second.broken.row, second.broken.code) == (4, "cut_off")


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


BAD_ROWS: dict[str, tuple[bytes, str]] = {
    "not utf-8": (HEAD + b"Ann,D\xe9,ann@example.com,1,\n" + GOOD, "not_utf8"),
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
        RowParser(reader.layout).value(rows[0].original)
    (error,) = raised.value.errors
    assert (error["pointer"], error["code"], error["detail"][-1]) == ("#", code, ".")
    assert model.new_customer(RowParser(reader.layout).value(rows[1].original))["first_name"] == "Ann"


ENDS: dict[str, tuple[bytes, bytes]] = {
    "csv": (HEAD, b' \t\r\n,"\xef\xbb\xbf'),
    "json lines": (ITEM + b"\n", b" \t\r\n\xef\xbb\xbf"),
    "json array": (b"[", b" \t\r\n,[]{}"),
    "json object": (b'{"customers":[', b" \t\r\n,[]{}"),
}
"""How a file of each form begins, and what may stand outside its rows."""
PIECES = [
    ITEM,
    GOOD,
    b",",
    b"]",
    b"}",
    b"\n",
    b" ",
    b"\t",
    b"\r",
    b"\x0b",
    b"\x0c",
    b"\0",
    b"\xc2\xa0",
    b'"',
    b"1",
    b"a",
]


@pytest.mark.parametrize("form", ENDS)
@given(pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=8))
def test_every_byte_of_a_file_that_is_read_to_its_end_is_in_a_row_or_between_rows(
    form: str, pieces: list[bytes]
) -> None:
    start, between = ENDS[form]
    data = start + b"".join(pieces)
    reader, rows = read(data)
    if reader.broken is None:
        header = start if form in {"csv", "json object"} else b""
        read_bytes = header + b"".join(row.original for row in rows)
        assert read_bytes.translate(None, between) == data.translate(None, between)
        assert all(row.original for row in rows)


def test_a_reader_that_stops_early_cannot_pass_for_the_end_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_one(buffer: Buffer, *, in_object: bool, first: bool) -> Iterator[bytes]:
        return islice(read_elements(buffer, in_object=in_object, first=first), 1)

    monkeypatch.setattr(json_module, "read_elements", only_one)
    reader = RowReader(io.BytesIO(b"[" + ITEM + b"," + ITEM + b"]"))
    with pytest.raises(RuntimeError, match="stopped before the end"):
        list(reader)


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


@given(st.binary(max_size=300), st.sampled_from([b"", b"[", b'{"customers":[', HEAD, b"{", b"\x1f\x8b"]))
def test_no_bytes_make_it_raise(data: bytes, start: bytes) -> None:
    reader = RowReader(io.BytesIO(start + data))
    for row in reader:
        assert reader.layout is not None
        try:
            RowParser(reader.layout).value(row.original)
        except InvalidError as error:
            report_line(reader.layout, row, error.errors)
