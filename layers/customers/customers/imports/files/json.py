"""JSON: the elements of an array, alone or in an object, and the value of one row."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from customers.imports.files.columns import ADDED
from customers.imports.files.rows import MAX_ROW_BYTES, BrokenError, RowTooLongError
from customers.model import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from customers.imports.files.blocks import Buffer

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_UP_TO_BRACKET: Final = re.compile(rb'(?:[^"{}\[\]]++|%s)*+[{}\[\]]' % _STRING.pattern, re.DOTALL)
"""All up to the next bracket that is not in a string, and that bracket."""
_SCALAR_END: Final = re.compile(rb"[,\]}\s]")
_FIRST_BYTES: Final = bytes(range(ord("!"), ord("~") + 1)).translate(None, b",]}")
"""What an element may begin with: printable ASCII, like all of JSON outside of strings, and not what ends an element.
So it has at least one byte."""


def read_elements(buffer: Buffer, *, in_object: bool, first: bool) -> Iterator[bytes]:
    """Read every element of an array, up to the end of the file.

    Parameters
    ----------
    buffer
        The file, after the array's opening bracket or after one of its elements.
    in_object
        Whether the array is the only member of an object.
    first
        Whether the array's first element comes next.

    Raises
    ------
    BrokenError
        The next element cannot be found, the file does not end after the array, or it is damaged.
    """
    while (sign := _next_sign(buffer)) != b"]":
        if not first:
            if sign != b",":
                raise _not_json("There must be a comma or the end of the array before this row.")
            buffer.at += 1
            sign = _next_sign(buffer)
        if sign not in _FIRST_BYTES:
            raise _not_json("There must be a row here.")
        first = False
        yield buffer.take(_element_length(buffer))
    buffer.at += 1
    if in_object:
        if _next_sign(buffer) != b"}":
            raise _not_json("The object must end after its customers: it has no other member.")
        buffer.at += 1
    if buffer.pass_space():
        raise _not_json("There must be nothing after the end of the array.")


def parse(original: bytes) -> object:
    """Return the value of a row, without what a report added to it.

    Raises
    ------
    InvalidError
        It is not JSON.
    """
    value = parse_json(original)
    if isinstance(value, dict) and not ADDED.isdisjoint(value):
        return {name: member for name, member in value.items() if name not in ADDED}
    return value


def _next_sign(buffer: Buffer) -> bytes:
    """Pass white space, and return the byte after it."""
    if not buffer.pass_space():
        raise _cut_off()
    return buffer.data[buffer.at : buffer.at + 1]


def _element_length(buffer: Buffer) -> int:
    """Return the length of the element that begins here: at least 1, and no more than a row may have."""
    while (length := _length_in(buffer.data, buffer.at)) is None:
        if len(buffer.data) - buffer.at > MAX_ROW_BYTES:
            raise RowTooLongError
        if not buffer.fill():
            raise _cut_off()
    if length > MAX_ROW_BYTES:
        raise RowTooLongError
    return length


def _length_in(data: bytes, start: int) -> int | None:
    """Return the length of an element; None if it continues after the data."""
    if data[start] in b'"':
        string = _STRING.match(data, start)
        return None if string is None else string.end() - start
    if data[start] not in b"{[":
        ended = _SCALAR_END.search(data, start)
        return None if ended is None else ended.start() - start
    end, depth = start + 1, 1
    while depth:
        bracket = _UP_TO_BRACKET.match(data, end)
        if bracket is None:
            return None
        end = bracket.end()
        depth += 1 if data[end - 1] in b"{[" else -1
    return end - start


def _not_json(detail: str) -> BrokenError:
    return BrokenError("not_json", detail)


def _cut_off() -> BrokenError:
    return BrokenError("cut_off", "The file ends in the middle: the array is not closed.")
