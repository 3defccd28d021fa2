"""What becomes of requests while the store fails: each endpoint, each fault, always and one call in three.

Run as `make reliability`. The whole laptop cloud runs, with a proxy between its functions and the store. Each trial has
data of its own; when the fault is over, the client does what docs/api.md tells it to, and the tables are counted.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import uuid4

import boto3
import httpx

from customers.store.tokens import TokenStore
from customers.tokens import SCOPES, new_token, token_hash
from local.data_folder import IN_MEMORY
from tools.benchmarks.reliability.fault_proxy import Fault, FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

type Json = dict[str, Any]

JOHN: Final = {"first_name": "John", "last_name": "Doe", "email": "john.doe@example.com"}
CHANGES: Final = {"first_name": "Jane", "email": "jane@example.com", "age": 7}
_LIST: Final = 100
_AT_ONCE: Final = 8
_PATIENCE: Final = 120.0
_GATEWAY_SECONDS: Final = 29.0


class World:
    """The running service, its proxy, and the way past both into the tables."""

    def __init__(self, url: str, data: Path, proxy: FaultProxy, store: Any, tables: dict[str, str]) -> None:  # noqa: ANN401 (a client)
        self.proxy = proxy
        self.environment = {**os.environ, "DATA_DIR": str(data)}
        """For programs that are to find it."""
        token = (data / IN_MEMORY / "token").read_text().strip()
        self.client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
            limits=httpx.Limits(max_connections=64),
        )
        self._store = store
        self._tables = tables

    def create(self, group_id: int) -> Json:
        """Create a customer while nothing fails."""
        answer = self.client.post("/api/customers/", json={**JOHN, "group_id": group_id})
        answer.raise_for_status()
        created: Json = answer.json()
        return created

    def new_token(self) -> str:
        """Make a token that the gateway has not seen."""
        token = new_token()
        TokenStore(self._store, self._tables["TOKENS_TABLE"]).put(token_hash(token), SCOPES, "a trial", None)
        return token

    def group(self, group_id: int) -> list[int]:
        """Return the ids of a group's customers, from the table's index and not through the service."""
        pages = self._store.get_paginator("query").paginate(
            TableName=self._tables["CUSTOMERS_TABLE"],
            IndexName="group-index",
            KeyConditionExpression="group_id = :group",
            ExpressionAttributeValues={":group": {"N": str(group_id)}},
        )
        return [int(item["id"]["N"]) for page in pages for item in page["Items"]]

    def settle(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        """Repeat a call as clients do: while it is answered by 409 or 503 with Retry-After."""
        deadline = time.monotonic() + _PATIENCE
        while (answer := send()).status_code in {409, 503} and time.monotonic() < deadline:
            time.sleep(float(answer.headers["Retry-After"]))
        return answer


class Verdict(NamedTuple):
    """What a trial came to, apart from the status of its first answer."""

    partial: bool = False
    """Something was visible that is neither the state before nor the state after."""
    lost: bool = False
    """Something acknowledged, at once or at the repetition, is not there."""
    doubled: bool = False
    wrong: str = ""
    """An answer that the contract does not allow."""


class Trial:
    """One request of a kind, with data of its own. `prepare` and `judge` run while nothing fails."""

    succeeds: frozenset[int] = frozenset({200})

    def __init__(self, world: World) -> None:
        self.world = world
        self.group_id = random.randrange(1, 2**53)

    def prepare(self) -> None:
        """Make what the request needs."""

    def send(self) -> httpx.Response:
        """Send the request."""
        raise NotImplementedError

    def judge(self, answer: httpx.Response) -> Verdict:
        """Look what it came to."""
        raise NotImplementedError


class Get(Trial):
    """GET of a customer."""

    def prepare(self) -> None:
        """Create it."""
        self.customer = self.world.create(self.group_id)

    def send(self) -> httpx.Response:
        """Read it."""
        return self.world.client.get(f"/api/customers/{self.customer['id']}")

    def judge(self, answer: httpx.Response) -> Verdict:
        """Check that it is what was created."""
        again = self.world.settle(self.send)
        shown = [done.json() for done in (answer, again) if done.status_code == 200]
        return Verdict(wrong="" if again.status_code == 200 and all(one == self.customer for one in shown) else "body")


class ListGroup(Get):
    """GET of a group."""

    def send(self) -> httpx.Response:
        """Read it."""
        return self.world.client.get(f"/api/customers/group/{self.group_id}/?age=true&sort=last_name")

    def judge(self, answer: httpx.Response) -> Verdict:
        """Check that it has the one customer."""
        again = self.world.settle(self.send)
        shown = [done.json()["customers"] for done in (answer, again) if done.status_code == 200]
        return Verdict(
            wrong="" if again.status_code == 200 and all(one == [self.customer] for one in shown) else "body"
        )


class Authorize(Get):
    """A GET with a token that the gateway asks the authorizer for."""

    def prepare(self) -> None:
        """Make the token too."""
        super().prepare()
        self.token = self.world.new_token()

    def send(self) -> httpx.Response:
        """Read with the new token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.world.client.get(f"/api/customers/{self.customer['id']}", headers=headers)


class Patch(Get):
    """PATCH of three fields."""

    if_match = False

    def send(self) -> httpx.Response:
        """Change them."""
        headers = {"If-Match": '"1"'} if self.if_match else {}
        return self.world.client.patch(f"/api/customers/{self.customer['id']}", json=CHANGES, headers=headers)

    def judge(self, answer: httpx.Response) -> Verdict:
        """Check that they changed all or not at all, and after a repetition that they have."""
        path = f"/api/customers/{self.customer['id']}"
        after: Json = self.world.client.get(path).json()
        changed = {**self.customer, **CHANGES, "version": 2, "updated_at": after["updated_at"]}
        acknowledged = answer.status_code == 200
        verdict = Verdict(
            partial=after not in (self.customer, changed),
            lost=acknowledged and after != changed,
            doubled=after["version"] > 2,
        )
        again = self.world.settle(self.send)
        if self.if_match and after == changed:
            return verdict._replace(wrong="" if again.status_code == 412 else f"repeated: {again.status_code}")
        return verdict._replace(wrong="" if again.status_code == 200 else f"repeated: {again.status_code}")


class PatchAtVersion(Patch):
    """PATCH with If-Match."""

    if_match = True


class Delete(Get):
    """DELETE of a customer."""

    def send(self) -> httpx.Response:
        """Delete it."""
        return self.world.client.delete(f"/api/customers/{self.customer['id']}")

    def judge(self, answer: httpx.Response) -> Verdict:
        """Check that it is gone if that was said, from every index or none; and after a repetition that it is gone."""
        there = self.world.client.get(f"/api/customers/{self.customer['id']}").status_code == 200
        indexed = self.customer["id"] in self.world.group(self.group_id)
        again = self.world.settle(self.send)
        gone = self.world.client.get(f"/api/customers/{self.customer['id']}").status_code == 404
        return Verdict(
            partial=there != indexed,
            lost=(answer.status_code == 200 and there) or not gone,
            wrong="" if again.status_code == (200 if there else 404) else f"repeated: {again.status_code}",
        )


class Create(Trial):
    """POST without an Idempotency-Key."""

    succeeds = frozenset({201})
    query = ""
    size = 1
    bad = 0

    def prepare(self) -> None:
        """Make up the request."""
        self.headers: dict[str, str] = {}

    def send(self) -> httpx.Response:
        """Create."""
        row = {**JOHN, "group_id": self.group_id}
        body: Json = {"customers": [row] * (self.size - self.bad) + [{}] * self.bad} if self.query else row
        return self.world.client.post(f"/api/customers/{self.query}", json=body, headers=self.headers)

    def judge(self, answer: httpx.Response) -> Verdict:
        """Check that all or nothing is there, all if that was said."""
        wanted = self.size - self.bad
        there = self.world.group(self.group_id)
        verdict = Verdict(partial=len(there) not in {0, wanted}, doubled=len(there) > wanted)
        if answer.status_code in self.succeeds:
            verdict = verdict._replace(lost=sorted(there) != sorted(self._shown(answer)))
        return verdict if not self.headers else self._judge_again(answer, verdict)

    def _judge_again(self, answer: httpx.Response, verdict: Verdict) -> Verdict:
        again = self.world.settle(self.send)
        there = self.world.group(self.group_id)
        wanted = self.size - self.bad
        problem = again.status_code not in self.succeeds or len(set(self._shown(again))) != wanted
        if answer.status_code in self.succeeds:
            problem |= again.content != answer.content or "Idempotency-Replayed" not in again.headers
        return verdict._replace(
            lost=verdict.lost or sorted(there) != sorted(self._shown(again)),
            doubled=verdict.doubled or len(there) > wanted,
            wrong="" if not problem else f"repeated: {again.status_code}",
        )

    @staticmethod
    def _shown(answer: httpx.Response) -> list[int]:
        body = answer.json()
        rows = body.get("customers") or [row.get("customer") for row in body.get("results", [])] or [body]
        return [row["id"] for row in rows if row and "id" in row]


class CreateWithKey(Create):
    """POST with an Idempotency-Key."""

    def prepare(self) -> None:
        """Make up the key."""
        self.headers = {"Idempotency-Key": str(uuid4())}


class CreateList(CreateWithKey):
    """POST of a hundred."""

    query = "?size=list"
    size = _LIST


class CreateKeep(CreateList):
    """POST of a hundred of which one is bad."""

    query = "?size=list&on_error=keep"
    succeeds = frozenset({207})
    bad = 1


KINDS: Final[dict[str, type[Trial]]] = {
    "GET a customer": Get,
    "GET a group": ListGroup,
    "PATCH": Patch,
    "PATCH with If-Match": PatchAtVersion,
    "DELETE": Delete,
    "POST one": Create,
    "POST one, with a key": CreateWithKey,
    "POST 100, with a key": CreateList,
    "POST 100, keep, with a key": CreateKeep,
    "authorizer": Authorize,
}


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
        """All that the contract does not allow."""
        found = [f"status {status}" for status in self.statuses if status not in self.allowed]
        found += [verdict.wrong for verdict in self.verdicts if verdict.wrong]
        found += [name for name in ("partial", "lost", "doubled") if any(getattr(one, name) for one in self.verdicts)]
        if self.statuses and self.slowest >= _GATEWAY_SECONDS:
            found.append("longer than the gateway waits")
        if not self.spoilt:
            found.append("the fault hit no call")
        return found


def run_cell(world: World, kind: type[Trial], fault: Fault, *, always: bool, trials: int) -> Cell:
    """Send some requests at once while calls to the store fail, and judge what they came to when it is over."""
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
    """Run the laptop cloud, with a proxy before its store, until the block ends."""
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
        client = boto3.client(
            "dynamodb",
            endpoint_url=store(),
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 (words that the engine does not check)
        )
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
    """Run every kind under every fault, always and one call in three."""
    for name, kind in KINDS.items():
        for fault in faults:
            for always in (True, False):
                yield name, fault, always, run_cell(world, kind, fault, always=always, trials=trials)
