"""What happens to requests while the store fails: each endpoint, each fault, on every call and on one in three.

Run as `make reliability`. The whole laptop cloud runs, with a proxy between its functions and the store. Each trial has
its own data. When the fault is over, the client does what docs/api.md says, and the rows in the tables are counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from customers.store.tokens import TokenStore
from customers.tokens import SCOPES, new_token, token_hash
from local.data_folder import IN_MEMORY
from tools.benchmarks.reliability.fault_proxy import Fault, FaultProxy
from tools.benchmarks.reliability.load import SESSION, http_client
from tools.benchmarks.reliability.trials import JOHN, KINDS, Json, Trial, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import httpx

_AT_ONCE: Final = 8
_PATIENCE: Final = 120.0
_GATEWAY_SECONDS: Final = 29.0


class World:
    """The running service, its proxy, and direct access to the tables."""

    def __init__(self, url: str, data: Path, proxy: FaultProxy, store: Any, tables: dict[str, str]) -> None:  # noqa: ANN401 (a client)
        self.proxy = proxy
        self.environment = {**os.environ, "DATA_DIR": str(data)}
        """For programs that need to find it."""
        token = (data / IN_MEMORY / "token").read_text().strip()
        self.client = http_client(url, token)
        self._store = store
        self._tables = tables

    def create(self, group_id: int, **fields: object) -> Json:
        """Create a customer while nothing fails."""
        answer = self.client.post("/api/customers/", json={**JOHN, "group_id": group_id, **fields})
        answer.raise_for_status()
        created: Json = answer.json()
        return created

    def new_token(self) -> str:
        """Make a token that the gateway has not seen."""
        token = new_token()
        TokenStore(self._store, self._tables["TOKENS_TABLE"]).put(token_hash(token), SCOPES, "a trial", None)
        return token

    def group(self, group_id: int) -> list[int]:
        """Return the ids of a group's customers, from the table's index, not through the service."""
        pages = self._store.get_paginator("query").paginate(
            TableName=self._tables["CUSTOMERS_TABLE"],
            IndexName="group-index",
            KeyConditionExpression="group_id = :group",
            ExpressionAttributeValues={":group": {"N": str(group_id)}},
        )
        return [int(item["id"]["N"]) for page in pages for item in page["Items"]]

    def settle(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        """Repeat a call as clients do, while the answer is 409 or 503 with Retry-After."""
        deadline = time.monotonic() + _PATIENCE
        while (answer := send()).status_code in {409, 503} and time.monotonic() < deadline:
            time.sleep(float(answer.headers["Retry-After"]))
        return answer


@dataclass
class Cell:
    """The trials of one kind under one fault."""

    statuses: Counter[int] = field(default_factory=Counter)
    verdicts: list[Verdict] = field(default_factory=list)
    slowest: float = 0.0
    spoilt: int = 0

    allowed: frozenset[int] = frozenset()
    """Statuses that the contract allows."""

    @property
    def problems(self) -> list[str]:
        """Everything that the contract does not allow."""
        found = [f"status {status}" for status in self.statuses if status not in self.allowed]
        found += [verdict.wrong for verdict in self.verdicts if verdict.wrong]
        found += [name for name in ("partial", "lost", "doubled") if any(getattr(one, name) for one in self.verdicts)]
        if self.statuses and self.slowest >= _GATEWAY_SECONDS:
            found.append("longer than the gateway waits")
        if not self.spoilt:
            found.append("the fault hit no call")
        return found


def run_cell(world: World, kind: type[Trial], fault: Fault, *, always: bool, trials: int) -> Cell:
    """Send some requests at once while calls to the store fail, and judge the results afterwards."""
    unavailable = frozenset({503})
    allowed = kind.succeeds if fault is Fault.SLOW else unavailable if always else kind.succeeds | unavailable
    cell = Cell(allowed=allowed)
    some = [kind(world) for _ in range(trials)]

    def send(trial: Trial) -> httpx.Response:
        started = time.monotonic()
        answer = trial.send()
        cell.slowest = max(cell.slowest, time.monotonic() - started)
        return answer

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(lambda trial: trial.prepare(), some))
        before = world.proxy.spoilt.total()
        world.proxy.spoil(fault, one_in=1 if always else 3)
        try:
            answers = list(threads.map(send, some))
        finally:
            world.proxy.heal()
        cell.spoilt = world.proxy.spoilt.total() - before
        for answer in answers:
            cell.statuses[answer.status_code] += 1
            if answer.status_code == 503 and not answer.headers.get("Retry-After", "").isdecimal():
                cell.verdicts.append(Verdict(wrong="503 without Retry-After"))
        cell.verdicts += threads.map(lambda trial, answer: trial.judge(answer), some, answers)
    return cell


@contextmanager
def running_world(*arguments: str) -> Iterator[World]:
    """Run the laptop cloud, with a proxy in front of its store, until the block ends."""
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        endpoints = data / IN_MEMORY / "endpoints.json"

        def store() -> str:
            address: str = json.loads(endpoints.read_text())["dynamodb"]
            return address

        proxy = stack.enter_context(FaultProxy(store))
        process = stack.enter_context(
            subprocess.Popen(  # noqa: S603 (our own program)
                [
                    sys.executable,
                    "-m",
                    "tools.benchmarks.reliability.faulty_cloud",
                    "--in-memory",
                    "--quiet",
                    *arguments,
                ],
                env={
                    **os.environ,
                    "DATA_DIR": str(data),
                    "PORT": "0",
                    "FUNCTION_ENDPOINTS": json.dumps({"AWS_ENDPOINT_URL_DYNAMODB": proxy.url}),
                },
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(process.terminate)
        if process.stdout is None:
            raise RuntimeError("the process has no output")
        url = next(line.split()[1] for line in process.stdout if line.startswith("ready"))
        client = SESSION.client("dynamodb", endpoint_url=store())
        names = client.list_tables()["TableNames"]
        tables = {
            f"{name}_TABLE": next(table for table in names if table.upper().startswith(name))
            for name in ("CUSTOMERS", "TOKENS")
        }
        stack.callback(client.close)
        world = World(url, data, proxy, client, tables)
        stack.callback(world.client.close)
        yield world


def matrix(world: World, faults: Sequence[Fault], trials: int) -> Iterator[tuple[str, Fault, bool, Cell]]:
    """Run every kind under every fault, on every call and on one in three."""
    for name, kind in KINDS.items():
        for fault in faults:
            for always in (True, False):
                yield name, fault, always, run_cell(world, kind, fault, always=always, trials=trials)
