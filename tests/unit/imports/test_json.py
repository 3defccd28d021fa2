"""JSON arrays: anything that is not an element ends the file's import, but never silently."""

from __future__ import annotations

import gzip
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customers import model
from customers.errors import InvalidError
from customers.imports.files.rows import MAX_ROW_BYTES
from customers.imports.files.values import RowParser
from tests.unit.imports.samples import ITEM, read

NO_ELEMENT: dict[str, bytes] = {
    "a form feed": b"\x0c",
    "a vertical tab": b"\x0b",
    "a NUL": b"\0",
    "a no-break space": b"\xc2\xa0",
    "a no-break space in Latin-1": b"\xa0",
    "a line separator": b"\xe2\x80\xa8",
    "a next line": b"\xc2\x85",
    "a byte order mark": b"\xef\xbb\xbf",
    "a control character": b"\x1f",
    "a delete": b"\x7f",
    "a byte that is not UTF-8": b"\xff",
}
PLACES: dict[str, bytes] = {
    "before the first element": b"[\n%s" + ITEM + b"," + ITEM + b"]",
    "before an element": b"[\n" + ITEM + b",%s" + ITEM + b"," + ITEM + b"]",
    "on the line before an element": b"[\n" + ITEM + b",\n%s\n" + ITEM + b"," + ITEM + b"]",
    "instead of an element": b"[\n" + ITEM + b",%s," + ITEM + b"]",
    "instead of the last element": b"[\n" + ITEM + b",%s]",
    "instead of all elements": b"[\n%s]",
    "after an element": b"[\n" + ITEM + b"%s," + ITEM + b"]",
    "before the end": b"[\n" + ITEM + b"%s]",
    "after the end": b"[\n" + ITEM + b"]%s",
}


@pytest.mark.parametrize("wrapping", [b"%s", b'{"customers":%s}'])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", NO_ELEMENT)
def test_what_cannot_begin_an_element_breaks_the_file_there(kind: str, place: str, wrapping: bytes) -> None:
    before = PLACES[place].partition(b"%s")[0].count(ITEM)
    plain = wrapping % (PLACES[place] % NO_ELEMENT[kind])
    for data in (plain, gzip.compress(plain)):
        reader, rows = read(data)
        assert reader.broken is not None
        assert (reader.broken.code, reader.broken.row) == ("not_json", before + 1)
        assert [row.original for row in rows] == [ITEM] * before


@pytest.mark.parametrize("place", PLACES)
def test_white_space_may_be_wherever_json_allows_it(place: str) -> None:
    data = PLACES[place] % b" \t\r\n"
    reader, rows = read(data)
    is_element_missing = place.startswith("instead of") and place != "instead of all elements"
    assert (reader.broken is not None) == is_element_missing
    assert len(rows) == (1 if is_element_missing else data.count(ITEM))


@pytest.mark.parametrize("scalar", [b"1", b"-1.5e3", b"true", b"null", b"NaN", b'"a, ] b"', b"abc", b"'x'", b":"])
@pytest.mark.parametrize("end", [b",", b" ,", b"\n,"])
def test_an_element_that_is_not_an_object_is_a_bad_row_and_the_others_are_read(scalar: bytes, end: bytes) -> None:
    reader, rows = read(b"[" + ITEM + b"," + scalar + end + ITEM + b"]")
    assert reader.broken is None
    assert [row.original for row in rows] == [ITEM, scalar, ITEM]
    assert reader.layout is not None
    with pytest.raises(InvalidError):
        model.new_customer(RowParser(reader.layout).value(scalar))


@pytest.mark.parametrize("element", [b'{"a":"}]\\\\\\"{"}', b'[{"a":["]"]},{}]', b'"\\\\"', b'""', b'{"a":"\n"}'])
def test_brackets_and_quotes_in_strings_end_no_element(element: bytes) -> None:
    reader, rows = read(b"[" + element + b"," + element + b"]")
    assert (reader.broken, [row.original for row in rows]) == (None, [element, element])


@pytest.mark.parametrize("sign", sorted(set(map(chr, range(ord("!"), ord("~") + 1))) - set('"{[,]}')))
@pytest.mark.parametrize("is_first", [True, False])
def test_whatever_a_word_begins_with_it_ends_before_the_next_element(sign: str, is_first: bool) -> None:  # noqa: FBT001
    word = sign.encode() + b"1"
    elements = [word, ITEM] if is_first else [ITEM, word, ITEM]
    reader, rows = read(b"[" + b" , ".join(elements) + b"]")
    assert (reader.broken, [row.original for row in rows]) == (None, elements)


LINES = st.sampled_from([
    '{"a":', "{", "}", "]", "[", '"x"', '"x', ":", ",", "", " ", " {", '{"b":1}', "},", '"}"', '"\\"{"', '{"c":[', "]}",
    "}}", "1", "{[", "{ {",
])  # fmt: skip


STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def rows_of(lines: list[str]) -> list[str]:
    """Return the rows as the documentation says, looking at each line as often as it takes."""
    rows, first = [], 0
    while first < len(lines):
        last = last_line(lines, first)
        if row := "\n".join(lines[first : last + 1]).strip():
            rows.append(row)
        first = last + 1
    return rows


def last_line(lines: list[str], first: int) -> int:
    """Return the last line of an object; its first one if it does not end.

    None ends if a string is open at the end of a line, or a bracket follows an opening brace.
    """
    depth, before, sign_before = 0, ":", ""
    for index, line in enumerate(lines[first:], first):
        begins = line.lstrip().startswith("{")
        if begins and not before.endswith((":", "[")):
            return first
        if index == first and not begins:
            return first
        bare, open_string, _ = STRING.sub("s", line.replace(" ", "")).partition('"')
        for sign in bare:
            if sign in "{[" and sign_before == "{":
                return first
            if sign in "{}[]":
                depth += 1 if sign in "{[" else -1
            if depth == 0:
                return index
            sign_before = sign
        if open_string:
            return first
        before = line.strip() or before
    return first


@given(st.lists(LINES, max_size=30))
def test_an_object_ends_where_its_brackets_do_however_its_lines_are(lines: list[str]) -> None:
    reader, rows = read(ITEM + b"\n" + "\n".join(lines).encode())
    assert reader.broken is None
    assert [row.original.decode().strip() for row in rows[1:]] == rows_of(lines)


@given(st.lists(LINES, max_size=30))
def test_no_line_is_lost_or_read_twice_where_one_window_ends_and_another_begins(lines: list[str]) -> None:
    # More blank lines than a row may have.
    reader, rows = read(ITEM + b"\n" + "\n".join([*lines[:9], *[""] * 70_000, *lines[9:]]).encode())
    assert reader.broken is None
    found = "".join(row.original.decode() for row in rows[1:])
    assert "".join(found.split()) == "".join("".join(lines).split())


@pytest.mark.parametrize("depth", [2, 100, 5000])
def test_objects_in_one_another_each_at_the_start_of_a_line_are_one_row(depth: int) -> None:
    row = b"\n".join([b'{"a":'] * (depth - 1) + [b"{"] + [b"}"] * depth)
    reader, rows = read(ITEM + b"\n" + row + b"\n" + ITEM)
    assert (reader.broken, [found.original for found in rows]) == (None, [ITEM, row, ITEM])


def test_of_objects_in_one_another_that_are_too_long_together_those_that_are_not_are_rows() -> None:
    deep = [b'{"a":'] * 20_000 + [b"{}"] + [b"}"] * 20_000
    reader, rows = read(ITEM + b"\n" + b"\n".join(deep) + b"\n" + ITEM)
    lengths = [len(row.original) for row in rows]
    assert reader.broken is None
    assert b"\n".join(row.original for row in rows[1:-1]) == b"\n".join(deep)
    assert max(lengths) == max(
        size for size in range(MAX_ROW_BYTES + 1) if (size - len(b"{}")) % len(b'{"a":\n}\n') == 0
    )


@pytest.mark.parametrize("indent", [b"", b" \t", b"\xef\xbb\xbf", b"\xef\xbb\xbf  "])
def test_an_object_ends_in_the_same_place_if_a_window_begins_with_it(indent: bytes) -> None:
    row = b'{\n"a":\n{\n}\n}'
    reader, rows = read(ITEM + b"\n" * 300_000 + indent + row + b"\n" + indent + ITEM)
    assert (reader.broken, [found.original.strip() for found in rows]) == (None, [ITEM, row, ITEM])


@pytest.mark.parametrize("indent", [1, None])
def test_customers_that_are_spread_over_lines_are_a_row_each_however_many_there_are(indent: int | None) -> None:
    value = {"metadata": {"a": "b"}, "list": [{"c": [{"d": 1}]}], "empty": []}
    rows = [json.dumps({"first_name": "x" * (number % 97), **value}, indent=indent) for number in range(10_000)]
    reader, found = read("\n".join(rows).encode())
    assert reader.broken is None
    assert [row.original.decode() for row in found] == rows


@pytest.mark.parametrize("before", ["", " ", "\t \r"])
def test_a_value_may_begin_on_the_line_after_its_name(before: str) -> None:
    row = f'{{\n"metadata":{before}\n{{\n"a": "b"\n}},\n"list": [{before}\n{{\n}}\n]\n}}'
    reader, found = read(f"{row}\n{row}".encode())
    assert (reader.broken, [line.original.decode() for line in found]) == (None, [row, row])
