"""A line for each request: what was asked, what was answered, and by which function.

Of a client's own text, only numbers are shown: paths and queries can contain people's names and addresses, and tokens
that were pasted into the wrong place.
"""

from __future__ import annotations

import contextlib
import http
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

CALL: Final = "local.call"
"""WSGI variable with the request's `Call`."""
GATEWAY: Final = "gateway"
HIDDEN: Final = "…"
_NUMBER: Final = re.compile(r"[0-9]{1,16}")
_METHODS: Final = frozenset(http.HTTPMethod)


@dataclass(slots=True)
class Call:
    """What is known about a request while it is answered."""

    path: str = HIDDEN
    """As it may be shown."""
    function: str = GATEWAY
    """Who answers."""
    start: str = ""
    """`cold` if the function's process was started for this request, `warm` if not. Empty without a function."""

    def invoked(self, function: str) -> Callable[[], None]:
        """Note that a function is invoked. The returned callable notes that a process had to be started for it."""
        self.function, self.start = function, "warm"

        def started() -> None:
            self.start = "cold"

        return started


class RequestLog:
    """Writes the lines.

    Parameters
    ----------
    output
        Where to write them. None for nowhere.
    width
        Characters of the longest function name.
    """

    def __init__(self, output: TextIO | None, width: int) -> None:
        self._output = output
        self._width = max(width, len(GATEWAY))

    def around(self, application: WSGIApplication) -> WSGIApplication:
        """Return an application that answers like the given one, and writes a line for each request."""
        if self._output is None:
            return application

        def logged(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            call = environ[CALL] = Call()
            statuses: list[str] = []

            def noted(status: str, *rest: object) -> Callable[[bytes], object]:
                statuses.append(status)
                return start_response(status, *rest)  # type: ignore[arg-type] # passed on as they are

            begin = time.perf_counter()
            answer = application(environ, noted)
            if environ["QUERY_STRING"]:
                call.path += f"?{HIDDEN}"
            self.write(environ["REQUEST_METHOD"], statuses[-1][:3], time.perf_counter() - begin, call)
            return answer

        return logged

    def write(self, method: str, status: str, seconds: float, call: Call) -> None:
        """Write a request's line.

        Parameters
        ----------
        method
            As it was sent.
        status
            Three digits.
        seconds
            From the whole request to the whole answer.
        call
            What is known about it.
        """
        if self._output is None:
            return
        method = method if method in _METHODS else HIDDEN
        line = (
            f"{method:<7} {status} {seconds * 1000:>6.0f} ms  {call.function:<{self._width}}  {call.start:<4}  "
            f"{call.path}\n"
        )
        # A terminal that has gone away is no reason to leave a request unanswered.
        with contextlib.suppress(OSError, ValueError):
            self._output.write(line)
            self._output.flush()


def shown_path(path: str, words: Collection[str]) -> str:
    """Return a path as it may be shown: with numbers and the service's own words, and all else hidden.

    Parameters
    ----------
    path
        As it was sent.
    words
        The words in the service's own paths.
    """
    return "/".join(
        segment if segment in words or _NUMBER.fullmatch(segment) else HIDDEN for segment in path.split("/")
    )
