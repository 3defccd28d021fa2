"""Writes are repeated after every failure that can hit any call from a function to the store."""

from __future__ import annotations

import dataclasses
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from local.errors import FunctionCrashedError, FunctionTimeoutError
from local.runtime.functions import FunctionPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from local.template.stack import Stack

# The laptop cloud starts the functions, and ends them.
pytestmark = pytest.mark.cloud

FAULTS = ("kill before", "kill after", "hang before", "hang after", "lost request", "lost answer", "outage")
LOSSES = ("lost request", "lost answer")
JOHN = {"first_name": "John", "last_name": "Doe", "email": "john.doe@example.com"}
LONG_ENOUGH = 15.0
SOON_OVER = 2.0
"""Seconds. If a request died, its key is free again when the request's time is over, so a test waits that long."""
PATIENCE = 120

type CallerFactory = Callable[..., Caller]


class Caller:
    """Calls one function in its own processes, as the gateway does, and can inject a fault."""

    def __init__(self, pool: FunctionPool, folder: Path) -> None:
        self._pool = pool
        self._folder = folder

    def call(
        self, event: dict[str, Any], kind: str | None = None, at: int = 0
    ) -> tuple[dict[str, Any] | None, list[str]]:
        """Return the answer (None if the function died or ran out of time), and the calls that it made to the store."""
        calls_file = self._folder / str(uuid4())
        calls_file.touch()
        fault = {"kind": kind, "call": at, "calls_file": str(calls_file)}
        try:
            answer = json.loads(self._pool.invoke(json.dumps({**event, "fault": fault}).encode(), PATIENCE))
        except (FunctionCrashedError, FunctionTimeoutError):
            answer = None
        return answer, calls_file.read_text().split()

    def call_until_answered(self, event: dict[str, Any]) -> dict[str, Any]:
        """Repeat a call as a client does: while the first one may still be running, and after a 5xx."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer, _ = self.call(event)
            if answer is not None and answer["statusCode"] not in {409, 503}:
                return answer
            assert time.monotonic() < deadline
            # On a busy machine, even a call without a fault can run out of this short time. Then there is no answer.
            assert answer is None or answer["headers"]["Retry-After"] == "1"


@pytest.fixture(scope="module")
def caller(engine: str, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CallerFactory]:
    pools: dict[tuple[str, float], FunctionPool] = {}
    folder = tmp_path_factory.mktemp("calls")

    def make(name: str, timeout: float = LONG_ENOUGH) -> Caller:
        if (name, timeout) not in pools:
            real = stack.functions[name]
            faulty = dataclasses.replace(
                real,
                code=Path(__file__).with_name("faulty"),
                timeout=timeout,
                environment={**real.environment, "REAL_CODE": str(real.code)},
            )
            endpoints = {"AWS_ENDPOINT_URL": engine, "AWS_ENDPOINT_URL_DYNAMODB": engine}
            pools[name, timeout] = FunctionPool(faulty, endpoints, folder)
        return Caller(pools[name, timeout], folder)

    yield make
    for pool in pools.values():
        pool.close()


def _event(method: str, path: str, body: Any, headers: dict[str, str], query: dict[str, str]) -> dict[str, Any]:
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} or None,
        "pathParameters": {"customer_id": path.rsplit("/", 1)[1]},
        "requestContext": {"requestId": str(uuid4()), "path": path, "authorizer": {"token_id": "a-token"}},
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


def _create(group_id: int, size: int, query: dict[str, str], key: str | None = None) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [{**JOHN, "group_id": group_id, "age": number} for number in range(size)]
    if query.get("on_error") == "keep":
        rows[0] = {}
    body = {"customers": rows} if "size" in query else rows[0]
    return _event("POST", "/api/customers", body, {"Idempotency-Key": key or str(uuid4())}, query)


def _group(dynamodb: DynamoDBClient, group_id: int) -> list[int]:
    answer = dynamodb.query(
        TableName="CustomersTable",
        IndexName="group-by-age",
        KeyConditionExpression="group_id = :group",
        ExpressionAttributeValues={":group": {"N": str(group_id)}},
    )
    return [int(item["id"]["N"]) for item in answer["Items"]]


def _new_group() -> int:
    return random.randrange(1, 2**53)


KINDS: dict[str, tuple[int, dict[str, str]]] = {
    "one": (1, {}),
    "list": (100, {"size": "list"}),
    "list, keep": (100, {"size": "list", "on_error": "keep"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeated_create_creates_once_whatever_failed(
    kind: str, caller: CallerFactory, dynamodb: DynamoDBClient
) -> None:
    create = caller("CreateCustomers", SOON_OVER)
    size, query = KINDS[kind]
    written = size - 1 if "on_error" in query else size
    # Without a fault, and without the short time limit, which a start alone can use up on a busy machine.
    quiet, calls = caller("CreateCustomers").call(_create(_new_group(), size, query))
    assert quiet is not None
    assert len(calls) >= 3, "the answer is kept: one call before and one after the write itself"

    def survive(fault: str, at: int) -> str | None:
        group_id = _new_group()
        event = _create(group_id, size, query)
        first, _ = create.call(event, fault, at)
        answer = first if first is not None and first["statusCode"] < 500 else create.call_until_answered(event)
        if answer["statusCode"] != quiet["statusCode"]:
            return f"{fault} at call {at} ({calls[at]}): {answer['statusCode']}"
        again, _ = create.call(event)
        ids = _group(dynamodb, group_id)
        body = json.loads(answer["body"])
        shown = (
            [body]
            if kind == "one"
            else body.get("customers") or [row["customer"] for row in body["results"] if row["status"] == 201]
        )
        problems = {
            "rows": len(ids) != written,
            "shown": sorted(row["id"] for row in shown) != sorted(ids) or {row["version"] for row in shown} != {1},
            "replay": again is None
            or again["body"] != answer["body"]
            or "Idempotency-Replayed" not in again["headers"],
        }
        return f"{fault} at call {at} ({calls[at]}): {problems}, {len(ids)} rows" if any(problems.values()) else None

    cases = [(fault, at) for fault in FAULTS for at in range(len(calls))]
    with ThreadPoolExecutor(8) as threads:
        failures = [failure for failure in threads.map(lambda case: survive(*case), cases) if failure]
    assert not failures


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", LOSSES)
def test_a_create_without_a_key_is_reported_as_it_is(
    kind: str, fault: str, caller: CallerFactory, dynamodb: DynamoDBClient
) -> None:
    size, query = KINDS[kind]
    group_id = _new_group()
    event = _create(group_id, size, query)
    event["multiValueHeaders"] = None
    answer, calls = caller("CreateCustomers").call(event, fault)
    assert answer is not None
    if kind == "one":
        # If the request was lost, nothing shows that a customer was created, and the request might still arrive.
        assert calls == ["PutItem", "GetItem"]
        assert answer["statusCode"] == (503 if fault == "lost request" else 201)
        assert len(_group(dynamodb, group_id)) == (0 if fault == "lost request" else 1)
    else:
        # DynamoDB recognizes a transaction that is repeated.
        assert calls == ["TransactWriteItems", "TransactWriteItems"]
        assert answer["statusCode"] == (207 if "on_error" in query else 201)
        assert len(_group(dynamodb, group_id)) == (size - 1 if "on_error" in query else size)


@pytest.mark.parametrize("if_match", [None, '"1"'])
def test_a_patch_whose_response_was_lost_is_applied_once_and_reported_as_a_success(
    if_match: str | None, caller: CallerFactory
) -> None:
    created = caller("CreateCustomers").call_until_answered(_create(_new_group(), 1, {}))
    path = created["headers"]["Location"]
    headers = {} if if_match is None else {"If-Match": if_match}
    answer, calls = caller("UpdateCustomer").call(_event("PATCH", path, {"age": 40}, headers, {}), "lost answer")
    assert calls == ["UpdateItem", "GetItem"]
    assert answer is not None
    assert answer["statusCode"] == 200
    assert (json.loads(answer["body"])["age"], answer["headers"]["ETag"]) == (40, '"2"')


@pytest.mark.parametrize("if_match", [None, '"1"'])
def test_a_patch_that_may_not_have_arrived_is_reported_as_unknown(if_match: str | None, caller: CallerFactory) -> None:
    created = caller("CreateCustomers").call_until_answered(_create(_new_group(), 1, {}))
    path = created["headers"]["Location"]
    headers = {} if if_match is None else {"If-Match": if_match}
    answer, calls = caller("UpdateCustomer").call(_event("PATCH", path, {"age": 40}, headers, {}), "lost request")
    assert calls == ["UpdateItem", "GetItem"]
    assert answer is not None
    assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, "1")
    now, _ = caller("GetCustomer").call(_event("GET", path, None, {}, {}))
    assert now is not None
    assert now["body"] == created["body"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_patch_that_failed_took_place_whole_or_not_at_all(fault: str, caller: CallerFactory) -> None:
    created = caller("CreateCustomers").call_until_answered(_create(_new_group(), 1, {}))
    before = json.loads(created["body"])
    path = f"/api/customers/{before['id']}"
    changes = {"first_name": "Jane", "email": "jane@example.com", "age": None}
    # A function that hangs does so until its time is over.
    update = caller("UpdateCustomer", SOON_OVER if fault.startswith("hang") else LONG_ENOUGH)
    update.call(_event("PATCH", path, changes, {}, {}), fault)
    answer, _ = caller("GetCustomer").call(_event("GET", path, None, {}, {}))
    assert answer is not None
    after = json.loads(answer["body"])
    changed = {**before, **changes, "version": 2, "updated_at": after["updated_at"]}
    assert after == (before if after["version"] == 1 else changed)


@pytest.mark.parametrize("fault", LOSSES)
@pytest.mark.parametrize("if_match", [None, '"1"'])
def test_a_delete_is_reported_as_made_only_if_it_was_and_is_not_repeated(
    fault: str, if_match: str | None, caller: CallerFactory
) -> None:
    created = caller("CreateCustomers").call_until_answered(_create(_new_group(), 1, {}))
    path = f"/api/customers/{json.loads(created['body'])['id']}"
    headers = {} if if_match is None else {"If-Match": if_match}
    delete = caller("DeleteCustomer")
    answer, calls = delete.call(_event("DELETE", path, None, headers, {}), fault)
    assert calls == ["UpdateItem", "GetItem"]
    assert answer is not None
    if fault == "lost request":
        assert (answer["statusCode"], answer["headers"]["Retry-After"]) == (503, "1")
    else:
        assert answer["statusCode"] == 200
    again, _ = delete.call(_event("DELETE", path, None, headers, {}))
    assert again is not None
    assert again["statusCode"] == (200 if fault == "lost request" else 404)


def test_a_key_that_died_with_one_request_is_refused_to_another(caller: CallerFactory) -> None:
    create = caller("CreateCustomers", SOON_OVER)
    group_id, key = _new_group(), str(uuid4())
    first, _ = create.call(_create(group_id, 1, {}, key), "kill after", 1)
    assert first is None
    answer = create.call_until_answered(_create(group_id + 1, 1, {}, key))
    assert answer["statusCode"] == 422


def test_a_key_belongs_to_its_token(caller: CallerFactory, dynamodb: DynamoDBClient) -> None:
    create = caller("CreateCustomers")
    group_id, key = _new_group(), str(uuid4())
    for token in ("one", "two"):
        event = _create(group_id, 1, {}, key)
        event["requestContext"]["authorizer"] = {"token_id": token}
        assert create.call_until_answered(event)["statusCode"] == 201
    assert len(_group(dynamodb, group_id)) == 2


def test_fifty_requests_at_once_with_one_key_create_once(caller: CallerFactory, dynamodb: DynamoDBClient) -> None:
    create = caller("CreateCustomers")
    group_id = _new_group()
    event = _create(group_id, 100, {"size": "list"})
    with ThreadPoolExecutor(50) as threads:
        answers = [answer for answer, _ in threads.map(lambda _: create.call(event), range(50))]
    bodies = set()
    for answer in answers:
        assert answer is not None
        assert answer["statusCode"] in {201, 409}
        if answer["statusCode"] == 201:
            bodies.add(answer["body"])
    assert len(bodies) == 1
    assert len(_group(dynamodb, group_id)) == 100


def test_a_key_that_is_forgotten_gives_no_id_a_second_time(caller: CallerFactory, dynamodb: DynamoDBClient) -> None:
    create, delete = caller("CreateCustomers"), caller("DeleteCustomer")
    event = _create(_new_group(), 1, {})
    first = json.loads(create.call_until_answered(event)["body"])["id"]
    deleted, _ = delete.call(_event("DELETE", f"/api/customers/{first}", None, {}, {}))
    assert deleted is not None
    assert deleted["statusCode"] == 200
    # This is what DynamoDB does to the key's records after 24 hours. Other tests' keys are not needed any more.
    for item in dynamodb.scan(TableName="AnswersTable", ProjectionExpression="id")["Items"]:
        dynamodb.delete_item(TableName="AnswersTable", Key={"id": item["id"]})
    assert json.loads(create.call_until_answered(event)["body"])["id"] != first
