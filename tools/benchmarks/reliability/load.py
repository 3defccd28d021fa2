"""Clients at work while processes are killed: what was acknowledged, what was not, and what the indexes say."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import boto3
import httpx

from customers.fields import SORT_FIELDS
from tests.api.support import descendants
from tools.benchmarks.reliability.trials import CHANGES, JOHN, Json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_PASSING: Final = frozenset({409, 429, 500, 503, 504})
"""Temporary failures: the same call may succeed. If a function is killed at work, the gateway answers 500."""
_PATIENCE: Final = 120.0
_MOST: Final = 30
"""Most customers that a client keeps."""


def http_client(url: str, token: str, timeout: float = 60) -> httpx.Client:
    """Return a client of a service, with a connection for each of up to 128 threads."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url, headers=headers, timeout=timeout, limits=httpx.Limits(max_connections=128))


class Client:
    """One client with its own group. It knows everything that must be true of the group."""

    def __init__(self, url: str, token: str) -> None:
        self.group_id = random.randrange(1, 2**53)
        self.known: dict[int, Json] = {}
        self.statuses: Counter[int] = Counter()
        self.violations: list[str] = []
        self.http = http_client(url, token)

    def work_until(self, end: float) -> None:
        """Work until a time of the monotonic clock."""
        while time.monotonic() < end:
            if len(self.known) < 2:
                self._create(1)
                continue
            match random.randrange(10):
                case 0 | 1:
                    self._create(random.choice((1, 10)) if len(self.known) < _MOST else 1)
                case 2 | 3 | 4:
                    self._patch(random.choice(list(self.known)))
                case 5:
                    self._delete(random.choice(list(self.known)))
                case 6:
                    self._settled("GET", f"/api/customers/group/{self.group_id}/?sort=email&limit=10", {200})
                case _:
                    self._read(random.choice(list(self.known)))

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 (httpx's)
        answer = self.http.request(method, path, **options)
        self.statuses[answer.status_code] += 1
        return answer

    def _settled(self, method: str, path: str, allowed: set[int], **options: Any) -> httpx.Response:  # noqa: ANN401
        """Repeat a call until its answer is not a temporary failure."""
        deadline = time.monotonic() + _PATIENCE
        while (answer := self._send(method, path, **options)).status_code in _PASSING:
            if time.monotonic() > deadline:
                break
            time.sleep(float(answer.headers.get("Retry-After", "0.2")))
        if answer.status_code not in allowed:
            self.violations.append(f"{method} answered {answer.status_code}")
        return answer

    def _create(self, size: int) -> None:
        row = {**JOHN, "group_id": self.group_id, "age": random.randrange(150)}
        query, body = ("", row) if size == 1 else ("?size=list", {"customers": [row] * size})
        headers = {"Idempotency-Key": str(uuid4())}
        answer = self._settled("POST", f"/api/customers/{query}", {201}, json=body, headers=headers)
        if answer.status_code == 201:
            created = answer.json()
            self.known |= {customer["id"]: customer for customer in created.get("customers", [created])}

    def _patch(self, customer_id: int) -> None:
        before = self.known[customer_id]
        changes = {**CHANGES, "age": random.randrange(150), "last_name": f"Doe{random.randrange(1000)}"}
        answer = self._send("PATCH", f"/api/customers/{customer_id}", json=changes)
        if answer.status_code == 200:
            self._check(answer.json(), [{**before, **changes, "version": before["version"] + 1}])
            self.known[customer_id] = answer.json()
        elif answer.status_code in _PASSING:
            # It was applied as a whole or not at all.
            now = self._settled("GET", f"/api/customers/{customer_id}", {200})
            if now.status_code == 200:
                self._check(now.json(), [before, {**before, **changes, "version": before["version"] + 1}])
                self.known[customer_id] = now.json()
        else:
            self.violations.append(f"PATCH answered {answer.status_code}")

    def _delete(self, customer_id: int) -> None:
        answer = self._send("DELETE", f"/api/customers/{customer_id}")
        if answer.status_code in _PASSING:
            answer = self._settled("DELETE", f"/api/customers/{customer_id}", {200, 404})
        if answer.status_code in {200, 404}:
            del self.known[customer_id]
        else:
            self.violations.append(f"DELETE answered {answer.status_code}")

    def _read(self, customer_id: int) -> None:
        answer = self._settled("GET", f"/api/customers/{customer_id}", {200})
        if answer.status_code == 200:
            self._check(answer.json(), [self.known[customer_id]])

    def _check(self, found: Json, possible: list[Json]) -> None:
        if all({**one, "updated_at": found["updated_at"]} != found for one in possible):
            self.violations.append("a customer is neither as before nor as after a change")

    def judge(self) -> tuple[int, int]:
        """Return how many customers are lost, and how many should not be there, in any sort order."""
        lost: set[int] = set()
        surplus: set[int] = set()
        for sort in SORT_FIELDS:
            path = f"/api/customers/group/{self.group_id}/?sort={sort}&age=true&limit=1000"
            answer = self._settled("GET", path, {200, 404})
            found = {customer["id"]: customer for customer in answer.json().get("customers", [])}
            lost |= {key for key, customer in self.known.items() if found.get(key) != customer}
            surplus |= found.keys() - self.known.keys()
        for customer_id, customer in self.known.items():
            if self._settled("GET", f"/api/customers/{customer_id}", {200}).json() != customer:
                lost.add(customer_id)
        return len(lost), len(surplus)


SESSION: Final = boto3.Session(
    region_name="us-east-1",
    aws_access_key_id="local",
    aws_secret_access_key="local",  # noqa: S106 (placeholders that the laptop's services do not check)
)
"""For clients of the laptop's services."""


@contextmanager
def running_service(
    data: Path, *arguments: str, program: str = "local", environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the laptop cloud with its tables on disk until the block ends. Yield its process and its address.

    Parameters
    ----------
    data
        Folder for its data.
    arguments
        More arguments for it.
    program
        The module that runs it.
    environment
        More environment variables.
    """
    command = [
        sys.executable,
        "-m",
        program,
        "--quiet",
        *arguments,
        "--parameter",
        "ThrottleRate=100000",
        "--parameter",
        "ThrottleBurst=100000",
    ]
    with subprocess.Popen(  # noqa: S603 (our own program)
        command,
        env={**os.environ, **(environment or {}), "DATA_DIR": str(data), "PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if process.stdout is None:
            raise RuntimeError("the process has no output")
        try:
            yield process, next(line.split()[1] for line in process.stdout if line.startswith("ready"))
        finally:
            process.terminate()


def kill_until(end: float, pid: int, killed: Counter[str]) -> None:
    """Kill a function's process every half second, and every 20 s the engine, which restarts by itself."""
    engine_next = time.monotonic() + 20
    while time.monotonic() < end:
        time.sleep(0.5)
        children = descendants(pid)
        functions = [one.pid for one in children if ":function:" in one.command]
        engines = [one.pid for one in children if "dynoxide" in one.command]
        if engines and time.monotonic() > engine_next:
            os.kill(engines[0], signal.SIGKILL)
            engine_next = time.monotonic() + 20
            killed["engine"] += 1
        elif functions:
            try:
                os.kill(random.choice(functions), signal.SIGKILL)
                killed["function"] += 1
            except ProcessLookupError:
                continue


def indexes_that_differ(data: Path) -> int:
    """Count the rows in which an index differs from the table."""
    client = SESSION.client("dynamodb", endpoint_url=json.loads((data / "endpoints.json").read_text())["dynamodb"])
    name = next(table for table in client.list_tables()["TableNames"] if table.startswith("Customers"))

    def rows(**index: str) -> dict[str, dict[str, Any]]:
        pages = client.get_paginator("scan").paginate(TableName=name, **index)  # type: ignore[arg-type]
        return {item["id"]["N"]: dict(item) for page in pages for item in page["Items"]}

    table = rows()
    differing = 0
    for index in client.describe_table(TableName=name)["Table"]["GlobalSecondaryIndexes"]:
        found = rows(IndexName=index["IndexName"])
        differing += len(table.keys() ^ found.keys())
        differing += sum(
            any(table[key][attribute] != value for attribute, value in found[key].items())
            for key in table.keys() & found.keys()
        )
    return differing


def run(clients: int, seconds: float, say: Callable[[str], None]) -> tuple[str, bool]:
    """Let clients work while processes die, then restart everything and count.

    Return a table, and whether all is well.
    """
    killed: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        with running_service(data) as (process, url):
            token = (data / "token").read_text().strip()
            workers = [Client(url, token) for _ in range(clients)]
            end = time.monotonic() + seconds
            killer = threading.Thread(target=kill_until, args=(end, process.pid, killed))
            killer.start()
            with ThreadPoolExecutor(clients) as threads:
                done = [threads.submit(worker.work_until, end) for worker in workers]
                for one in done:
                    one.result()
            killer.join()
            process.kill()
        say("restarting, and counting")
        with running_service(data) as (_, url):
            for worker in workers:
                worker.http.base_url = httpx.URL(url)
            with ThreadPoolExecutor(8) as threads:
                judged = list(threads.map(lambda worker: worker.judge(), workers))
            differing = indexes_that_differ(data)
    statuses = sum((worker.statuses for worker in workers), Counter[int]())
    violations = [violation for worker in workers for violation in worker.violations]
    lost, surplus = (sum(column) for column in zip(*judged, strict=True))
    rows = [
        ("clients, seconds", f"{clients}, {seconds:.0f}"),
        ("killed with `kill -9`", ", ".join(f"{number} × {what}" for what, number in sorted(killed.items()))),
        ("requests", f"{statuses.total():,}"),
        ("answers", ", ".join(f"{number:,} × {status}" for status, number in sorted(statuses.items()))),
        ("customers at the end", f"{sum(len(worker.known) for worker in workers):,}"),
        ("lost", str(lost)),
        ("doubled, or there though deleted", str(surplus)),
        ("rows in which an index and the table differ", str(differing)),
        ("answers that the contract does not allow", f"{len(violations)} {sorted(set(violations)) or ''}".strip()),
    ]
    table = "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])
    return table, not (lost or surplus or differing or violations)
