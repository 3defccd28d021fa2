"""The whole service on this machine under load: gateway, authorizer, function and engine, with 1 to 32 connections.

Run as `make bench-http`; it writes its table and its plot for docs/performance.md. It starts its own services on the
loopback, which keep their data in memory, and sends each kind of request a limited number of times.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from local.data_folder import IN_MEMORY
from tools.benchmarks.contenders import ROOT
from tools.benchmarks.report import Bar, bars, replace_part, table

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS: Final = (1, 8, 32)
NEW: Final = {"first_name": "John", "last_name": "Doe", "email": "john.doe@example.com", "group_id": 1, "age": 42}


class Request(NamedTuple):
    """A request that is sent repeatedly."""

    label: str
    method: str
    path: str
    body: str | None
    status: int


@contextmanager
def service(project: Path) -> Iterator[tuple[str, str]]:
    """Run a checkout's service until the block ends. Yield its address and a token."""
    with tempfile.TemporaryDirectory() as data:
        environment = {**os.environ, "DATA_DIR": data, "PORT": "0"}
        command = [sys.executable, "-m", "local", "--in-memory", "--quiet"]
        with subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            try:
                lines = process.stdout or ()
                url = next(line.split()[1] for line in lines if line.startswith("ready"))
                yield urlsplit(url).netloc, (Path(data) / IN_MEMORY / "token").read_text(encoding="utf-8").strip()
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)


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
        """Send a request `count` times. Return the requests a second, and the milliseconds of each.

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

        threads = [threading.Thread(target=work, args=(count // connections,)) for _ in range(connections)]
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


class Measured(NamedTuple):
    """The result for a kind of request and a number of connections."""

    rate: float
    """Requests a second."""
    p50: float
    """Milliseconds."""
    p99: float
    """Milliseconds."""


def measure(project: Path, count: int) -> dict[tuple[str, int], Measured]:
    """Measure a checkout's service, for each kind of request and number of connections."""
    measured = {}
    with service(project) as (address, token):
        load = Load(address, token)
        create = Request("POST one", "POST", "/api/customers/", json.dumps(NEW), 201)
        known = json.loads(load.send(create))["id"]
        many = json.dumps({"customers": [NEW | {"group_id": 2}] * 100})
        load.send(Request("POST 100", "POST", "/api/customers/?size=list", many, 201))
        requests = (
            Request("GET a customer", "GET", f"/api/customers/{known}", None, 200),
            create,
            Request("GET a page of 100", "GET", "/api/customers/group/2/?limit=100", None, 200),
        )
        for request in requests:
            for connections in CONNECTIONS:
                # The functions' processes start with the first requests.
                load.measure(request, connections, 10 * connections)
                rate, milliseconds = load.measure(request, connections, count)
                cuts = statistics.quantiles(milliseconds, n=100)
                measured[request.label, connections] = Measured(rate, cuts[49], cuts[98])
    return measured


def main() -> None:
    """Measure, and write the results down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="of each kind, with each number of connections")
    parser.add_argument("--before", type=Path, help="another checkout of the project, to measure before this one")
    arguments = parser.parse_args()
    before = measure(arguments.before, arguments.requests) if arguments.before else {}
    now = measure(ROOT, arguments.requests)
    rows, drawn = [], []
    for (label, connections), figures in now.items():
        was = before.get((label, connections))
        rates = (f"{figures.rate:,.0f}", *([f"{was.rate:,.0f}"] if was else []))
        rows.append((label, str(connections), *rates, f"{figures.p50:.1f}", f"{figures.p99:.1f}", "0"))
        together = "connection" if connections == 1 else "connections"
        drawn.append(
            Bar(f"{label}, {connections} {together}", figures.rate, ours=True, before=was.rate if was else None)
        )
    head = ("request", "connections", "a second", *(["before"] if before else []), "p50 ms", "p99 ms", "errors")
    text = table(head, rows)
    print(text)
    replace_part(ROOT / "docs" / "performance.md", "http", text)
    plot = bars("The whole service on two shared cores, requests a second", drawn)
    (ROOT / "docs" / "service.svg").write_text(plot, encoding="utf-8")


if __name__ == "__main__":
    main()
