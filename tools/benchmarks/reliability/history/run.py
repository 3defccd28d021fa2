"""Let clients work while things fail, and check the history of their answers."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tools.benchmarks.reliability.fault_proxy import FaultProxy
from tools.benchmarks.reliability.history.check import check
from tools.benchmarks.reliability.history.clients import GROUPS, SORTS, Client, Directory
from tools.benchmarks.reliability.history.faults import FAULTS, Target
from tools.benchmarks.reliability.history.operations import History
from tools.benchmarks.reliability.load import SESSION, running_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tools.benchmarks.reliability.history.explanation import Anomaly
    from tools.benchmarks.reliability.history.operations import Json, Operation

_CLIENTS: Final = 16
_PAGE: Final = 5
"""Customers on each page of the last walks."""
_PATIENCE: Final = 60.0


@dataclass
class Outcome:
    """The result of a run."""

    history: History
    faults: Counter[str]
    anomalies: list[Anomaly]


def run_once(folder: Path, faults: Sequence[str], seconds: float, seed: int, clients: int = _CLIENTS) -> Outcome:
    """Let clients work while things fail, restart everything, and check the answers.

    Parameters
    ----------
    folder
        An empty one, for the service's data.
    faults
        Names of FAULTS.
    seconds
        How long the clients work.
    seed
        Of all random choices. How the clients' requests meet still differs from run to run.
    clients
        How many work at once.
    """
    done: Counter[str] = Counter()
    with service_with_proxy(folder) as (target, url):
        token = (folder / "token").read_text().strip()
        with running_clients(clients, url, token, seed) as workers:
            _wait_until_it_answers(workers[0])
            with failing(target, faults, seed, done):
                work(workers, seconds)
    operations = [operation for worker in workers for operation in worker.operations]
    # Nothing from the first run continues: what has not been applied now never will be.
    with running_service(folder) as (_, url), running_clients(1, url, token, seed) as (reader,):
        history = read_end(reader, folder, operations)
    return Outcome(history, done, check(history))


@contextmanager
def running_clients(number: int, url: str, token: str, seed: int) -> Iterator[list[Client]]:
    """Yield clients that work on the same customers, and close them when the block ends."""
    directory = Directory()
    with ExitStack() as stack:
        yield [
            stack.enter_context(Client(f"s{seed}c{index}", url, token, directory, seed * 1000 + index))
            for index in range(number)
        ]


def work(workers: Sequence[Client], seconds: float) -> None:
    """Let clients work at the same time."""
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(len(workers)) as threads:
        for one in [threads.submit(worker.work_while, lambda: time.monotonic() < end) for worker in workers]:
            one.result()


def read_end(reader: Client, folder: Path, operations: list[Operation]) -> History:
    """Return a history with what is in the table now, while nobody else uses the service."""
    _wait_until_it_answers(reader)
    table: list[Json] = []
    for customer_id in sorted(ids_in_table(folder)):
        read = reader.get(customer_id)
        if read.status != 200:
            raise RuntimeError(f"the last read of customer {customer_id} was answered {read.status}")
        table += read.shown
    indexes = {(group, sort): list(reader.walk(group, sort, _PAGE)) for group in GROUPS for sort in SORTS}
    return History(operations, table, indexes)


def ids_in_table(folder: Path) -> list[int]:
    """Return the ids of all customers, without tombstones, from the table itself, not through the service."""
    client = SESSION.client("dynamodb", endpoint_url=json.loads((folder / "endpoints.json").read_text())["dynamodb"])
    with closing(client):
        name = next(table for table in client.list_tables()["TableNames"] if table.startswith("Customers"))
        pages = client.get_paginator("scan").paginate(
            TableName=name, ProjectionExpression="id", FilterExpression="attribute_exists(customer)"
        )
        return [int(item["id"]["N"]) for page in pages for item in page["Items"]]


def _wait_until_it_answers(client: Client) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if client.http.get("/api/customers/1").status_code == 404:
            return
        time.sleep(0.1)
    raise RuntimeError("the service does not answer")


@contextmanager
def service_with_proxy(folder: Path, *arguments: str) -> Iterator[tuple[Target, str]]:
    """Run the laptop cloud, with a proxy in front of its store, until the block ends. Then kill it."""
    with ExitStack() as stack:
        endpoints = folder / "endpoints.json"
        proxy = stack.enter_context(FaultProxy(lambda: str(json.loads(endpoints.read_text())["dynamodb"])))
        variables = {"FUNCTION_ENDPOINTS": json.dumps({"AWS_ENDPOINT_URL_DYNAMODB": proxy.url})}
        program = "tools.benchmarks.reliability.faulty_cloud"
        process, url = stack.enter_context(running_service(folder, *arguments, program=program, environment=variables))
        stack.callback(process.kill)
        yield Target(process.pid, proxy), url


@contextmanager
def failing(target: Target, faults: Sequence[str], seed: int, done: Counter[str]) -> Iterator[None]:
    """Let things fail while the block runs."""
    over = threading.Event()
    with ThreadPoolExecutor(max(len(faults), 1)) as threads:
        running = [threads.submit(FAULTS[name], target, random.Random(f"{seed} {name}"), over, done) for name in faults]
        try:
            yield
        finally:
            over.set()
        for one in running:
            one.result()


def run(seconds: float, seed: int, say: Callable[[str], None]) -> tuple[str, bool]:
    """Run once with each kind of fault, and once with all of them.

    Returns
    -------
    tuple[str, bool]
        A table, and whether no anomaly was found.
    """
    runs = {**{name: [name] for name in FAULTS}, "all": list(FAULTS)}
    outcomes: dict[str, Outcome] = {}
    for name, faults in runs.items():
        say(f"history with {name}, seed {seed}: {seconds:.0f} s")
        with tempfile.TemporaryDirectory() as folder:
            outcomes[name] = run_once(Path(folder), faults, seconds, seed)
        for anomaly in outcomes[name].anomalies:
            print(anomaly, file=sys.stderr)
    columns = [_column(outcome) for outcome in outcomes.values()]
    rows = [
        ("clients, seconds, seed", [f"{_CLIENTS}, {seconds:.0f}, {seed}"] * len(columns)),
        *((label, [column[label] for column in columns]) for label in columns[0]),
    ]
    lines = [f"| | {' | '.join(outcomes)} |", f"| --- |{' --- |' * len(columns)}"]
    lines += [f"| {label} | {' | '.join(cells)} |" for label, cells in rows]
    return "\n".join(lines), not any(outcome.anomalies for outcome in outcomes.values())


def _column(outcome: Outcome) -> dict[str, str]:
    operations = outcome.history.operations
    statuses = Counter(str(operation.status or "no answer") for operation in operations)
    kinds = Counter(anomaly.what for anomaly in outcome.anomalies)
    return {
        "faults": counts(outcome.faults),
        "operations": f"{len(operations):,}",
        "answers": counts(statuses),
        "writes of unknown outcome": f"{sum(one.unknown and one.kind not in {'get', 'list'} for one in operations):,}",
        "anomalies": counts(kinds) or "0",
    }


def counts(counter: Counter[str]) -> str:
    """Return counts as a table cell."""
    return ", ".join(f"{number:,} × {what}" for what, number in sorted(counter.items()))
