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

    def __init__(self, client: Any) -> None:  # noqa: ANN401 (it has more than its type says)
        self._requests = 0
        self._units = 0.0
        # All methods lead there, also those of the layer's own client.
        self._call = client._make_api_call  # noqa: SLF001
        client._make_api_call = self._metered  # noqa: SLF001

    def take(self) -> tuple[int, float]:
        """Return the requests and units since the last call."""
        taken = self._requests, self._units
        self._requests, self._units = 0, 0.0
        return taken

    def _metered(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._requests += 1
        answer: dict[str, Any] = self._call(operation, {**parameters, "ReturnConsumedCapacity": "TOTAL"})
        consumed = answer.get("ConsumedCapacity", [])
        for one in consumed if isinstance(consumed, list) else [consumed]:
            self._units += one["CapacityUnits"]
        return answer
