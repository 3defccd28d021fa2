"""An import into one group whose index is throttled, while clients work in other groups.

DynamoDB accepts about 1,000 write units a second for one partition key of an index, so about as many creates a second
in one group. The proxy does the same, at a rate that suits this machine: it throttles single rows above that rate.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import batched
from typing import TYPE_CHECKING, Any, Final

from local.gateway.throttle import TokenBucket
from tools.benchmarks.reliability.fault_proxy import Answer, Call
from tools.benchmarks.reliability.requests import World, running_world
from tools.benchmarks.reliability.trials import JOHN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CLIENTS: Final = 4
_PAUSE: Final = 0.1
"""Least seconds from one request of a client to its next."""
_AT_ONCE: Final = 5
"""Statements that the engine gets at a time. It runs a batch in one go, and all other calls wait. DynamoDB runs each
statement by itself, on the partition that has its row."""
_QUIET: Final = 60.0
_WORST: Final = 2.0
"""How many times as long as when it is quiet the others' p99 may be."""


class HotIndex:
    """A store whose index accepts a limited number of one group's rows a second."""

    def __init__(self, group_id: int, rate: int) -> None:
        self._group = {"N": str(group_id)}
        self._bucket = TokenBucket(rate, rate)
        self.throttled = 0

    def answer(self, call: Call, ask: Callable[[bytes], Answer]) -> Answer:
        """Pass a call on, without the group's rows that are above the limit."""
        if call.operation != "BatchExecuteStatement":
            return ask(call.body)
        body = json.loads(call.body)
        admitted = [
            self._group not in statement["Parameters"] or self._bucket.take() for statement in body["Statements"]
        ]
        self.throttled += admitted.count(False)
        statements = [one for one, is_admitted in zip(body["Statements"], admitted, strict=True) if is_admitted]
        done: list[Any] = []
        for some in batched(statements, _AT_ONCE, strict=False):
            answer = ask(json.dumps({**body, "Statements": some}).encode())
            if answer.status != 200:
                return answer
            done += json.loads(answer.body)["Responses"]
        remaining = iter(done)
        refused = {"Error": {"Code": "ThrottlingError", "Message": "the index of the group is at its limit"}}
        responses = [next(remaining) if is_admitted else refused for is_admitted in admitted]
        return Answer(200, json.dumps({"Responses": responses}).encode())


class Others:
    """Clients that work in other groups, at a steady pace."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()

    def work_while(self, busy: Callable[[], bool]) -> None:
        """Work while `busy` returns true."""
        threads = [threading.Thread(target=self._work, args=(busy,)) for _ in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def p99(self) -> float:
        """Return the seconds within which 99 % of the requests were answered."""
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]

    def _work(self, busy: Callable[[], bool]) -> None:
        group_id = random.randrange(1, 2**53)
        customer = self._world.create(group_id)
        path = f"/api/customers/{customer['id']}"
        requests: list[tuple[str, str, Any]] = [
            ("GET", path, None),
            ("POST", "/api/customers/", {**JOHN, "group_id": group_id}),
            ("PATCH", path, {"age": random.randrange(150)}),
            ("GET", f"/api/customers/group/{group_id}/?limit=10&sort=email", None),
        ]
        while busy():
            method, target, body = random.choice(requests)
            started = time.monotonic()
            answer = self._world.client.request(method, target, json=body)
            took = time.monotonic() - started
            self.seconds.append(took)
            self.statuses[answer.status_code] += 1
            time.sleep(max(_PAUSE - took, 0))


def run(rows: int, rate: int, folder: Path, say: Callable[[str], None]) -> tuple[str, bool]:
    """Let the others work, before and during an import. Return a table, and whether all is well."""
    group_id = random.randrange(1, 2**53)
    file = folder / "one-group.csv"
    with file.open("w", encoding="ascii") as output:
        output.write("first_name,last_name,email,group_id\n")
        output.writelines(f"Jo,Doe,jo{number}@example.com,{group_id}\n" for number in range(rows))
    index = HotIndex(group_id, rate)
    with running_world("--parameter", "MaximumConcurrency=2") as world:
        world.proxy.answer = index.answer
        quiet, busy = Others(world), Others(world)
        Others(world).work_while(_for_seconds(10))
        quiet.work_while(_for_seconds(_QUIET))
        say(f"quiet: p99 {quiet.p99() * 1000:.0f} ms; importing")
        started = time.monotonic()
        command = [sys.executable, "-m", "cli", "import", str(file)]
        with subprocess.Popen(  # noqa: S603 (our own program)
            command, env=world.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as importing:
            busy.work_while(lambda: importing.poll() is None)
            said = importing.stdout.read() if importing.stdout else ""
        seconds = time.monotonic() - started
        there = world.group(group_id)
    lost, doubled = rows - len(set(there)), len(there) - len(set(there)) + max(len(there) - rows, 0)
    ratio = busy.p99() / quiet.p99()
    refused = sum(number for status, number in busy.statuses.items() if status >= 400)
    table_rows = [
        ("rows, all of one group", f"{rows:,}"),
        ("rows a second that the group's index takes", f"{rate:,}"),
        ("seconds, rows a second", f"{seconds:.0f}, {rows / seconds:.0f}"),
        ("rows throttled, and tried again", f"{index.throttled:,}"),
        ("the import ended with exit code", str(importing.returncode)),
        ("lost", str(lost)),
        ("doubled", str(doubled)),
        ("other clients: requests, refused", f"{len(busy.seconds):,}, {refused}"),
        ("their p99, quiet and meanwhile", f"{quiet.p99() * 1000:.0f} ms, {busy.p99() * 1000:.0f} ms: {ratio:.2f} ×"),
    ]
    if importing.returncode:
        say(said)
    table = "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in table_rows)])
    return table, not (lost or doubled or refused or importing.returncode or ratio > _WORST)


def _for_seconds(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end
