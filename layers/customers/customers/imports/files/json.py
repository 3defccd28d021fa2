"""JSON: the elements of an array, alone or in an object, and where objects in JSON Lines end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from customers.imports.files.columns import LEFT_OUT, METADATA, METADATA_PREFIX, squashed
from customers.imports.files.rows import BYTE_ORDER_MARK, MAX_ROW_BYTES, BrokenError, RowTooLongError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from customers.imports.files.blocks import Buffer
    from customers.imports.files.lines import Window

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_UP_TO_BRACKET: Final = re.compile(rb'(?:[^"{}\[\]]++|%s)*+[{}\[\]]' % _STRING.pattern, re.DOTALL)
"""All up to the next bracket that is not in a string, and that bracket."""
_SIGNIFICANT: Final = re.compile(rb'["{}\[\]]')
_UP_TO_END: Final = re.compile(rb'(?:[^"]++|%s)*+\Z' % _STRING.pattern, re.DOTALL)
_NEXT_SIMPLE: Final = re.compile(
    rb"[ \t\r\n]*+,[ \t\r\n]*+"
    rb'(\{(?:[^"{}\[\]]++|%s)*+\}|[-+.0-9A-Za-z]++(?=[,\] \t\r\n]))' % _STRING.pattern,
    re.DOTALL,
)
"""A comma and the next element: an object without others in it, or a number or word that ends."""
_OPENING, _CLOSING = b"{}"
_MOST_SPACE: Final = 64 * 1024 * 1024
"""Between two elements. Whoever reads the file looks at the clock after each element only."""
_BEFORE_ROW: Final = BYTE_ORDER_MARK + b" \t\r\n"
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
    while True:
        # Nearly always. What this does not find, or only in part, is looked at closely.
        while not first and (simple := _NEXT_SIMPLE.match(buffer.data, buffer.at)) and len(simple[1]) <= MAX_ROW_BYTES:
            buffer.at = simple.end()
            yield simple[1]
        sign = _next_sign(buffer)
        if sign == b"]":
            break
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


def _next_sign(buffer: Buffer) -> bytes:
    """Pass white space, and return the byte after it."""
    start = buffer.offset
    if not buffer.pass_space():
        raise _cut_off()
    if buffer.offset - start > _MOST_SPACE:
        raise _not_json(f"There are more than {_MOST_SPACE} bytes of white space before this row.")
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


class JsonLinesForm:
    """Where objects in JSON Lines end, for `lines.read_rows`: on their line, or on a later one if they are spread out.

    If an object does not end, only its first line is bad: the next one is a row of its own.
    """

    blank = b" \t\r\n"

    def __init__(self) -> None:
        self._search: _Search | None = None

    def is_plain(self, line: bytes) -> bool:
        """Whether a line is a row of its own for certain: an object without others in it."""
        # If the only closing bracket is in a string, the string does not end on the line, which no JSON string does.
        return line[0] == _OPENING and line.count(b"{") == 1 and line.count(b"}") == 1 and line.rstrip()[-1] == _CLOSING

    def is_blank(self, row: bytes) -> bool:
        """Whether a row has no content."""
        return not row.strip(self.blank)

    def line_count(self, window: Window, first: int) -> int | None:
        """Return the number of lines of a row, at least 1; None if it depends on lines that the window lacks."""
        line = window.lines[first].strip(_BEFORE_ROW)
        following = window.lines[first + 1 : first + 2]
        if line[:1] != b"{" or (following and following[0][0] == _OPENING and not line.endswith((b":", b"["))):
            return 1
        end = window.end_within(first)
        if self._search is None or self._search.window is not window:
            self._search = _Search(window, first)
        last = self._search.last_line(first, max(end, first + 1))
        if last is None:
            return None if end == len(window.lines) and window.may_continue(first) else 1
        return last - first + 1 if last < end else 1


class _Search:
    """The search for the lines on which objects end. It looks at each line once, however many objects do not end.

    Parameters
    ----------
    window, first
        The lines, and the one to begin at.
    """

    def __init__(self, window: Window, first: int) -> None:
        self.window = window
        self._next = first
        self._depth = 0
        self._before = b""
        self._open: list[tuple[int, int]] = []
        """The lines on which objects begin that have not ended yet, and how many brackets are open before them."""
        self._last: dict[int, int] = {}
        """The last line of each object, by its first one. One that does not end has only one."""

    def last_line(self, first: int, end: int) -> int | None:
        """Return the last line of an object, by its first one; None if that line is not before `end`."""
        while first not in self._last and self._next < end:
            self._look_at(self._next)
            self._next += 1
        return self._last.get(first)

    def _look_at(self, index: int) -> None:
        line = self.window.lines[index].strip(_BEFORE_ROW)
        if _SIGNIFICANT.search(line) is None:
            # Most lines, and quickly: they change nothing but the end of what comes before.
            self._before = line or self._before
            return
        if line[0] == _OPENING:
            # A new row begins on this line, unless a value is missing on the line before.
            if not self._before.endswith((b":", b"[")):
                self._give_up()
            self._open.append((index, self._depth))
        change, lowest, is_whole = _nesting(line)
        while self._open and self._open[-1][1] >= self._depth + lowest:
            self._last[self._open.pop()[0]] = index
        if not is_whole:
            self._give_up()
        self._depth += change
        self._before = line

    def _give_up(self) -> None:
        """Note that no open object ends."""
        self._last.update((first, first) for first, _ in self._open)
        self._open.clear()


def _nesting(line: bytes) -> tuple[int, int, bool]:
    """Return how a line changes the depth, the lowest change after a bracket of it, and whether no string is open."""
    depth, lowest, at = 0, len(line), 0
    while (bracket := _UP_TO_BRACKET.match(line, at)) is not None:
        at = bracket.end()
        depth += 1 if line[at - 1] in b"{[" else -1
        lowest = min(lowest, depth)
    return depth, lowest, _UP_TO_END.match(line, at) is not None


def renamed(value: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return an object whose members have the names of the columns that the caller says they are.

    Parameters
    ----------
    value
        The object.
    names
        The caller's names, squashed, and the column that each is.
    """
    found: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for name, member in value.items():
        column = names.get(squashed(name), name)
        if column != name and column.startswith(METADATA_PREFIX):
            metadata[column.removeprefix(METADATA_PREFIX)] = member
        elif column != LEFT_OUT:
            # If that name is there too, neither may be lost: the model reports the unknown one.
            found[name if column != name and column in value else column] = member
    if metadata:
        there = found.get(METADATA)
        found[METADATA] = {**there, **metadata} if isinstance(there, dict) else metadata
    return found


def _not_json(detail: str) -> BrokenError:
    return BrokenError("not_json", detail)


def _cut_off() -> BrokenError:
    return BrokenError("cut_off", "The file ends in the middle: the array is not closed.")
