"""What a start costs, in instructions: the same number each time, however busy the machine, unlike milliseconds.

They follow the processor time of docs/performance.md closely, so that what makes starts slower is seen before it is
merged. The floor is a bare boto3 handler, with the bytecode that a plain `sam build` would not even give it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from customers.store.customers import CustomerStore
from customers.store.tokens import TokenStore
from customers.tokens import SCOPES, token_hash
from local.runtime.layer_packages import installed_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from customers.customer import NewCustomer
    from local.template.stack import Stack

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not to be had on this machine"),
]

ROOT: Final = Path(__file__).parents[2]

NEW: Final[NewCustomer] = {
    "first_name": "John",
    "last_name": "Doe",
    "email": "john.doe@example.com",
    "group_id": 1,
    "age": 42,
}

# Without the end of the process, which nobody waits for in Lambda.
PROGRAM: Final = """
import importlib, json, os, sys
from types import SimpleNamespace
handler = importlib.import_module(sys.argv[1]).lambda_handler
context = SimpleNamespace(get_remaining_time_in_millis=lambda: 15_000)
with open(sys.argv[2]) as event:
    answer = handler(json.load(event), context)
print(answer.get("statusCode", 200), flush=True)
os._exit(0)
"""

STATUSES: Final = {"GetCustomer": "200", "CreateCustomers": "201", "Authorize": "200"}


@pytest.fixture
def _customer_and_token(dynamodb: DynamoDBClient, stack: Stack) -> Iterator[None]:
    """Keep the customer and the token that the events are about."""
    customers = stack.functions["GetCustomer"].environment["CUSTOMERS_TABLE"]
    tokens = stack.functions["Authorize"].environment["TOKENS_TABLE"]
    token = json.loads((ROOT / "events/authorize/valid.json").read_text())["authorizationToken"].split()[-1]
    (new,) = CustomerStore(dynamodb, customers).create([NEW])
    item = dynamodb.get_item(TableName=customers, Key={"id": {"N": str(new["id"])}})["Item"]
    dynamodb.put_item(TableName=customers, Item={**item, "id": {"N": "123"}})
    TokenStore(dynamodb, tokens).put(token_hash(token), SCOPES, "events", None)
    yield
    dynamodb.delete_item(TableName=customers, Key={"id": {"N": "123"}})
    dynamodb.delete_item(TableName=tokens, Key={"token_hash": {"S": token_hash(token)}})


@pytest.mark.usefixtures("_customer_and_token")
def test_starts_stay_as_short_as_they_are(built: Path, engine: str, stack: Stack, tmp_path: Path) -> None:
    full = installed_packages(ROOT / "layers" / "customers")
    assert full is not None
    layer = built / "CustomersLayer" / "python"

    def count(name: str, module: str, event: str, *folders: Path) -> int:
        environment = {
            key: engine if key.startswith("AWS_ENDPOINT_URL") else value
            for key, value in stack.functions[name].environment.items()
        }
        environment |= {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_SECRET_ACCESS_KEY": "test",
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": ":".join(map(str, folders)),
        }
        counts = tmp_path / f"{module}-{name}"
        # It counts the same as callgrind, in two thirds of the time.
        command = ["valgrind", "-q", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={counts}"]
        command += [sys.executable, "-S", "-B", "-c", PROGRAM, module, str(ROOT / "events" / f"{event}.json")]
        done = subprocess.run(
            command,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.stdout.splitlines()[-1] == STATUSES[name], done.stdout + done.stderr
        found = re.search(r"^summary: (\d+)$", counts.read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1])

    jobs: dict[str, Callable[[], int]] = {
        "boto3": lambda: count(
            "GetCustomer", "get", "get_customer/valid", ROOT / "tools" / "benchmarks" / "peers" / "boto3", full
        ),
        "POST": lambda: count("CreateCustomers", "app", "create_customers/one", built / "CreateCustomers", layer),
        "authorizer": lambda: count("Authorize", "app", "authorize/valid", built / "Authorize", layer),
    }
    with ThreadPoolExecutor(2) as threads:
        counts = dict(zip(jobs, threads.map(lambda job: job(), jobs.values()), strict=True))
    ratios = {name: round(counts[name] / counts["boto3"], 3) for name in jobs}
    # POST loads all that the other endpoints do.
    assert ratios["POST"] <= 0.78
    assert ratios["authorizer"] <= 0.65
