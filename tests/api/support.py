"""What the tests of the API share: customers, problems, walks, raw requests, processes."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from customers.store.sorting import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import httpx

    from tests.conftest import Service

type Json = dict[str, Any]

MAX_ID: Final = 2**53 - 1
COLLECTION: Final = "/api/customers/"
SORTS: Final = ("id", "first_name", "last_name", "email", "age", "created_at")
ORDERS: Final = ("asc", "desc")
SHOWN: Final = (
    "id",
    "external_id",
    "first_name",
    "last_name",
    "email",
    "group_id",
    "age",
    "metadata",
    "created_at",
    "updated_at",
    "version",
)
"""A customer's fields, as a client sees them."""

PROBLEM_TYPES: Final = {
    400: "/problems/invalid-request",
    401: "/problems/unauthorized",
    403: "/problems/forbidden",
    404: "/problems/not-found",
    412: "/problems/version-mismatch",
    413: "/problems/payload-too-large",
    415: "/problems/unsupported-media-type",
    429: "/problems/too-many-requests",
    500: "/problems/internal-error",
    503: "/problems/unavailable",
}
"""Part of the interface: clients branch on them."""

_SOON: Final = 60.0
"""Seconds. A busy machine may need many times as long as an idle one."""
_POLL: Final = 0.05


def any_group() -> int:
    """Make up a group that no other test uses."""
    return secrets.randbelow(MAX_ID) + 1


def customer_body(group_id: int, **fields: object) -> Json:
    return {
        "first_name": "John",
        "last_name": "Doe",
        "email": "john.doe@example.com",
        "group_id": group_id,
        **fields,
    }


def create(client: httpx.Client, group_id: int, **fields: object) -> Json:
    response = client.post(COLLECTION, json=customer_body(group_id, **fields))
    assert response.status_code == 201, response.text
    created: Json = response.json()
    return created


def create_list(client: httpx.Client, rows: list[Json]) -> list[Json]:
    response = client.post(COLLECTION, params={"size": "list"}, json={"customers": rows})
    assert response.status_code == 201, response.text
    created: list[Json] = response.json()["customers"]
    return created


def path_of(customer: Mapping[str, Any]) -> str:
    return f"/api/customers/{customer['id']}"


def group_path(group_id: int) -> str:
    return f"/api/customers/group/{group_id}/"


def pages(client: httpx.Client, group_id: int, **query: object) -> Iterator[Json]:
    """Return all pages of a group, each found by the cursor of the one before."""
    parameters = {name: str(value) for name, value in query.items()}
    while True:
        response = client.get(group_path(group_id), params=parameters)
        assert response.status_code == 200, response.text
        page: Json = response.json()
        yield page
        if page["next_cursor"] is None:
            return
        parameters["cursor"] = page["next_cursor"]


def walk(client: httpx.Client, group_id: int, **query: object) -> list[Json]:
    """Return all customers of a group, page by page."""
    return [customer for page in pages(client, group_id, **query) for customer in page["customers"]]


def ids(customers: Iterable[Mapping[str, Any]]) -> list[int]:
    return [customer["id"] for customer in customers]


def without_age(customer: Mapping[str, Any]) -> Json:
    return {name: value for name, value in customer.items() if name != "age"}


def in_order(customers: Iterable[Json], sort: str, order: str) -> list[Json]:
    """Sort customers as the contract says."""

    def key(customer: Json) -> tuple[Any, int]:
        value = customer[sort]
        if sort in {"first_name", "last_name", "email"}:
            value = fold(value)
        if sort == "age":
            value = (value is None, value or 0)
        return value, customer["id"]

    return sorted(customers, key=key, reverse=order == "desc")


def assert_problem(response: httpx.Response, status: int, *, problem_type: str | None = None) -> Json:
    """Check everything that every error promises (RFC 9457), and return the problem."""
    path = response.request.url.raw_path.partition(b"?")[0].decode()
    answer = Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, b"")
    return assert_raw_problem(answer._replace(body=response.content), status, path, problem_type=problem_type)


def assert_raw_problem(answer: Answer, status: int, path: str, *, problem_type: str | None = None) -> Json:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail", "instance", "request_id"} <= problem.keys()
    assert problem["type"] == (problem_type or PROBLEM_TYPES[status])
    assert problem["title"]
    assert problem["detail"]
    assert problem["status"] == status
    assert problem["instance"] == path
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f-]{36}", problem["request_id"])
    assert problem.keys() <= {"type", "title", "status", "detail", "instance", "request_id", "errors"}
    return problem


def assert_invalid(response: httpx.Response, *expected: tuple[str, str]) -> list[Json]:
    """Check that a request is refused for exactly these reasons: place (pointer, parameter or header) and code."""
    errors: list[Json] = assert_problem(response, 400)["errors"]
    found = []
    for error in errors:
        assert error["detail"]
        (place,) = error.keys() - {"code", "detail"}
        assert place in {"pointer", "parameter", "header"}
        found.append((error[place], error["code"]))
    assert sorted(found) == sorted(expected)
    return errors


class Answer(NamedTuple):
    """A response read from a raw connection."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Json:
        value: Json = json.loads(self.body)
        return value


def send_raw(service: Service, head: str, body: bytes = b"", *, authorized: bool = True) -> Answer:
    """Send what no client library would, byte for byte.

    Parameters
    ----------
    service
        The service to send it to.
    head
        Request line and headers, without Host and Authorization.
    body
        What follows the headers.
    authorized
        Whether to add the token.
    """
    address = urlsplit(service.url)
    assert address.hostname is not None
    lines = [*head.split("\n"), f"Host: {address.netloc}", "Connection: close"]
    if authorized:
        lines.append(f"Authorization: Bearer {service.token}")
    with socket.create_connection((address.hostname, address.port or 80), timeout=40) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        with http.client.HTTPResponse(connection) as response:
            response.begin()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())


class Process(NamedTuple):
    """A process, as `ps` shows it."""

    pid: int
    parent: int
    state: str
    command: str


def _processes() -> dict[int, Process]:
    listing = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,command="],
        check=True,
        capture_output=True,
        text=True,
    )
    found = (Process(int(pid), int(ppid), stat, command) for pid, ppid, stat, command in _fields(listing.stdout))
    return {process.pid: process for process in found}


def _fields(listing: str) -> Iterator[tuple[str, str, str, str]]:
    for line in listing.splitlines():
        pid, parent, state, *command = line.split(maxsplit=3)
        yield pid, parent, state, "".join(command)


def descendants(pid: int) -> list[Process]:
    """Return the processes that a process has started, and those that they have started."""
    everything = _processes()
    found: list[Process] = []
    parents = {pid}
    while parents:
        children = [process for process in everything.values() if process.parent in parents]
        found += children
        parents = {process.pid for process in children}
    return found


def engine_of(service: Service) -> int:
    """Return the process id of a service's database engine."""
    engines = [process.pid for process in descendants(service.process.pid) if "dynoxide" in process.command]
    assert len(engines) == 1
    return engines[0]


def function_processes(service: Service, name: str) -> list[int]:
    return [process.pid for process in descendants(service.process.pid) if f":function:{name}" in process.command]


def remaining(pids: Iterable[int]) -> list[Process]:
    """Return the processes that still run. A zombie, dead but not yet waited for, does not count."""
    everything = _processes()
    return [everything[pid] for pid in pids if pid in everything and not everything[pid].state.startswith("Z")]


def wait_until(condition: Callable[[], bool], seconds: float = _SOON) -> None:
    """Check until something is true. Fail if that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(_POLL)


class Stopped:
    """Holds a process still while the block runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __enter__(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)
        wait_until(lambda: _processes()[self._pid].state.startswith("T"))

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGCONT)
