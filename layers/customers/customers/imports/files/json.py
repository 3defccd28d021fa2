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
_NEXT_SIMPLE: Final = re.compile(
    rb"[ \t\r\n]*+,[ \t\r\n]*+"
    rb'([{\[](?:[^"{}\[\]]++|%s)*+[}\]]|%s|[-+.0-9A-Za-z]++(?=[,\] \t\r\n]))' % (_STRING.pattern, _STRING.pattern),
    re.DOTALL,
)
"""A comma and the next element: an object or array without others in it, a string, or a number or word that ends."""
_OPENING, _CLOSING = b"{}"
_MOST_SPACE: Final = 64 * 1024 * 1024
"""Between two elements. Whoever reads the file looks at the clock after each element only."""
_BEFORE_ROW: Final = BYTE_ORDER_MARK + b" \t\r\n"
_SIGN: Final = re.compile(
    rb'(?:[^"{}\[\]\r\n]++|"(?:[^"\\\r\n]++|\\[^\r\n])*+"|[\r\n][%b]*+(?!\{))*+'
    rb'(?:([{\[])|([}\]])|([\r\n][%b]*+\{)|("[^\r\n]*+)|\Z)' % (_BEFORE_ROW, _BEFORE_ROW)
)
"""All up to the next sign, and that sign: one of the four, or the end."""
_OPENS, _CLOSES, _OPENS_LINE, _BREAKS = range(1, 5)
"""An opening bracket, a closing one, the end of a line before one that begins with an object, or a string that does not
end on its line, with the rest of that line."""
_MOST_OPEN: Final = 100
"""Objects in one another, each at the start of a line. More do not end: no customer has so many."""
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
            raise _not_json("There must be a row here. If it is the end of the array, remove the comma before it.")
        first = False
        yield buffer.take(_element_length(buffer))
    buffer.at += 1
    if in_object:
        if _next_sign(buffer) != b"}":
            raise _not_json("The object must end after its customers. Remove its other members, such as next_cursor.")
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
        """Whether a line is a row of its own for certain: an object without others in it, or no object."""
        if line[0] != _OPENING:
            return line[0] not in _BEFORE_ROW
        # If the only closing bracket is in a string, the string does not end on the line, which no JSON string does.
        return line.count(b"}") == 1 and line.count(b"{") == 1 and line.rstrip()[-1] == _CLOSING

    def is_blank(self, row: bytes) -> bool:
        """Whether a row has no content."""
        return not row.strip(self.blank)

    def last_line(self, window: Window, first: int) -> int | None:
        """Return the last line of a row; None if none of the window's lines ends it."""
        lines = window.lines
        line = lines[first].lstrip(_BEFORE_ROW)
        if line[:1] != b"{":
            return first
        if first + 1 < len(lines) and lines[first + 1][0] == _OPENING and line.rstrip(_BEFORE_ROW)[-1] not in b":[":
            return first
        if self._search is None or self._search.window is not window:
            self._search = _Search(window)
        start = window.starts[first + 1] - len(line)
        end = self._search.end(start)
        if end == start:
            return first
        return None if end is None else window.line_at(end)


class _Search:
    """The search for where objects end. It looks at each byte once, however many objects do not end.

    All places are bytes of the window.

    Parameters
    ----------
    window
        The lines.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self._data, self._limit = window.data, window.starts[-1]
        self._at = self._depth = 0
        self._open: list[tuple[int, int]] = []
        """Where objects begin that have not ended yet, and how many brackets are open before them."""
        self._ends: dict[int, int] = {}
        """Where each object ends, by where it begins; the same place if it does not end."""

    def end(self, start: int) -> int | None:
        """Return where an object ends that is the first thing on its line; None if it may end after the window."""
        if start in self._ends:
            return self._ends[start]
        if not self._open:
            # Nothing that lies before it matters. Often its first sign decides.
            data, at, depth = self._data, start + 1, 1
            if (sign := _SIGN.match(data, at, self._limit)) and (kind := sign.lastindex):
                if kind == _CLOSES:
                    return sign.end() - 1
                before = _before(data, sign.start(kind))
                if kind == _BREAKS or before == _OPENING or (kind == _OPENS_LINE and before not in b":["):
                    return start
                if kind == _OPENS:
                    at, depth = sign.end(), 2
            self._open.append((start, 0))
            self._at, self._depth = at, depth
        return self._go_on(start)

    def _go_on(self, start: int) -> int | None:
        """Search until it is known where an object ends, or up to the window's end. Return it as `end` does."""
        ends, opened, data, limit, depth, at = self._ends, self._open, self._data, self._limit, self._depth, self._at
        while start not in ends and (sign := _SIGN.match(data, at, limit)):
            kind, at = sign.lastindex, sign.end()
            if kind is None:
                break
            if kind == _OPENS and _before(data, at - 1) != _OPENING:
                depth += 1
            elif kind == _CLOSES:
                depth -= 1
                self._close(depth, at - 1)
            elif kind == _OPENS_LINE and len(opened) < _MOST_OPEN and _before(data, sign.start(kind)) in b":[":
                opened.append((at - 1, depth))
                depth += 1
            else:
                # No open object ends: a new row begins on this line, a string does not end, or a bracket comes where a
                # name must be.
                for place, _ in opened:
                    ends[place] = place
                opened.clear()
        self._at, self._depth = at, depth
        return ends.get(start)

    def _close(self, depth: int, place: int) -> None:
        """Note where the objects end that are deeper than what is left open."""
        while self._open and self._open[-1][1] >= depth:
            self._ends[self._open.pop()[0]] = place


def _before(data: bytes, end: int) -> int:
    """Return the last byte before a place, apart from white space. After a colon or `[`, a value must follow."""
    while (before := data[end - 1]) in _BEFORE_ROW:
        end -= 1
    return before


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
