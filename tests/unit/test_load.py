"""The load test says what it will do, refuses absurd options, and does what it says, whatever the answers are."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ROOT
from tools.load.plan import RefusedError, plan
from tools.load.results import Measured, table
from tools.load.scenario import COLLECTION, Answer, Call, Life

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tools.load.scenario import Calls

LOCUST = ROOT / ".venv/load/bin/python"
needs_locust = pytest.mark.skipif(not LOCUST.exists(), reason="Locust comes with `make .venv/load/.ready`")

TOKEN = f"cust_{'a' * 43}_{'b' * 6}"
URL = "https://api.example.com/prod"


@pytest.mark.parametrize(
    ("url", "token", "rate", "seconds", "connections", "why"),
    [
        ("", TOKEN, 10, 60, 20, "not an address"),
        ("api.example.com", TOKEN, 10, 60, 20, "not an address"),
        ("ftp://api.example.com", TOKEN, 10, 60, 20, "not an address"),
        ("https://[", TOKEN, 10, 60, 20, "not an address"),
        ("https://api.example.com?stage=prod", TOKEN, 10, 60, 20, "not an address"),
        ("https://me:secret@api.example.com", TOKEN, 10, 60, 20, "password"),
        ("http://api.example.com", TOKEN, 10, 60, 20, "not encrypted"),
        (f"{URL}/api/customers/", TOKEN, 10, 60, 20, "Leave out"),
        (URL, "", 10, 60, 20, "TOKEN"),
        (URL, f"{TOKEN}\nX: y", 10, 60, 20, "TOKEN"),
        (URL, TOKEN, 0, 60, 20, "RATE=0"),
        (URL, TOKEN, -1, 60, 20, "RATE=-1"),
        (URL, TOKEN, float("nan"), 60, 20, "RATE=nan"),
        (URL, TOKEN, 501, 60, 20, "RATE=501"),
        (URL, TOKEN, 10, 0, 20, "SECONDS=0"),
        (URL, TOKEN, 10, 3601, 20, "SECONDS=3601"),
        (URL, TOKEN, 10, 60, 0, "CONNECTIONS=0"),
        (URL, TOKEN, 10, 60, 101, "CONNECTIONS=101"),
        (URL, TOKEN, 500, 3600, 100, "1,800,000 calls"),
    ],
)
def test_what_is_absurd_is_refused(  # noqa: PLR0913, PLR0917 (as many as can be typed)
    url: str, token: str, rate: float, seconds: int, connections: int, why: str
) -> None:
    with pytest.raises(RefusedError, match=why):
        plan(url, token, rate, seconds, connections)


def test_it_says_how_many_calls_it_will_make() -> None:
    asked = plan(f"{URL}/", TOKEN, 12.5, 60, 20)
    assert (asked.calls, asked.connections, asked.url) == (750, 12, URL)
    assert asked.rate_of_a_connection * asked.connections == 12.5
    assert "750 calls at most: 12.5 a second for 60 s, over 12 connections" in asked.announcement()
    assert "at most 48 calls to delete" in asked.announcement()
    assert TOKEN not in asked.announcement()


def test_a_refusal_needs_nothing_installed_and_shows_no_token() -> None:
    command = [sys.executable, "-m", "tools.load", "--url", "http://api.example.com"]
    environment = {**os.environ, "TOKEN": TOKEN}
    refused = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: URL=http://api.example.com is not encrypted")
    assert TOKEN not in refused.stdout + refused.stderr
    # In front of `make`, it is not in an argument, which other users of the machine could read.
    assert "usage: TOKEN=$(cat .local/token) make load " in refused.stderr


class Service:
    """The part of the service that a life needs. Its answers may be lost."""

    def __init__(self, lost: random.Random | None = None) -> None:
        # By id: what each customer is found by.
        self.customers: dict[int, str] = {}
        self.index_is_behind = False
        self.calls: list[Call] = []
        self._lost = lost
        self._ids = itertools.count(1)

    def answer(self, call: Call) -> Answer:
        self.calls.append(call)
        # Some calls never arrive, and for some only the answer is lost.
        fate = 1.0 if self._lost is None else self._lost.random()
        if fate < 0.2:
            return Answer(503)
        answer = self._answer(call)
        return Answer(0) if fate < 0.4 else answer

    def _answer(self, call: Call) -> Answer:
        if call.method in {"POST", "PUT"}:
            assert call.body is not None
            customer_id = next(self._ids)
            self.customers[customer_id] = (
                call.path if call.method == "PUT" else f"{COLLECTION}?email={call.body['email']}"
            )
            return Answer(201, {"id": customer_id}, '"1"')
        if call.method == "DELETE":
            there = self.customers.pop(int(call.path.rpartition("/")[2]), None)
            return Answer(404 if there is None else 200, {})
        found: list[Any] = [{"id": known} for known, path in self.customers.items() if path == call.path]
        if "/external/" in call.path:
            return Answer(200, found[0]) if found else Answer(404, {})
        return Answer(200, {"customers": [] if self.index_is_behind else found})


def run(calls: Calls, service: Service) -> None:
    try:
        call = next(calls)
        while True:
            call = calls.send(service.answer(call))
    except StopIteration:
        return


def test_a_life_calls_every_endpoint_and_leaves_nothing() -> None:
    service, life = Service(), Life(7)
    run(life.calls(), service)
    assert {call.endpoint for call in service.calls} == {
        "create", "get", "find by email", "list group", "patch", "put external", "get external", "history", "delete",
    }  # fmt: skip
    # As `make load` announces and docs/performance.md counts.
    methods = Counter(call.method for call in service.calls)
    assert methods == {"GET": 8, "POST": 1, "PUT": 1, "PATCH": 1, "DELETE": 2}
    assert (service.customers, life.left) == ({}, 0)
    (patch,) = (call for call in service.calls if call.endpoint == "patch")
    assert patch.headers == {"If-Match": '"1"'}


@pytest.mark.parametrize("ended_after", range(13))
def test_a_life_that_is_broken_off_is_cleaned_up(ended_after: int) -> None:
    service, life = Service(), Life(7)
    calls = life.calls()
    call = next(calls)
    for _ in range(ended_after):
        call = calls.send(service.answer(call))
    run(life.clean_up(), service)
    assert (service.customers, life.left) == ({}, 0)
    # For each of two customers, one call to find it and one to delete it.
    assert len(service.calls) - ended_after <= 4


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_lost_a_life_knows_how_many_customers_it_leaves(seed: int) -> None:
    service, life = Service(random.Random(seed)), Life(7)
    run(life.calls(), service)
    run(life.clean_up(), service)
    assert len(service.customers) <= life.left
    # Once the service answers again, all are found. Whether a lost creation arrived stays in doubt.
    working = Service()
    working.customers = service.customers
    run(life.clean_up(), working)
    assert working.customers == {}
    assert life.left <= 1


@pytest.mark.parametrize(("method", "left"), [("POST", 1), ("PUT", 0)])
def test_a_creation_whose_answer_was_lost_is_deleted_or_said_to_be_left(method: str, left: int) -> None:
    """The index of email addresses is a moment behind. A customer with one of our keys is found at once."""
    service, life = Service(), Life(7)
    service.index_is_behind = True
    calls = life.calls()
    call = next(calls)
    try:
        while True:
            answer = service.answer(call)
            call = calls.send(Answer(0) if call.method == method else answer)
    except StopIteration:
        assert (len(service.customers), life.left) == (left, left)
    service.index_is_behind = False
    run(life.clean_up(), service)
    assert (service.customers, life.left) == ({}, 0)


def test_the_table_is_markdown_and_lines_up() -> None:
    lines = table([Measured("get", 1234, 0, (1.4, 20, 30, 1000)), Measured("find by email", 5, 1, (2, 3, 4, 5))]).split(
        "\n"
    )
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == ["get", "1,234", "0", "1", "20", "30", "1,000"]


@contextmanager
def served(answer: Callable[[Call], Answer]) -> Iterator[str]:
    """Serve on this machine, and yield the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one piece: otherwise the body would wait for 40 ms

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            given = answer(Call("", self.command, self.path, json.loads(body) if body else None))
            text = json.dumps(given.body).encode()
            self.send_response(given.status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815 (names of `http.server`)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def started(url: str, folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [str(LOCUST), "-m", "tools.load", "--url", url, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TOKEN": TOKEN}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@needs_locust
def test_the_shortest_run_ends_with_a_table(tmp_path: Path) -> None:
    with served(Service().answer) as url:
        process = started(url, tmp_path, "--rate", "1", "--seconds", "1")
        said, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "\n1 calls in " in said
    assert "| create " in said


@needs_locust
def test_ctrl_c_ends_a_run_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    service = Service()
    process: subprocess.Popen[str] | None = None

    def answer(call: Call) -> Answer:
        # The first call comes while connections are still being opened.
        if process is not None and not service.calls:
            process.send_signal(signal.SIGINT)
        return service.answer(call)

    with served(answer) as url:
        process = started(url, tmp_path, "--rate", "100", "--seconds", "600")
        said, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "stopping, and deleting what was created" in said
    assert "POST" in {call.method for call in service.calls}
    assert service.customers == {}


@needs_locust
def test_a_stack_that_fails_gets_no_more_calls_than_announced(tmp_path: Path) -> None:
    service = Service()

    def answer(call: Call) -> Answer:
        answered = service.answer(call)
        return Answer(503) if call.method == "POST" else answered

    with served(answer) as url:
        process = started(url, tmp_path, "--rate", "40", "--seconds", "1", "--connections", "1")
        said, errors = process.communicate(timeout=60)
    assert "40 calls at most" in said
    assert "at most 4 calls to delete" in said
    assert len(service.calls) <= 44
    assert service.customers == {}
    assert (process.returncode, errors) == (1, "")
