"""The programs of docs/guides/shop.md on a bad line. A request is refused, then its answer is lost, then it works."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx
import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api.conftest import Tables
    from tests.conftest import Service

EXAMPLES: Final = ROOT / "docs" / "examples"
SECONDS: Final = 120
"""How long a program may take on a busy machine."""
REFUSALS: Final = ((429, "1"), (503, "0"), (409, "0"), (502, None))
"""Statuses that are worth repeating, with their Retry-After."""


class Program(NamedTuple):
    """One of the programs, and the customer that it is about."""

    command: tuple[str, str]
    external_id: str


PROGRAMS: Final = pytest.mark.parametrize(
    "program",
    [
        Program((sys.executable, str(EXAMPLES / "shop.py")), "shop-42"),
        Program(("node", str(EXAMPLES / "shop.mjs")), "shop-43"),
    ],
    ids=["python", "node"],
)


class Line(ThreadingHTTPServer):
    """Stands between a program and the service, and notes what is sent and when."""

    def __init__(self, target: str, *, bad: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.bad = bad
        """Whether each request is first refused, and then carried out without a response."""
        self.seen: defaultdict[tuple[str, str, bytes], list[float]] = defaultdict(list)
        """When each request came."""


class _Handler(BaseHTTPRequestHandler):
    server: Line

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        times = self.server.seen[self.command, self.path, body]
        times.append(time.monotonic())
        if self.server.bad and len(times) == 1:
            status, after = REFUSALS[(len(self.server.seen) - 1) % len(REFUSALS)]
            self._answer(status, {} if after is None else {"Retry-After": after}, b"{}")
            return
        sent = ("Authorization", "If-Match", "Idempotency-Key")
        headers = {name: self.headers[name] for name in sent if name in self.headers}
        done = httpx.request(self.command, self.server.target + self.path, content=body, headers=headers, timeout=40)
        if self.server.bad and len(times) == 2:
            # The connection ends without an answer, although the request was carried out.
            return
        self._answer(done.status_code, {"ETag": done.headers["ETag"]} if "ETag" in done.headers else {}, done.content)

    do_GET = do_PUT = do_PATCH = do_POST = _pass_on  # noqa: N815 (the names that http.server looks for)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@contextmanager
def _line(service: Service, *, bad: bool) -> Iterator[Line]:
    with Line(service.url, bad=bad) as line:
        thread = threading.Thread(target=line.serve_forever)
        thread.start()
        try:
            yield line
        finally:
            line.shutdown()
            thread.join()


def _run(program: Program, line: Line, token: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "CUSTOMERS_URL": f"http://127.0.0.1:{line.server_port}",
        "CUSTOMERS_TOKEN": token,
    }
    return subprocess.run(
        program.command, env=environment, check=False, capture_output=True, text=True, timeout=SECONDS
    )


@pytest.fixture
def client(tables: Tables) -> Iterator[httpx.Client]:
    """Return a client with its own token, and so its own Idempotency-Keys. Delete the shop's customers afterwards."""
    with tables.caller(tables.new_token()) as client:
        yield client
        for name in ("ada", "alan", "grace", "mary"):
            found = client.get("/api/customers/", params={"email": f"{name}@example.com"}).json()["customers"]
            for customer in (one for one in found if one["group_id"] == 7):
                client.delete(f"/api/customers/{customer['id']}")


@PROGRAMS
def test_every_call_of_the_shop_is_done_once_however_often_it_is_sent(
    service: Service, client: httpx.Client, program: Program
) -> None:
    with _line(service, bad=True) as line:
        done = _run(program, line, client.headers["Authorization"].removeprefix("Bearer "))
    assert (done.returncode, done.stderr) == (0, "")
    first, again, found, changed, signed_up = done.stdout.splitlines()
    # This is not version 1 if another test has deleted a customer with this key.
    version = int(first.removeprefix(f"{program.external_id} has version "))
    assert again == f"put again, it has version {version}"
    assert program.external_id in found
    assert changed.endswith(f" in version {version + 1}")
    assert signed_up == "signed up twice, created 1"
    assert min(map(len, line.seen.values())) >= 3
    # A 429 says when to try again.
    refused, repeated, *_ = next(iter(line.seen.values()))
    assert repeated - refused >= 1
    assert client.get(f"/api/customers/external/{program.external_id}").json()["version"] == version + 1


@PROGRAMS
def test_what_cannot_succeed_is_sent_once(service: Service, tables: Tables, program: Program) -> None:
    with _line(service, bad=False) as line:
        done = _run(program, line, tables.new_token(["customers:read"]))
    assert done.returncode == 1
    assert "403" in done.stderr
    assert list(map(len, line.seen.values())) == [1]
