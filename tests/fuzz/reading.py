"""`python -m tests.fuzz.reading`: looks for the file that takes the longest per byte.

It climbs: a file that takes longer than the ones before is changed further. It measures processor time. First it looks
only at reading: a file is cut into chunks, which are packed as messages. Then it looks at everything but writing:
the rows are also read and checked, and go into the report if they are wrong.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import sys
import time
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from customers.errors import InvalidError
from customers.imports.chunks import Chunk, cuts
from customers.imports.files.reader import RowReader
from customers.imports.files.report import report_line
from customers.imports.files.values import RowParser
from customers.imports.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


BYTES: Final = 200_000
"""Size of a file: more than twice the limit of a row, so that a cost that grows with its square stands out."""
_HEADER: Final = b"first_name,last_name,email,group_id,age\n"
_ROW: Final = b"Ann,Ash,ann@example.com,1,30\n"
_OBJECT: Final = b'{"first_name":"Ann","last_name":"Ash","email":"ann@example.com","group_id":1}'
_STARTS: Final = (
    _HEADER,
    b"metadata.a,id,version," + _HEADER,
    _HEADER.replace(b",", b";"),
    b"".join(b"metadata.%d," % number for number in range(1_990)) + _HEADER,
    b"sep=\t\r" + _HEADER.replace(b",", b"\t"),
    _OBJECT + b"\n",
    b"[",
    b'{"customers":[',
    b"",
)
_SIGNS: Final = tuple(bytes([sign]) for sign in b'",;\t\n\r {}[]:\\x1-')
_PIECES: Final = (
    *_SIGNS,
    *(sign * 30 for sign in _SIGNS),
    *(sign * 5000 for sign in _SIGNS),
    b" " * 66_000,
    b"x" * 66_000,
    b'""',
    b'","',
    b'" ,"',
    b'"a"b,',
    b'x,"y"z,"\n',
    b'"\n',
    b'{"a":\n',
    b'{"a":[\n',
    b'},"a":\n',
    b"{}\n",
    b"{\n",
    b"{[\n",
    b"[\n",
    b",\n",
    b"1\n",
    b"1,",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc2\xa0",
    b"\\u0041",
    b'"\\ud800"',
    _ROW,
    _ROW.replace(b"Ann", b'"Ann"'),
    _OBJECT,
    _OBJECT + b",\n",
    _OBJECT.replace(b",", b",\n"),
    "a,a,é@é.cc,1\n".encode(),
    f"a,a,a@{'é' * 20}.cc,1\n".encode(),
    f"a,a,a@{'한글' * 14}.cc,1\n".encode(),
)
_PATIENCE: Final = 60
"""After this many changes that do not make a file more expensive, another file is begun."""
_TURNS: Final = 5

WRITE_NANOSECONDS: Final = 45_000
"""The least processor time to write a good row: no measured way of writing exceeds 22,200 rows in a CPU-second."""


class Found(NamedTuple):
    """A file: what it is made of, and what it costs."""

    start: bytes
    pieces: tuple[bytes, ...]
    cost: float
    """Nanoseconds per byte."""
    ratio: float = 0.0
    """The same in costs of a good file, measured by turns with one."""

    def __str__(self) -> str:
        shown = [piece if len(piece) < 40 else piece[:1] + b"*%d" % len(piece) for piece in self.pieces[:20]]
        return f"{self.start[:20]!r}, then again and again {len(self.pieces)} pieces {shown}"


def file_of(start: bytes, pieces: Sequence[bytes], size: int = BYTES) -> bytes:
    """Return a file of roughly a given size that repeats some pieces after its start."""
    unit = b"".join(pieces) or b"\n"
    return start + unit * max(1, (size - len(start)) // len(unit))


def reading_cost(data: bytes) -> float:
    """Measure the cost per byte of cutting a file and packing its rows."""
    packed = gzip.compress(data, 1)
    return max(_nanoseconds(lambda: _packed(data)), _nanoseconds(lambda: _packed(packed))) / len(data)


def whole_cost(data: bytes) -> float:
    """Measure the cost per byte of everything but writing."""
    messages: list[str] = []
    reading = _nanoseconds(lambda: messages.extend(_packed(data)))
    return (reading + _nanoseconds(lambda: _check(messages))) / len(data)


_GOOD: Final = (_HEADER + _ROW * (BYTES // len(_ROW)), (_OBJECT + b"\n") * (BYTES // len(_OBJECT)))
"""Good files of short rows."""


def good_reading_cost() -> float:
    """Measure the cost per byte of reading a good file."""
    return max(reading_cost(data) for data in _GOOD)


def good_whole_cost() -> float:
    """Measure the cost per byte of importing a good file, which is written too."""
    return max(whole_cost(data) for data in _GOOD) + WRITE_NANOSECONDS / len(_ROW)


def _packed(data: bytes) -> list[str]:
    reader, repeats = RowReader(io.BytesIO(data)), Repeats(seen_all=True)
    return [
        Chunk("i" * 32, 1, position.layout, "", False, rows, repeats.among(rows, position.layout)).message()  # noqa: FBT003
        for rows, position in cuts(reader)
        if rows
    ]


def _check(messages: Sequence[str]) -> None:
    for message in messages:
        chunk = Chunk.of_message(message)
        parser = RowParser(chunk.layout)
        for row in chunk.rows:
            try:
                parser.parse(row.original)
            except InvalidError as error:
                report_line(chunk.layout, row, error.errors)


def _nanoseconds(work: Callable[[], object]) -> int:
    started = time.process_time_ns()
    work()
    return time.process_time_ns() - started


def climb(
    cost: Callable[[bytes], float], good: Callable[[], float], seconds: float, randomness: random.Random
) -> Found:
    """Look for the most expensive file for a while. Start again when nothing worse was found for long."""

    def measured(start: bytes, pieces: Sequence[bytes]) -> Found:
        return Found(start, tuple(pieces), cost(file_of(start, pieces)))

    def compared(found: Found) -> Found:
        # By turns, because other work on the machine slows both.
        data = file_of(found.start, found.pieces)
        costs, bases = zip(*((cost(data), good()) for _ in range(_TURNS)), strict=True)
        return found._replace(ratio=min(costs) / min(bases))

    end = time.monotonic() + seconds
    current = measured(_HEADER, (b"x\n",))
    best = compared(current)
    tries = 0
    while time.monotonic() < end:
        if tries == _PATIENCE:
            current, tries = measured(randomness.choice(_STARTS), (randomness.choice(_PIECES),)), 0
        one = measured(*_changed(current, randomness))
        tries += 1
        if one.cost > current.cost:
            current, tries = one, 0
        if one.cost > best.cost and (again := compared(one)).ratio > best.ratio:
            best = again._replace(cost=again.ratio * best.cost / best.ratio)
    return best


def _changed(found: Found, randomness: random.Random) -> tuple[bytes, list[bytes]]:
    pieces = list(found.pieces)
    start = found.start if randomness.random() < 0.9 else randomness.choice(_STARTS)
    for _ in range(randomness.randint(1, 3)):
        place = randomness.randrange(len(pieces) + 1)
        match randomness.randrange(4):
            case 0 if len(pieces) > 1:
                del pieces[place - 1]
            case 1 if pieces:
                pieces[place - 1] = randomness.choice(_PIECES)
            case 2 if pieces and sum(map(len, pieces)) < BYTES // 4:
                pieces[place:place] = pieces * randomness.choice([1, 5, 50])
            case _:
                pieces.insert(place, randomness.choice([*_PIECES, randomness.randbytes(2)]))
    fitting = bisect_right(list(accumulate(map(len, pieces))), BYTES // 2)
    return start, pieces[:fitting] or [b"\n"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Look for the most expensive files, and say what they are."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.reading", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args(arguments)
    randomness = random.Random(options.seed)
    print(f"seed {options.seed}", flush=True)  # noqa: T201
    searches = (("reading", reading_cost, good_reading_cost), ("importing", whole_cost, good_whole_cost))
    for name, cost, good in searches:
        worst = climb(cost, good, options.seconds / 2, randomness)
        print(f"{name}: {worst.ratio:.1f} times a good file: {worst}", flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
