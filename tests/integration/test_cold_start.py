"""What each function loads as `sam build` makes it, in its own process, with only its package and the layer."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from customers.aws import cold_start

if TYPE_CHECKING:
    from local.template.stack import Stack

pytestmark = pytest.mark.cloud

ROOT: Final = Path(__file__).parents[2]

CLIENT: Final = """
import sys
import botocore.session
from botocore.exceptions import ClientError
client = botocore.session.get_session().create_client("dynamodb")
try:
    client.get_item(TableName="none", Key={"id": {"N": "1"}})
except ClientError:
    print(*sys.modules)
"""
"""What every program needs that calls DynamoDB with botocore."""

FUNCTION: Final = """
import gc, json, sys
from types import SimpleNamespace
before = sum(generation["collections"] for generation in gc.get_stats())
import app
looks = sum(generation["collections"] for generation in gc.get_stats()) - before
from customers.aws.cold_start import Late
context = SimpleNamespace(get_remaining_time_in_millis=lambda: 15_000)
collector = looks, gc.isenabled(), gc.get_freeze_count()
try:
    answer = app.lambda_handler(json.loads(sys.argv[1]), context)
except Exception as error:
    answer = str(error)
print()
late = [name for name, module in sys.modules.items() if isinstance(module, Late)]
print(json.dumps([answer, late, list(sys.modules), *collector]))
"""

OURS: Final = frozenset(
    {"app", "customers", "customers.aws", "customers.aws.cold_start", "customers.errors", "gc", "secrets"}
)
STORE: Final = OURS | {"customers.aws.dynamodb", "customers.aws.session", "customers.store"}
ITEMS: Final = {
    "customers._compiled",
    "customers.fields",
    "customers.ids",
    "customers.store.items",
    "customers.store.sorting",
}
HTTP_ALONE: Final = {
    "customers.http", *(f"customers.http.{name}" for name in ("endpoint", "entity_tags", "problems", "request")),
}  # fmt: skip
LOGS: Final = {"aws_lambda_powertools", "customers.logs"}
HTTP: Final = STORE | ITEMS | LOGS | HTTP_ALONE | {"customers.store.author"}
CUSTOMERS: Final = HTTP | {"customers.store.customers", "customers.store.table"}
EXTERNAL_IDS: Final = {"customers.store.external_ids", "customers.store.identity", "customers.store.table"}
WALK: Final = {
    "customers.http.cursor",
    "customers.http.addresses",
    "customers.http.listing",
    "customers.store.cursor_keys",
}
PAGES: Final = WALK | {"customers.store.pages"}
MODEL: Final = {
    "customers.email_address", "customers.integers", "customers.json_text", "customers.metadata", "customers.model",
    "customers.trimming", "pydantic_core",
}  # fmt: skip
IMPORTS: Final = (
    STORE
    | LOGS
    | MODEL
    | {
        "customers._compiled",
        "customers.fields",
        "customers.ids",
        "csv",
        "customers.aws.clients",
        "customers.aws.queues",
        "customers.imports",
        "customers.imports.bucket",
        "customers.imports.chunks",
        "customers.imports.files",
        "customers.imports.files.columns",
        "customers.imports.files.csv",
        "customers.imports.files.json",
        "customers.imports.files.report",
        "customers.imports.files.rows",
        "customers.imports.files.values",
        "customers.imports.messages",
        "customers.imports.run",
        "customers.imports.store",
        "customers.imports.summary",
        "customers.store.author",
        "customers.store.identity",
    }
)
READERS: Final = {
    "customers.imports.files.blocks",
    "customers.imports.files.lines",
    "customers.imports.files.mapping",
    "customers.imports.files.reader",
}

MAY_LOAD: Final = {
    "Authorize": STORE | {"customers.store.tokens", "customers.tokens"},
    "CloseImport": IMPORTS | ITEMS | EXTERNAL_IDS | {"customers.store.bulk", "customers.store.rows"},
    "CreateCustomers": CUSTOMERS | MODEL | EXTERNAL_IDS | {"customers.http.addresses", "customers.store.places"},
    "DeleteCustomer": CUSTOMERS,
    "FindCustomers": HTTP | PAGES | EXTERNAL_IDS | {"customers.email_address", "customers.trimming"},
    "GetCustomer": CUSTOMERS,
    "GetExternal": HTTP | EXTERNAL_IDS,
    "GetHistory": CUSTOMERS | WALK | {"customers.store.history"},
    "ImportCustomers": IMPORTS | ITEMS | EXTERNAL_IDS | {"customers.store.bulk", "customers.store.rows"},
    "KeepHistory": STORE | ITEMS | LOGS | {"customers.store.history"},
    "ListGroup": HTTP | PAGES,
    "PlanImport": IMPORTS | ITEMS | READERS | {"customers.imports.repeats"},
    "PublishChanges": (STORE - {"customers.aws.dynamodb", "customers.errors"})
    | ITEMS
    | LOGS
    | {"customers.aws.clients"},
    "PutCustomer": HTTP | MODEL | EXTERNAL_IDS | {"customers.http.addresses"},
    "UpdateCustomer": CUSTOMERS | MODEL,
}
"""Beyond what a bare client loads: modules of `customers`, and of others whole packages."""

ALSO_WITH_A_KEY: Final = {"boto3", "customers.http.idempotency", "customers.store.identity", "s3transfer"}
"""What a POST loads late, when it has an Idempotency-Key."""

EVENTS: Final = {
    "Authorize": "authorize/valid",
    "CloseImport": None,
    "CreateCustomers": "create_customers/valid",
    "DeleteCustomer": "delete_customer/if_match",
    "FindCustomers": "find_customers/everybody_without_export",
    "GetCustomer": "get_customer/no_such_customer",
    "GetExternal": "get_external/no_such_customer",
    "ImportCustomers": None,
    "ListGroup": "list_group/empty_group",
    "PlanImport": None,
    "PublishChanges": None,
    "GetHistory": "get_history/valid",
    "KeepHistory": None,
    "PutCustomer": "put_customer/valid",
    "UpdateCustomer": "update_customer/no_such_customer",
}

ANSWERS: Final = {
    **{name: {"batchItemFailures": []} for name in EVENTS},
    "Authorize": "Unauthorized",
    "CreateCustomers": 201,
    "FindCustomers": 403,
    "GetHistory": 404,
    "PutCustomer": 201,
    **dict.fromkeys(("DeleteCustomer", "GetCustomer", "GetExternal", "ListGroup", "UpdateCustomer"), 404),
}
"""The answer of each, or its status."""


class Start(NamedTuple):
    """The result of a function's start and of its first event."""

    answer: Any
    late: list[str]
    """Modules that it has imported but not loaded."""
    modules: set[str]
    """Beyond those of a bare client."""
    looks: int
    """How often the garbage collector ran while the function was loaded."""
    collects: bool
    """Whether it works afterwards."""
    frozen: int
    """Objects that it leaves alone."""


class Starter:
    """Starts the built functions."""

    def __init__(self, built: Path, engine: str, stack: Stack) -> None:
        self._built = built
        self._engine = engine
        self._stack = stack
        self._client = set(self._run(CLIENT, [], {}).split())

    @functools.cache  # noqa: B019 (one for all tests)
    def start(self, name: str, event: str | None) -> Start:
        """Let a function handle an event of `events/`, or for None, an event without records."""
        content = (
            '{"Records": []}' if event is None else (ROOT / "events" / f"{event}.json").read_text(encoding="utf-8")
        )
        declared = self._stack.functions[name]
        output = self._run(FUNCTION, [content], dict(declared.environment), self._built / name)
        answer, late, modules, *collector = json.loads(output.splitlines()[-1])
        return Start(answer, late, set(modules) - self._client, *collector)

    def _run(self, code: str, arguments: list[str], environment: dict[str, str], *folders: Path) -> str:
        packages = [*folders, self._built / "CustomersLayer" / "python"]
        environment |= {key: self._engine for key in environment if key.startswith("AWS_ENDPOINT_URL")}
        environment |= {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self._engine,
            "AWS_SECRET_ACCESS_KEY": "test",
            "PYTHONPATH": ":".join(map(str, packages)),
        }
        done = subprocess.run(
            [sys.executable, "-S", "-B", "-c", code, *arguments],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def starter(built: Path, engine: str, stack: Stack) -> Starter:
    return Starter(built, engine, stack)


def as_listed(modules: set[str]) -> set[str]:
    """Return our modules by name, and others by the name of their package. Python's private ones do not count."""
    named = {name if name.startswith("customers") else name.partition(".")[0] for name in modules}
    return {name for name in named if not name.startswith("_")}


def test_the_list_has_every_function(stack: Stack) -> None:
    assert MAY_LOAD.keys() == EVENTS.keys() == stack.functions.keys()


@pytest.mark.parametrize("name", MAY_LOAD)
def test_a_function_loads_nothing_outside_its_list(starter: Starter, name: str) -> None:
    start = starter.start(name, EVENTS[name])
    # It ran to the end, with everything that it loads late.
    assert start.answer == ANSWERS[name] or start.answer["statusCode"] == ANSWERS[name]
    assert as_listed(start.modules) - MAY_LOAD[name] == set()
    # And the list has no more than the function needs.
    assert {module for module in MAY_LOAD[name] if module.startswith("customers")} <= start.modules


@pytest.mark.parametrize("name", ["Authorize", "CreateCustomers", "GetCustomer"])
def test_what_is_loaded_late_is_not_loaded_by_a_request(starter: Starter, name: str) -> None:
    assert starter.start(name, EVENTS[name]).late == list(cold_start.LATE)


def test_a_key_costs_only_who_sends_one(starter: Starter) -> None:
    start = starter.start("CreateCustomers", "create_customers/idempotency_key")
    assert start.answer["statusCode"] == 201
    assert as_listed(start.modules) >= ALSO_WITH_A_KEY
    assert not as_listed(start.modules) & {"asyncio", "dns", "email_validator", "pydantic", "sqlite3"}


@pytest.mark.parametrize("name", MAY_LOAD)
def test_the_collector_rests_during_the_start_and_leaves_alone_what_it_made(starter: Starter, name: str) -> None:
    start = starter.start(name, EVENTS[name])
    assert start.looks <= 5
    assert start.collects
    assert start.frozen > 40_000
