"""Reading takes time proportional to the bytes, whatever they are."""

from __future__ import annotations

import gzip
import io
import random
import time

import pytest

from customers.imports.chunks import cuts
from customers.imports.files.reader import RowReader
from tests.fuzz import reading
from tests.unit.imports.samples import HEAD, ITEM

HOLES: dict[str, tuple[bytes, list[bytes]]] = {
    "each line opens a quoted cell": (HEAD, [b'x,"y"z,"\n']),
    "lines of one quotation mark and one sign": (HEAD, [b'",\n']),
    "a long line that closes what many opened": (HEAD, [b'x,"\n' * 8000 + b"y" * 30_000 + b'"\n']),
    "lines that open, nearly as long as a row": (HEAD, [b'"' + b"y" * 60_000 + b"\n"]),
    "blank lines": (HEAD, [b"\n"]),
    "blank lines between rows": (HEAD, [b"\r" * 5000, b"]"]),
    "CR": (HEAD, [b"\r"]),
    "rows of delimiters": (HEAD, [b",,,,\r\n"]),
    "rows of empty quoted cells": (HEAD, [b'"",""\n']),
    "byte order marks": (HEAD, [b"\xef\xbb\xbf\n"]),
    "spaces without a line end": (HEAD, [b" "]),
    "spaces and quotation marks": (HEAD, [b' "']),
    "quotation marks": (HEAD, [b'"']),
    "blank rows before the header": (b"", [b",\n"]),
    "empty lines among blank rows before the header": (b"", [b'""\t\n' + b"\n" * 5000]),
    "a header of nothing but delimiters": (b"x", [b";" * 50_000 + b"\n"]),
    "a header that repeats its names": (b"", [b"metadata.a," * 5_000 + b"\n"]),
    "short rows below a wide header": (HEAD.strip() + b",metadata.a" * 1_990 + b"\n", [b"x\n"]),
    "objects that do not end": (ITEM + b"\n", [b'{"a":\n']),
    "objects that nearly end": (ITEM + b"\n", [b'{"y":{"z":\n},"w":\n']),
    "objects that do not end, among others": (ITEM + b"\n", [b'{"z":\n' + b'{"x":1},"y":\n' * 500]),
    "objects that do not end, far apart": (b"", [b'{"a":\n' + b"\n" * 5000]),
    "objects that do not end, with lines between": (b"", [b'{"a":\n' + b":\n" * 1500]),
    "objects that do not end, with brackets between": (b"", [b'{"a":\n' + b"[\n" * 2500]),
    "objects that do not end, with quotation marks between": (b"", [b'{"a":\n' + b'"\n' * 2500]),
    "objects that begin with a bracket": (b"", [b"{\n[\n"]),
    "objects that begin with a bracket, among others": (ITEM + b"\n", [b"{\n{[\n"]),
    "objects that begin with an open string": (ITEM + b"\n", [b'{\n"\n']),
    "objects in one another, each on its line": (b"", [b'{"":\n']),
    "objects that begin with braces": (ITEM + b"\n", [b"{\n"]),
    "objects and arrays that do not end": (ITEM + b"\n", [b"[\n{\n{\na:"]),
    "objects in others that do not end": (ITEM + b"\n", [b'{"":\n{\n}\n']),
    "objects that nearly begin": (ITEM + b"\n", [b"]\n{\n{"]),
    "values on the next line": (ITEM + b"\n", [b"{\na:\n"]),
    "brackets on lines": (ITEM + b"\n", [b"[\n"]),
    "open strings": (ITEM + b"\n", [b'{"a":"\\\\\\"\n']),
    "small elements": (b"[", [b"1,"]),
    "small elements that are not JSON": (b"[", [b";,"]),
    "small elements in others": (b"[", [b"[[]],"]),
    "empty arrays": (b"[", [b"[],"]),
    "white space between elements": (b"[", [b" " * 60_000 + b"1,"]),
    "elements that nest": (b"[", [b"[" * 30_000 + b"]" * 30_000 + b","]),
}
BYTES = 300_000
ALLOWED = 20 * 2
"""Times the cost of a good file. Other work on the machine may double a measurement."""


@pytest.fixture(scope="module")
def allowed() -> float:
    return ALLOWED * min(reading.good_reading_cost() for _ in range(5))


@pytest.mark.parametrize("kind", HOLES)
def test_no_bytes_take_much_longer_to_cut_than_those_of_a_good_file(kind: str, allowed: float) -> None:
    data = reading.file_of(*HOLES[kind], BYTES)
    costs = [reading.reading_cost(data)]
    while costs[-1] > allowed and len(costs) < 3:
        costs.append(reading.reading_cost(data))
    assert min(costs) < allowed


def test_a_few_bytes_of_gzip_that_hold_very_many_lines_are_read_at_once() -> None:
    lines = gzip.compress(HEAD + b"\n" * 60_000_000, 1)
    started = time.process_time()
    steps = sum(1 for _ in cuts(RowReader(io.BytesIO(lines))))
    assert time.process_time() - started < 10, "once it was a minute"
    assert steps > 100, "the caller could look at the clock"


def test_a_short_search_finds_nothing_that_takes_much_longer_than_a_good_file() -> None:
    worst = reading.climb(reading.reading_cost, reading.good_reading_cost, 5, random.Random(1))
    assert worst.ratio < ALLOWED, worst
