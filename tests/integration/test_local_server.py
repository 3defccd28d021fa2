"""The laptop's HTTP server: slow clients do not keep others from using it."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from local import server as server_module
from local.server import _ARRIVAL, _CONNECTIONS, HOST, Server, bind
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

CONNECTIONS = 20


def _application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    length = len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(length).encode()]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_module, "_ARRIVAL", 1)
        patch.setattr(server_module, "_CONNECTIONS", CONNECTIONS)
        listening = bind(0)
        cloud: Any = SimpleNamespace(functions={"Only": None})
        server = Server(cloud, _application, listening, None)
        yield listening.getsockname()[1]
        server.close()


@contextmanager
def _dripping(port: int, begin: bytes) -> Iterator[socket.socket]:
    """Send a byte ten times a second, as long as the server listens."""
    with socket.create_connection((HOST, port)) as connection:
        connection.sendall(begin)

        def drip() -> None:
            try:
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.1)
            except OSError:
                return

        dripping = threading.Thread(target=drip, daemon=True)
        dripping.start()
        yield connection
        connection.close()
        dripping.join()


@pytest.mark.parametrize("begin", [
    b"GET /api/customers/1 HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    b"POST /api/customers HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
    b"G",
])  # fmt: skip
def test_a_request_that_does_not_arrive_in_time_is_ended(port: int, begin: bytes) -> None:
    with _dripping(port, begin) as connection:
        connection.settimeout(20)
        with suppress(ConnectionResetError):
            assert connection.recv(1000) == b""


def test_the_laptops_limits_of_slow_connections_are_those_of_the_threat_model() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    (limits,) = re.findall(r"does not arrive in (\d+) seconds is ended; at most ([\d,]+) connections are open", page)
    assert [int(limit.replace(",", "")) for limit in limits] == [_ARRIVAL, _CONNECTIONS]


def test_more_slow_clients_than_there_are_connections_keep_nobody_out_for_long(port: int) -> None:
    slow = [socket.create_connection((HOST, port)) for _ in range(CONNECTIONS + 10)]
    try:
        for connection in slow:
            connection.sendall(b"GET / HTTP/1.1\r\n")
        assert httpx.get(f"http://{HOST}:{port}/", timeout=20).text == "0"
    finally:
        for connection in slow:
            connection.close()


def test_a_client_that_waits_between_two_requests_is_served_again(port: int) -> None:
    with httpx.Client(base_url=f"http://{HOST}:{port}") as client:
        for _ in range(3):
            assert client.post("/", content=b"x" * 1_000_000).text == "1000000"
            time.sleep(0.4)
