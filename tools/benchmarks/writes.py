"""What each write costs in requests to the store and in capacity units, and a read by external id.

Run as `make bench-writes`. The functions' own code runs on the real engine; the units are the engine's. It writes its
table into docs/api.md.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from tools.benchmarks.contenders import ROOT
from tools.benchmarks.engine import Meter, running_engine
from tools.benchmarks.report import replace_part, table
from tools.modules import module_at

if TYPE_CHECKING:
    from local.template.stack import Stack

JOHN = {"first_name": "John", "last_name": "Doe", "email": "john.doe@example.com", "group_id": 1}


class Context:
    """As much of Lambda's context as the functions use."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the time left: as much as a function has."""
        return 15_000


class Function:
    """A function of the stack, in this process, with a meter on its client."""

    def __init__(self, stack: Stack, name: str, endpoint: str) -> None:
        function = stack.functions[name]
        os.environ.update(function.environment)
        os.environ.update(dict.fromkeys(("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"), endpoint))
        os.environ.update(dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "local"))
        os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
        # The functions log each request, which would drown the table here.
        os.environ["AWS_LAMBDA_LOG_LEVEL"] = "ERROR"
        module = module_at(function.code / "app.py")
        self._handler = module.lambda_handler
        self._meter = Meter(module.store._table.client)  # noqa: SLF001 (the meter goes where the requests are made)

    def call(self, method: str, path: str, body: object, **headers: str) -> tuple[dict[str, Any], int, float]:
        """Return the answer's body, the requests and the write units."""
        path, _, query = path.partition("?")
        event = {
            "resource": path,
            "path": path,
            "httpMethod": method,
            "multiValueHeaders": {name.replace("_", "-"): [value] for name, value in headers.items()},
            "multiValueQueryStringParameters": {query.partition("=")[0]: [query.partition("=")[2]]} if query else None,
            "pathParameters": dict.fromkeys(("customer_id", "external_id"), path.rsplit("/", 1)[1]),
            "requestContext": {"requestId": "benchmark", "path": path, "authorizer": {"token_id": "benchmark"}},
            "body": json.dumps(body),
        }
        self._meter.take()
        answer = self._handler(event, Context())
        if answer["statusCode"] not in {200, 201}:
            sys.exit(f"{method} {path} answers {answer['statusCode']}: {answer['body']}")
        return json.loads(answer["body"]), *self._meter.take()


def main() -> None:
    """Measure, and write the table down."""
    with running_engine() as (endpoint, stack):
        create = Function(stack, "CreateCustomers", endpoint)
        update = Function(stack, "UpdateCustomer", endpoint)
        delete = Function(stack, "DeleteCustomer", endpoint)
        put = Function(stack, "PutCustomer", endpoint)
        get = Function(stack, "GetExternal", endpoint)
        hundred = {"customers": [JOHN] * 100}
        one = "/api/customers/"
        many = "/api/customers/?size=list"
        john, *plain_one = create.call("POST", one, JOHN)
        path = f"/api/customers/{john['id']}"
        # The first one makes the salt of external ids, and each function reads it once.
        put.call("PUT", "/api/customers/external/first", JOHN)
        get.call("GET", "/api/customers/external/first", None)
        external = "/api/customers/external/second"
        rows = [
            ("create one", plain_one),
            ("create one, with a key", create.call("POST", one, JOHN, Idempotency_Key="a")[1:]),
            ("the same again", create.call("POST", one, JOHN, Idempotency_Key="a")[1:]),
            ("create 100", create.call("POST", many, hundred)[1:]),
            ("create 100, with a key", create.call("POST", many, hundred, Idempotency_Key="b")[1:]),
            ("the same again", create.call("POST", many, hundred, Idempotency_Key="b")[1:]),
            ("change a name", update.call("PATCH", path, {"first_name": "Jane"})[1:]),
            ("change the group", update.call("PATCH", path, {"group_id": 2})[1:]),
            ("delete", delete.call("DELETE", path, None)[1:]),
            ("PUT: create", put.call("PUT", external, JOHN)[1:]),
            ("PUT: the same again", put.call("PUT", external, JOHN)[1:]),
            ("PUT: change a name", put.call("PUT", external, JOHN | {"first_name": "Jane"})[1:]),
            ("PUT: change the group", put.call("PUT", external, JOHN | {"first_name": "Jane", "group_id": 2})[1:]),
            ("GET by external id", get.call("GET", external, None)[1:]),
        ]
    text = table(
        ("", "requests to the store", "units"),
        [(name, str(requests), f"{units:g}") for name, (requests, units) in rows],
    )
    print(text)
    replace_part(ROOT / "docs" / "api.md", "writes", text)


if __name__ == "__main__":
    main()
