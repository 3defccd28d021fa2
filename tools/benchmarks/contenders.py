"""What is compared: our functions and their peers, as `sam build` makes them, on one engine."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from py_compile import PycInvalidationMode
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import boto3

from customers.store.author import Author
from customers.store.customers import CustomerStore
from customers.store.tokens import TokenStore
from customers.tokens import SCOPES, token_hash, token_in
from tools.benchmarks.engine import running_engine
from tools.benchmarks.runtime import Package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from customers.customer import NewCustomer
    from local.template.stack import Stack

ROOT: Final = Path(__file__).parents[2]
PEERS: Final = ROOT / "tools" / "benchmarks" / "peers"
GROUP: Final = 7
"""A group of a thousand customers."""
KNOWN: Final = "123"
"""The customer that the events are about."""

BEFORE: Final = ", before"
_AUTHOR: Final = Author("benchmark")

type Event = Callable[[], bytes]


class Contender(NamedTuple):
    """A function, and the event it gets."""

    package: Package
    event: Event


@contextmanager
def contenders(before: Path | None = None) -> Iterator[dict[str, Contender]]:
    """Build all functions, fill an engine, and keep it running until the block ends.

    Parameters
    ----------
    before
        Another checkout of the project. Its functions are measured too, as `…, before`.
    """
    with TemporaryDirectory() as folder, running_engine() as (endpoint, stack):
        built = Path(folder)
        sam_build(ROOT / "template.yaml", built / "ours")
        sam_build(PEERS / "template.yaml", built / "peers")
        if before is not None:
            sam_build(before / "template.yaml", built / "before")
        yield _contenders(built, endpoint, stack)


def sam_build(template: Path, folder: Path) -> None:
    """Build a template for this machine, as a plain `sam build` does. Unchanged parts come from sam's cache."""
    architecture = "arm64" if os.uname().machine in {"aarch64", "arm64"} else "x86_64"
    command = ["sam", "build", "--template-file", str(template), "--build-dir", str(folder)]
    command += ["--cached", "--cache-dir", str(ROOT / ".aws-sam" / "cache")]
    command += ["--parameter-overrides", f"Architecture={architecture}"]
    tools = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, text=True, capture_output=True)  # noqa: S603
    if done.returncode:
        sys.exit(done.stderr)


def _contenders(built: Path, endpoint: str, stack: Stack) -> dict[str, Contender]:
    table = stack.functions["GetCustomer"].environment["CUSTOMERS_TABLE"]

    def peer(name: str, event: Event, module: str = "app") -> Contender:
        variables = {"AWS_ENDPOINT_URL": endpoint, "CUSTOMERS_TABLE": table}
        return Contender(Package(name, f"{module}.lambda_handler", built / "peers" / name, None, variables), event)

    get, post = _event("get_customer/valid"), _event("create_customers/one")
    plain = {
        "no-op": peer("NoOp", get),
        "boto3 get": peer("Boto3Get", get, "get"),
        "boto3 put": peer("Boto3Put", post, "put"),
        "boto3 query": peer("Boto3Query", _page_event(1000), "query"),
        "Flask": peer("Flask", get),
        "Powertools": peer("Powertools", get),
        "FastAPI": peer("FastApi", get),
    }
    compiled = {
        f"{name}, bytecode": plain[name]._replace(package=_compiled(plain[name].package))
        for name in ("boto3 get", "Flask", "Powertools", "FastAPI")
    }
    customers = fill(endpoint, stack)
    all_ = plain | compiled | _ours(built / "ours", endpoint, stack, customers)
    if (built / "before").exists():
        ours = _ours(built / "before", endpoint, stack, customers)
        all_ |= {f"{name}{BEFORE}": contender for name, contender in ours.items()}
    return all_


def _ours(built: Path, endpoint: str, stack: Stack, customers: _Customers) -> dict[str, Contender]:
    def ours(name: str, event: Event) -> Contender:
        declared = stack.functions[name]
        variables = {
            key: endpoint if key.startswith("AWS_ENDPOINT_URL") else value
            for key, value in declared.environment.items()
        }
        layer = built / "CustomersLayer" / "python"
        return Contender(Package(name, declared.handler, built / name, layer, variables), event)

    return {
        "authorizer": ours("Authorize", _event("authorize/valid")),
        "GET": ours("GetCustomer", _event("get_customer/valid")),
        "DELETE": ours("DeleteCustomer", customers.one_to_delete),
        "page of 100": ours("ListGroup", _page_event(100)),
        "page of 1,000": ours("ListGroup", _page_event(1000)),
        "PATCH": ours("UpdateCustomer", _event("update_customer/valid")),
        "POST": ours("CreateCustomers", _event("create_customers/one")),
        "PUT": ours("PutCustomer", _event("put_customer/valid")),
    }


def _compiled(package: Package) -> Package:
    """Return a copy of a package with bytecode that is always used."""
    folder = package.folder.with_name(f"{package.name}-compiled")
    shutil.copytree(package.folder, folder)
    compileall.compile_dir(folder, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    return Package(package.name, package.handler, folder, package.layer, package.environment)


def _event(name: str, **changes: Any) -> Event:  # noqa: ANN401 (JSON)
    content = json.loads((ROOT / "events" / f"{name}.json").read_text(encoding="utf-8"))
    data = json.dumps(content | changes).encode()
    return lambda: data


def _page_event(limit: int) -> Event:
    return _event(
        "list_group/valid",
        pathParameters={"group_id": str(GROUP)},
        queryStringParameters={"limit": str(limit), "age": "true"},
        multiValueQueryStringParameters={"limit": [str(limit)], "age": ["true"]},
    )


class _Customers:
    """The customers of the engine's table."""

    def __init__(self, client: Any, table: str, example: dict[str, Any]) -> None:  # noqa: ANN401
        self._client, self._table, self._example = client, table, example
        self._deleted = 0

    def put(self, customer_id: str, group_id: str) -> None:
        item = {**self._example, "id": {"N": customer_id}, "group_id": {"N": group_id}}
        self._client.put_item(TableName=self._table, Item=item)

    def one_to_delete(self) -> bytes:
        """Create a customer, and return the event that deletes it."""
        self._deleted += 1
        customer_id = str(10**9 + self._deleted)
        self.put(customer_id, "2")
        return _event("delete_customer/valid", pathParameters={"customer_id": customer_id})()


def fill(endpoint: str, stack: Stack) -> _Customers:
    """Put a thousand customers, the customer of the events, and the events' token into an empty engine."""
    client = boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 (placeholders that the engine does not check)
    )
    table = stack.functions["GetCustomer"].environment["CUSTOMERS_TABLE"]
    store = CustomerStore(client, table)
    for start in range(0, 1000, 100):
        created = store.create([_new(number) for number in range(start, start + 100)], _AUTHOR)
    key: Any = {"id": {"N": str(created[0]["id"])}}
    customers = _Customers(client, table, client.get_item(TableName=table, Key=key)["Item"])
    customers.put(KNOWN, "1")
    token = token_in(json.loads(_event("authorize/valid")())["authorizationToken"])
    if token is None:
        sys.exit("events/authorize/valid.json holds no token")
    tokens = TokenStore(client, stack.functions["Authorize"].environment["TOKENS_TABLE"])
    tokens.put(token_hash(token), SCOPES, "benchmark", None)
    return customers


def _new(number: int) -> NewCustomer:
    return {
        "first_name": f"First{number:04d}",
        "last_name": f"Last{number * 7919 % 1000:04d}",
        "email": f"person.{number:06d}@example.com",
        "group_id": GROUP,
        "age": number % 90 + 10,
    }
