"""The whole service on this machine under load: gateway, authorizer, function and engine, with 1 to 32 connections.

Run as `make bench-http`; it writes its tables and its plot into docs/performance.md. It starts its own services on the
loopback, which keep their data in memory, and sends each kind of request a limited number of times. With `--before`,
the service of another checkout runs beside this one's, and they take turns.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from local.data_folder import IN_MEMORY
from tools.benchmarks.contenders import ROOT
from tools.benchmarks.processor_time import processor_time
from tools.benchmarks.report import Bar, bars, replace_part, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CONNECTIONS: Final = (1, 8, 32)
TURNS: Final = 10
GET: Final = "GET a customer"
NEW: Final = {"first_name": "John", "last_name": "Doe", "email": "john.doe@example.com", "group_id": 1, "age": 42}


class Request(NamedTuple):
    """A request that is sent repeatedly."""

    label: str
    method: str
    path: str
    body: str | None
    status: int


@contextmanager
def running_service(project: Path) -> Iterator[Service]:
    """Run a checkout's service until the block ends, with the customers that the requests are about."""
    with tempfile.TemporaryDirectory() as data:
        environment = {**os.environ, "DATA_DIR": data, "PORT": "0"}
        command = [sys.executable, "-m", "local", "--in-memory", "--quiet"]
        with subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            try:
                lines = process.stdout or ()
                url = next(line.split()[1] for line in lines if line.startswith("ready"))
                token = (Path(data) / IN_MEMORY / "token").read_text(encoding="utf-8").strip()
                load = Load(urlsplit(url).netloc, token)
                yield Service(process.pid, load, _requests(load))
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)


def _requests(load: Load) -> tuple[Request, ...]:
    create = Request("POST one", "POST", "/api/customers/", json.dumps(NEW), 201)
    known = json.loads(load.send(create))["id"]
    many = json.dumps({"customers": [NEW | {"group_id": 2}] * 100})
    load.send(Request("POST 100", "POST", "/api/customers/?size=list", many, 201))
    page = Request("GET a page of 100", "GET", "/api/customers/group/2/?limit=100", None, 200)
    return Request(GET, "GET", f"/api/customers/{known}", None, 200), create, page


class Load:
    """Connections that each send one request after another.

    Parameters
    ----------
    address, token
        The service.
    """

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def send(self, request: Request) -> bytes:
        """Send one request on its own connection, and return the answer's body."""
        return self._send(http.client.HTTPConnection(self._address, timeout=60), request)

    def _send(self, connection: http.client.HTTPConnection, request: Request) -> bytes:
        connection.request(request.method, request.path, request.body, self._headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != request.status:
            raise ValueError(f"{request.label}: {answer.status} {body[:300]!r}")
        return body

    def measure(self, request: Request, connections: int, count: int) -> tuple[float, list[float]]:
        """Send a request about `count` times. Return the requests a second, and the milliseconds of each.

        Raises
        ------
        ValueError
            An answer did not have the expected status.
        """
        milliseconds: list[float] = []
        failures: list[Exception] = []
        together = threading.Barrier(connections + 1)

        def work(times: int) -> None:
            connection = http.client.HTTPConnection(self._address, timeout=60)
            connection.connect()
            together.wait()
            try:
                for _ in range(times):
                    started = time.perf_counter()
                    self._send(connection, request)
                    milliseconds.append((time.perf_counter() - started) * 1000)
            except (OSError, ValueError, http.client.HTTPException) as error:
                failures.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=(max(count // connections, 1),)) for _ in range(connections)]
        for thread in threads:
            thread.start()
        together.wait()
        started = time.perf_counter()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
        if failures:
            raise failures[0]
        return len(milliseconds) / seconds, milliseconds


class Service(NamedTuple):
    """A service that runs, and the requests that it is sent."""

    pid: int
    load: Load
    requests: tuple[Request, ...]

    def turn(self, request: Request, connections: int, count: int) -> Turn:
        """Send a request for a while, and return what that took."""
        before = processor_time(self.pid)
        rate, milliseconds = self.load.measure(request, connections, count)
        after = processor_time(self.pid)
        spent = {part: (after[part] - before.get(part, 0)) / len(milliseconds) for part in after}
        return Turn(rate, milliseconds, spent)


class Turn(NamedTuple):
    """What some requests of a kind took."""

    rate: float
    """Requests a second."""
    milliseconds: list[float]
    """Of each request."""
    processor: dict[str, float]
    """Microseconds of processor time for a request, by part of the service."""


type Turns = dict[tuple[str, int], list[Turn]]
"""By kind of request and number of connections."""


def measure(projects: Sequence[Path], count: int) -> list[Turns]:
    """Measure the services of some checkouts, which run side by side."""
    with ExitStack() as running:
        services = [running.enter_context(running_service(project)) for project in projects]
        measured: list[Turns] = [defaultdict(list) for _ in services]
        for index, connections in ((index, number) for index in range(3) for number in CONNECTIONS):
            for service in services:
                # The functions' processes start with the first requests.
                service.load.measure(service.requests[index], connections, 10 * connections)
            for _ in range(TURNS):
                for service, turns in zip(services, measured, strict=True):
                    request = service.requests[index]
                    turns[request.label, connections].append(service.turn(request, connections, count // TURNS))
    return measured


def _middle(turns: Sequence[Turn], figure: Callable[[Turn], float]) -> str:
    return f"{median(map(figure, turns)):,.0f}"


def _together(connections: int) -> str:
    return f"{connections} connection{'' if connections == 1 else 's'}"


def _ratio(turns: Sequence[Turn], before: Sequence[Turn], figure: Callable[[Turn], float]) -> str:
    """Return a figure ÷ that of the turn before it."""
    return f"{median(figure(turn) / figure(other) for turn, other in zip(turns, before, strict=True)):.2f}"


def _rate(turn: Turn) -> float:
    return turn.rate


def _processor(turn: Turn) -> float:
    return sum(turn.processor.values())


def _in_part(part: str, turn: Turn) -> float:
    return turn.processor.get(part, 0)


def rates_table(now: Turns, before: Turns | None) -> str:
    """Return the table of requests a second."""
    rows = []
    for (label, connections), turns in now.items():
        others = before[label, connections] if before else []
        compared = [_middle(others, _rate), _ratio(turns, others, _rate)] if others else []
        cuts = quantiles(chain.from_iterable(turn.milliseconds for turn in turns), n=100)
        rows.append(
            (label, str(connections), _middle(turns, _rate), *compared, f"{cuts[49]:.1f}", f"{cuts[98]:.1f}", "0")
        )
    compared = ["before", "÷ before"] if before else []
    return table(("request", "connections", "a second", *compared, "p50 ms", "p99 ms", "errors"), rows)


def parts_table(now: Turns, before: Turns | None) -> str:
    """Return the table of what a GET's processor time goes into, on one connection and on eight."""
    columns = {
        f"{_together(connections)}{', before' if turns is before else ''}": turns[GET, connections]
        for connections in CONNECTIONS[:2]
        for turns in (before, now)
        if turns is not None
    }
    rows = [
        (part, *(_middle(turns, partial(_in_part, part)) for turns in columns.values()))
        for part in now[GET, 1][0].processor
    ]
    rows.append(("all", *(_middle(turns, _processor) for turns in columns.values())))
    if before:
        ratios = (_ratio(now[GET, each], before[GET, each], _processor) for each in CONNECTIONS[:2])
        rows.append(("all, ÷ before", *(cell for ratio in ratios for cell in ("", ratio))))
    return table(("a GET, microseconds", *columns), rows)


def main() -> None:
    """Measure, and write the results down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="of each kind, with each number of connections")
    parser.add_argument("--before", type=Path, help="another checkout of the project, to measure beside this one")
    arguments = parser.parse_args()
    now, *others = measure([ROOT, *([arguments.before] if arguments.before else [])], arguments.requests)
    before = others[0] if others else None
    performance = ROOT / "docs" / "performance.md"
    for name, text in (("http", rates_table(now, before)), ("http-parts", parts_table(now, before))):
        print(f"\n{text}")
        replace_part(performance, name, text)
    drawn = [
        Bar(
            f"{label}, {_together(connections)}",
            median(map(_rate, turns)),
            ours=True,
            before=median(map(_rate, before[label, connections])) if before else None,
        )
        for (label, connections), turns in now.items()
    ]
    plot = bars("The whole service on two shared cores, requests a second", drawn)
    (ROOT / "docs" / "service.svg").write_text(plot, encoding="utf-8")


if __name__ == "__main__":
    main()
