"""What happens to an import while a service that it calls fails: each stage, each service, each fault."""

from __future__ import annotations

import random
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from botocore.config import Config

from customers.aws import clients, dynamodb
from customers.imports import chunks as chunks_module
from local.services.aws import Services
from local.services.engine import Engine
from local.services.tables import create_tables
from local.template.document import Template
from local.template.stack import read_stack
from tests.integration.import_cloud import ImportCloud, Message
from tools.benchmarks.reliability.fault_proxy import Fault, FaultProxy
from tools.benchmarks.reliability.requests import Cell
from tools.benchmarks.reliability.trials import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ROWS: Final = 150
_BAD: Final = 1
_CHUNK: Final = 60
_ENOUGH: Final = 10
"""Deliveries after which an import must be finished, once nothing fails any more."""

STAGES: Final = {
    "plan_import": ("store", "bucket", "queue", "bus"),
    "import_customers": ("store", "bucket", "bus"),
    "close_import": ("store", "bucket", "bus"),
}
"""What each function calls."""

_VARIABLES: Final = {
    "store": "AWS_ENDPOINT_URL_DYNAMODB",
    "bucket": "AWS_ENDPOINT_URL_S3",
    "queue": "AWS_ENDPOINT_URL_SQS",
    "bus": "AWS_ENDPOINT_URL_EVENTBRIDGE",
}


class FaultyImportCloud(ImportCloud):
    """The functions of imports, with a proxy in front of each service that they call."""

    proxies: dict[str, FaultProxy]

    def run_stage(self, stage: str, service: str, fault: Fault, *, always: bool) -> Verdict:
        """Run one import in which a fault hits one invocation of a stage, and check the result."""
        group_id, name = random.randrange(1, 2**53), str(uuid4())
        rows = [f"Jo{number},Doe,jo{number}@example.com,{group_id}\n" for number in range(_ROWS)]
        rows[7] = ",,nobody,\n"
        self.put(f"imports/{name}", b"first_name,last_name,email,group_id\n" + "".join(rows).encode())
        rejected = _BAD
        (message,) = self.take("PlanQueue")
        if stage != "plan_import":
            self.deliver(message)
            message, *others = self.take("ChunkQueue")
            for other in others:
                self.deliver(other)
        if stage == "close_import":
            message = message._replace(queue="ChunkDeadLetters")
            rejected = _CHUNK
        self._hit(message, service, fault, always=always)
        # Delivery is at least once: it is repeated even if the first run seemed to succeed.
        self._deliver_until_done(message)
        self.run()
        self.events()
        ids = [item["id"]["N"] for item in self.group(group_id)]
        created = _ROWS - rejected
        summary = self.summary(name)
        counts = [summary[key] for key in ("rows", "created", "already_there", "rejected")]
        return Verdict(
            lost=len(set(ids)) < created,
            doubled=len(ids) > created,
            wrong="" if counts == [_ROWS, created, 0, rejected] else f"counts {counts}",
        )

    def _hit(self, message: Message, service: str, fault: Fault, *, always: bool) -> None:
        proxy = self.proxies[service]
        proxy.spoil(fault, one_in=1 if always else 3)
        try:
            self.invoke(message)
        finally:
            proxy.heal()

    def _deliver_until_done(self, message: Message) -> None:
        for _ in range(_ENOUGH):
            if self.invoke(message)[0]:
                return


@contextmanager
def running_import_cloud() -> Iterator[FaultyImportCloud]:
    """Run engine, services and proxies until the block ends. The clients' time limits are short, to save hours."""
    with ExitStack() as block:
        folder = Path(block.enter_context(tempfile.TemporaryDirectory()))
        engine = Engine(Path("node_modules"), None, folder / "engine.log")
        block.callback(engine.close)
        services = Services(folder / "services.log", folder / "events.jsonl")
        block.callback(services.close)
        services.wait_until_ready()
        stack = read_stack(Template(Path("template.yaml"), {}, stack_id="reliability"))
        create_tables(engine.endpoint, stack.tables)
        proxies = {
            name: block.enter_context(
                FaultProxy(partial(str, engine.endpoint if name == "store" else services.endpoint))
            )
            for name in _VARIABLES
        }
        short = Config(connect_timeout=1, read_timeout=1)
        for module in (clients, dynamodb):
            module._CONFIG = module._CONFIG.merge(short)  # type: ignore[attr-defined]  # noqa: SLF001 (so that a fault takes seconds, not minutes)
        chunks_module._ROWS = _CHUNK  # type: ignore[misc]  # noqa: SLF001 (so that a small file has several)
        endpoints = {variable: proxies[name].url for name, variable in _VARIABLES.items()}
        cloud = FaultyImportCloud(
            engine.endpoint, services.endpoint, stack, {"AWS_ENDPOINT_URL": services.endpoint, **endpoints}
        )
        cloud.proxies = proxies
        # S3 sends a test event first.
        cloud.run()
        yield cloud


def matrix(cloud: FaultyImportCloud, faults: Sequence[Fault], trials: int) -> Iterator[tuple[str, Fault, bool, Cell]]:
    """Run every stage with every fault of every service that it calls."""
    for stage, used in STAGES.items():
        for service in used:
            for fault in faults:
                for always in (True, False):
                    cell = Cell()
                    before = cloud.proxies[service].spoilt.total()
                    for _ in range(trials):
                        started = time.monotonic()
                        cell.verdicts.append(cloud.run_stage(stage, service, fault, always=always))
                        cell.slowest = max(cell.slowest, time.monotonic() - started)
                    cell.spoilt = cloud.proxies[service].spoilt.total() - before
                    yield f"{stage}: {service}", fault, always, cell
