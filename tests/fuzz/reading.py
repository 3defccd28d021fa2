"""`python -m tests.fuzz.reading`: looks for the file that takes the longest per byte to read.

It climbs: a file that takes longer than the ones before is changed further. The measure is the processor's time for all
that is done with a file's bytes before anything is written: cutting it into chunks, packing those as messages, reading
and checking the rows, and writing the report's lines of those that are wrong.
"""

from __future__ import annotations

import argparse
import gzip
import io
import random
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from customers.errors import InvalidError
from customers.imports.chunks import Chunk, cuts
from customers.imports.files.reader import RowReader
from customers.imports.files.report import report_line
from customers.imports.files.values import RowParser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


BYTES: Final = 200_000
"""Of a file: more than twice what a row may have, so that what grows with the square of the bytes stands out."""
_HEADER: Final = b"first_name,last_name,email,group_id,age\n"
_ROW: Final = b"Ann,Ash,ann@example.com,1,30\n"
_OBJECT: Final = b'{"first_name":"Ann","last_name":"Ash","email":"ann@example.com","group_id":1}'
_STARTS: Final = (
    _HEADER,
    b"metadata.a,id,version," + _HEADER,
    _HEADER.replace(b",", b";"),
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
)


class Cost(NamedTuple):
    """Nanoseconds of processor time per byte."""

    reading: float
    """Cutting the file, and packing its rows."""
    checking: float
    """Reading the rows' values, checking them, and writing the lines of the report."""

    @property
    def total(self) -> float:
        """Both."""
        return self.reading + self.checking


class Found(NamedTuple):
    """A file, by what it is made of, and what it costs."""

    start: bytes
    pieces: tuple[bytes, ...]
    cost: Cost

    def __str__(self) -> str:
        shown = [piece if len(piece) < 40 else piece[:1] + b"*%d" % len(piece) for piece in self.pieces]
        return (
            f"{self.cost.reading:,.0f} + {self.cost.checking:,.0f} ns a byte: {self.start[:20]!r}, then again {shown}"
        )


def file_of(start: bytes, pieces: Sequence[bytes], size: int = BYTES) -> bytes:
    """Return a file of about a size that repeats some pieces after its start."""
    unit = b"".join(pieces) or b"\n"
    return start + unit * max(1, (size - len(start)) // len(unit))


def reading_cost(data: bytes, plain_bytes: int, repeat: int = 1) -> float:
    """Measure what cutting a file and packing its rows costs per byte; the least of some attempts.

    Parameters
    ----------
    data, plain_bytes
        The file, and how many bytes it has when decompressed.
    repeat
        How many attempts.
    """
    return min(seconds_of(lambda: _packed(data)) for _ in range(repeat)) / plain_bytes * 1e9


def cost(data: bytes, plain_bytes: int, repeat: int = 1) -> Cost:
    """Measure what reading and checking a file costs; the parameters are as above."""
    messages = _packed(data)
    checking = min(seconds_of(lambda: _check(messages)) for _ in range(repeat)) / plain_bytes * 1e9
    return Cost(reading_cost(data, plain_bytes, repeat), checking)


def _packed(data: bytes) -> list[str]:
    reader = RowReader(io.BytesIO(data))
    return [
        Chunk("i" * 64, 1, position.layout, "", restore=False, rows=rows).message()
        for rows, position in cuts(reader)
        if rows
    ]


def seconds_of(work: Callable[[], object]) -> float:
    """Return the processor time that some work takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _check(messages: Sequence[str]) -> None:
    for message in messages:
        chunk = Chunk.of_message(message)
        parser = RowParser(chunk.layout)
        for row in chunk.rows:
            try:
                parser.parse(row.original)
            except InvalidError as error:
                report_line(chunk.layout, row, error.errors)


def good_cost() -> Cost:
    """Measure good files of short rows: the dearest of the formats per byte, cut and checked."""
    files = [_HEADER + _ROW * (BYTES // len(_ROW)), (_OBJECT + b"\n") * (BYTES // len(_OBJECT))]
    costs = [cost(data, len(data), 5) for data in files]
    return Cost(max(one.reading for one in costs), max(one.checking for one in costs))


def measured(start: bytes, pieces: Sequence[bytes], repeat: int = 1) -> Found:
    """Measure a file of some pieces, plain; and as gzip too, where reading is the dearer part."""
    data = file_of(start, pieces)
    plain = cost(data, len(data), repeat)
    if plain.reading > plain.checking:
        packed = reading_cost(gzip.compress(data, 1), len(data), repeat)
        plain = plain._replace(reading=max(plain.reading, packed))
    return Found(start, tuple(pieces), plain)


def climb(seconds: float, randomness: random.Random) -> Found:
    """Look for the dearest file for a while, starting anew whenever nothing dearer is found for long."""
    end = time.monotonic() + seconds
    best = current = measured(_HEADER, (b"x\n",))
    tries = 0
    while time.monotonic() < end:
        if tries == 60:
            current, tries = measured(randomness.choice(_STARTS), (randomness.choice(_PIECES),)), 0
        start, pieces = _changed(current, randomness)
        one = measured(start, pieces)
        tries += 1
        if one.cost.total > current.cost.total:
            current, tries = one, 0
        if one.cost.total > best.cost.total and (again := measured(start, pieces, 3)).cost.total > best.cost.total:
            best = again
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
    while sum(map(len, pieces)) > BYTES // 2:
        pieces.pop()
    return start, pieces or [b"\n"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Look for the dearest file, and say what it is."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.reading", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args(arguments)
    good = good_cost()
    print(f"seed {options.seed}; a good file: {good.reading:,.0f} + {good.checking:,.0f} ns a byte", flush=True)  # noqa: T201
    worst = climb(options.seconds, random.Random(options.seed))
    print(f"the dearest: {worst}")  # noqa: T201
    print(f"{worst.cost.total / good.total:.1f} times a good file")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
