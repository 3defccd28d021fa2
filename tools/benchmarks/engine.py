"""An empty local engine with the template's tables, and what calls to it consume."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.services.engine import Engine
from local.services.tables import create_tables
from local.template.document import Template
from local.template.stack import Stack, read_stack

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def running_engine() -> Iterator[tuple[str, Stack]]:
    """Run an engine until the block ends. Yield its URL, and the stack whose tables it holds."""
    stack = read_stack(Template(Path("template.yaml"), {}, stack_id="benchmark"))
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Path("node_modules"), Path(folder) / "tables.sqlite", Path(folder) / "log")
        try:
            create_tables(engine.endpoint, stack.tables)
            yield engine.endpoint, stack
        finally:
            engine.close()


class Meter:
    """Counts the requests of a DynamoDB client, and the capacity units that they consume."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 (any service's client has events)
        self._requests = 0
        self._units = 0.0
        client.meta.events.register("provide-client-params.dynamodb", self._ask)
        client.meta.events.register("before-send.dynamodb", self._count)
        client.meta.events.register("after-call.dynamodb", self._add)

    def take(self) -> tuple[int, float]:
        """Return the requests and units since the last call."""
        taken = self._requests, self._units
        self._requests, self._units = 0, 0.0
        return taken

    def _ask(self, params: dict[str, Any], **_: object) -> None:
        params["ReturnConsumedCapacity"] = "TOTAL"

    def _count(self, **_: object) -> None:
        self._requests += 1

    def _add(self, parsed: dict[str, Any], **_: object) -> None:
        consumed = parsed.get("ConsumedCapacity", [])
        for one in consumed if isinstance(consumed, list) else [consumed]:
            self._units += one["CapacityUnits"]
