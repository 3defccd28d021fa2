"""The logs of the functions and of the servers behind them: how they are kept small, and how they are read."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

MAX_SIZE: Final = 5_000_000
"""Bytes of a log. About as many older ones are kept beside it."""
_LOOK: Final = 0.2
"""Seconds between two checks of logs that are followed."""


class Line(NamedTuple):
    """A line that a function has logged."""

    function: str
    text: str


def older(log: Path) -> Path:
    """Return the file with a log's older lines."""
    return log.with_name(f"{log.name}.1")


def shorten(folder: Path) -> None:
    """Move the lines of each log that has grown too large to its file of older lines, replacing what was there.

    The processes that write to a log keep appending to it. A line that is written between the copy and the cut is
    lost.
    """
    for log in folder.glob("*.log"):
        if log.stat().st_size > MAX_SIZE:
            partial = log.with_suffix(".partial")
            shutil.copyfile(log, partial)
            partial.replace(older(log))
            os.truncate(log, 0)


def last_lines(folder: Path, functions: Collection[str], count: int) -> list[Line]:
    """Return the last lines of some functions, in the order in which they were logged.

    A line without a time, such as one of a stack trace, stays after the line before it.
    """
    found: list[tuple[str, Line]] = []
    for function in functions:
        log = folder / f"{function}.log"
        stamp = ""
        last: deque[tuple[str, Line]] = deque(maxlen=count)
        for file in (older(log), log):
            if file.exists():
                for text in _texts(file.read_bytes()):
                    stamp = _time(text) or stamp
                    last.append((stamp, Line(function, text)))
        found += last
    found.sort(key=lambda stamped: stamped[0])
    return [line for _, line in found[len(found) - count :]] if count else []


def follow(folder: Path, functions: Iterable[str]) -> Iterator[Line]:
    """Yield the lines that some functions log from now on. This never ends."""
    places = {folder / f"{function}.log": 0 for function in functions}
    for log in places:
        places[log] = _size(log)
    while True:
        for log, place in places.items():
            size = _size(log)
            # If it is shorter than before, its lines were moved away and it has started again.
            start = place if size >= place else 0
            if size > start:
                with log.open("rb") as file:
                    file.seek(start)
                    data = file.read(size - start)
                # Leave an unfinished line for the next check.
                whole = data[: data.rfind(b"\n") + 1]
                places[log] = start + len(whole)
                for text in _texts(whole):
                    yield Line(log.stem, text)
            else:
                places[log] = start
        time.sleep(_LOOK)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _texts(data: bytes) -> list[str]:
    return data.decode(errors="replace").removesuffix("\n").split("\n") if data else []


def _time(text: str) -> str:
    """Return the time of a structured line. Empty for any other line."""
    if not text.startswith("{"):
        return ""
    try:
        return str(json.loads(text).get("timestamp", ""))
    except ValueError:
        return ""
