"""JSON: the elements of an array, alone or in an object, and where objects in JSON Lines end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from customers.imports.files.columns import LEFT_OUT, METADATA, METADATA_PREFIX, squashed
from customers.imports.files.rows import BYTE_ORDER_MARK, MAX_ROW_BYTES, BrokenError, RowTooLongError, without_marks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from customers.imports.files.blocks import Buffer
    from customers.imports.files.lines import Window

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_UP_TO_BRACKET: Final = re.compile(rb'(?:[^"{}\[\]]++|%s)*+[{}\[\]]' % _STRING.pattern, re.DOTALL)
"""All up to the next bracket that is not in a string, and that bracket."""
_NEXT_SIMPLE: Final = re.compile(
    rb"[ \t\r\n]*+,[ \t\r\n]*+"
    rb'([{\[](?:[^"{}\[\]]++|%s)*+[}\]]|%s|[!#-+\--Z\\^-z|~][^,\]}\s]*+(?=[,\] \t\r\n]))'
    % (_STRING.pattern, _STRING.pattern),
    re.DOTALL,
)
"""A comma and the next element: an object or array without others in it, a string, or anything else that ends."""
_OPENING, _CLOSING = b"{}"
_MOST_SPACE: Final = 64 * 1024 * 1024
"""Between two elements. Whoever reads the file looks at the clock after each element only."""
_BEFORE_ROW: Final = BYTE_ORDER_MARK + b" \t\r\n"
_PARTS: Final = {
    b"indent": b"[%b \t]*+" % BYTE_ORDER_MARK,
    b"brace": rb"\{(?![%b]*+[{\[])" % _BEFORE_ROW,
    b"string": rb'"(?:[^"\\\r\n]++|\\[^\r\n])*+"',
}
_FIRST_BRACE: Final = re.compile(b"%(indent)b%(brace)b" % _PARTS)
_SIGN: Final = re.compile(
    rb'(?:[^"{}\[\]\r\n]++|%(string)b|[\r\n](?!%(indent)b\{))*+'
    rb"(?:(\[|%(brace)b)|([}\]])|([\r\n])%(indent)b%(brace)b|\Z"
    rb"|([^\r\n]*+(?:[\r\n](?!%(indent)b%(brace)b)[^\r\n]*+)*+))" % _PARTS
)
"""All up to the next sign, and that sign: one of the four, or the end."""
_OPENS, _CLOSES, _OPENS_LINE, _BREAKS = range(1, 5)
"""An opening bracket, a closing one, the end of a line before one that begins with an object, or what no object has: a
string that does not end on its line, or an opening brace before another bracket. With it goes all before the next line
that begins with an object."""
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
        self._window: Window | None = None
        self._ends: dict[int, int | None] = {}

    def is_plain(self, line: bytes) -> bool:
        """Whether a line is a row of its own for certain: an object without others in it, or no object."""
        if line[0] != _OPENING:
            return line[0] not in _BEFORE_ROW
        # If the only closing bracket is in a string, the string does not end on the line, which no JSON string does.
        return line.count(b"}") == 1 and line.count(b"{") == 1 and line.rstrip()[-1] == _CLOSING

    def content(self, row: bytes) -> bytes:
        """Return a row without the byte order marks before it; nothing if it is blank."""
        if row[0] == _OPENING:
            return row
        row = without_marks(row)
        return row if row.strip(self.blank) else b""

    def last_line(self, window: Window, first: int) -> int | None:
        """Return the last line of a row; None if none of the window's lines ends it."""
        if window is not self._window:
            lines = window.lines
            if lines[first].rstrip().endswith(b"}") and first + 1 < len(lines) and lines[first + 1][0] == _OPENING:
                # Nearly always, and quicker.
                return first
            self._window, self._ends = window, _ends(window, first)
        end = self._ends.get(window.starts[first], 0)
        if end is None:
            return None
        return window.line_at(end) if end >= window.starts[first + 1] else first


def _ends(window: Window, first: int) -> dict[int, int | None]:
    """Return where each object ends that begins on line `first` or a later one, by where its line begins in the data.

    None stands for one that may end after the window. Those that do not end are left out. Each byte is looked at once,
    however many objects hold it.
    """
    data, limit, depth, at = window.data, window.starts[-1], 0, window.starts[first]
    ends: dict[int, int | None] = {}
    opened: list[int] = []
    """Where the lines begin of objects that have not ended yet."""
    depths: list[int] = []
    """How many brackets are open before each of them."""
    if brace := _FIRST_BRACE.match(data, at, limit):
        opened, depths, depth, at = [at], [0], 1, brace.end()
    for sign in _SIGN.finditer(data, at, limit):
        kind = sign.lastindex
        if kind == _OPENS:
            depth += 1
        elif kind == _CLOSES:
            depth -= 1
            while depths and depths[-1] >= depth:
                depths.pop()
                ends[opened.pop()] = sign.end() - 1
        elif kind == _OPENS_LINE:
            if opened and _before(data, sign.start(kind)) not in b":[":
                # A new row begins on this line.
                opened.clear()
                depths.clear()
            opened.append(sign.end(kind))
            depths.append(depth)
            depth += 1
        elif kind == _BREAKS:
            opened.clear()
            depths.clear()
    ends.update(dict.fromkeys(opened))
    return ends


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
