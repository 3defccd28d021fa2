"""Where the keys of cursors come from, and what someone who has them can do. The table is in a real engine."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from click.testing import CliRunner

from cli import cursor_key as command
from cli.__main__ import main
from cli.target import Target
from customers.fields import SORT_FIELDS
from customers.http.cursor import CursorSealer
from customers.store.cursor_keys import CursorKeys
from customers.tokens import SCOPES
from tests.api.support import any_group

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from local.template.stack import Stack
    from tests.conftest import Handler

GROUP = any_group()


@pytest.fixture
def table(dynamodb: DynamoDBClient) -> str:
    """Return a table that has no keys yet."""
    table = f"answers-{uuid4()}"
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return table


@pytest.fixture
def keys(dynamodb: DynamoDBClient, table: str) -> CursorKeys:
    return CursorKeys(dynamodb, table)


@pytest.fixture(scope="module")
def sealer(dynamodb: DynamoDBClient, stack: Stack) -> CursorSealer:
    """Return the sealer of someone who has the key of ListGroup."""
    table = stack.functions["ListGroup"].environment["ANSWERS_TABLE"]
    return CursorSealer(CursorKeys(dynamodb, table).read)


def test_all_who_need_the_first_key_at_once_get_the_same(keys: CursorKeys) -> None:
    with ThreadPoolExecutor(16) as threads:
        ((key,), *others) = threads.map(lambda _: keys.read(), range(16))
    assert others == [[key]] * 15
    assert len(key) == 43


def test_a_rotation_keeps_the_previous_key_and_no_older_one(keys: CursorKeys) -> None:
    (first,) = keys.read()
    keys.rotate()
    second, previous = keys.read()
    assert previous == first != second
    keys.rotate()
    third, previous = keys.read()
    assert previous == second
    assert third not in {first, second}


def test_the_command_replaces_the_key_and_its_second_run_ends_the_cursors_of_the_first(
    dynamodb: DynamoDBClient, table: str, keys: CursorKeys, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = stack.functions["ListGroup"].environment["ANSWERS_TABLE"]
    outputs = {name: table if value == answers else value for name, value in stack.outputs.items()}
    nothing: Any = None
    monkeypatch.setattr(command, "find_target", lambda _: Target(dynamodb, nothing, outputs, "", None))

    def run() -> None:
        done = CliRunner(mix_stderr=False).invoke(main, ("rotate-cursor-key",))
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr == "The key was replaced. All functions will use the new one within five minutes.\n"

    def opened(cursor: str) -> str | None:
        # As a function that starts now would.
        return CursorSealer(keys.read).open(cursor, "a page")

    first = CursorSealer(keys.read).seal("doe", "a page")
    run()
    second = CursorSealer(keys.read).seal("doe", "a page")
    assert second != first
    assert (opened(first), opened(second)) == ("doe", "doe")
    run()
    assert (opened(first), opened(second)) == (None, "doe")


def test_a_rotation_whose_response_was_lost_is_not_made_twice(
    keys: CursorKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = keys.read()

    def twice(operation: Callable[[], object]) -> object:
        operation()
        return operation()

    with monkeypatch.context() as patch:
        patch.setattr("customers.store.cursor_keys.call", twice)
        keys.rotate()
    assert keys.read()[1] == first


POSITIONS = (
    "",
    "0",
    "-1",
    "1.5",
    "1e3",
    "NaN",
    "\u0661",
    str(2**53),
    "9" * 1000,
    "doe",
    "doe\x1f",
    "doe\x1f12",
    "doe\x1f" + "0" * 16,
    "doe\x1f" + "9" * 16,
    "doe\x1f" + "\u0661" * 16,
    "doe\x1f0000000000000001\n",
    "d" * 1008 + "\x1f0000000000000001",
    "\u00e9" * 504 + "\x1f0000000000000001",
    "d" * 100_000,
)
"""Positions at which no page ends, in any order."""


@pytest.mark.parametrize("sort", SORT_FIELDS)
def test_a_forged_position_is_refused_even_from_someone_who_has_the_key(
    sealer: CursorSealer, function: Callable[[str], Handler], sort: str
) -> None:
    for position in POSITIONS:
        _assert_refused(_list(function, sealer, position, sort))


@pytest.mark.parametrize("prefix", ["do", "DÖ"])
def test_a_forged_position_outside_of_the_prefix_is_refused(
    sealer: CursorSealer, function: Callable[[str], Handler], prefix: str
) -> None:
    for position in ("d", "de", "dp", "x", ""):
        _assert_refused(_list(function, sealer, f"{position}\x1f{1:016}", "email", prefix))
    assert _list(function, sealer, f"doe\x1f{1:016}", "email", prefix)["statusCode"] == 200


@pytest.mark.parametrize("query", [{}, {"email": "john.doe@example.com"}])
def test_a_forged_position_among_all_customers_is_refused(
    sealer: CursorSealer, function: Callable[[str], Handler], query: dict[str, str]
) -> None:
    for position in (set(POSITIONS) - {"0"}) | {"9" * 5000, f"doe\x1f{1:016}"}:
        _assert_refused(_find(function, sealer, position, query))
    assert _find(function, sealer, "1", query)["statusCode"] == 200


def test_a_forged_position_in_a_history_is_refused(
    dynamodb: DynamoDBClient, stack: Stack, function: Callable[[str], Handler]
) -> None:
    sealer = CursorSealer(CursorKeys(dynamodb, stack.functions["GetHistory"].environment["ANSWERS_TABLE"]).read)

    def page(position: str) -> dict[str, Any]:
        query = {"cursor": sealer.seal(position, json.dumps({"history": "1"}))}
        return _get(function("GetHistory"), "/api/customers/1/history", query, {"customer_id": "1"})

    for position in (set(POSITIONS) - {"0"}) | {"9" * 39, "9" * 5000}:
        _assert_refused(page(position))
    assert page("1")["statusCode"] == 200


@pytest.mark.parametrize("sort", SORT_FIELDS)
def test_a_position_that_a_page_could_end_with_is_accepted(
    sealer: CursorSealer, function: Callable[[str], Handler], sort: str
) -> None:
    number = secrets.randbelow(2**53 - 1) + 1
    positions = (str(number),) if sort == "id" else (f"{value}\x1f{number:016}" for value in ("", "\0", "d" * 1007))
    for position in positions:
        answer = _list(function, sealer, position, sort)
        assert (answer["statusCode"], json.loads(answer["body"])["next_cursor"]) == (200, None)


def _assert_refused(answer: dict[str, Any]) -> None:
    assert answer["statusCode"] == 400, answer
    assert [error["code"] for error in json.loads(answer["body"])["errors"]] == ["invalid_cursor"]


def _list(
    function: Callable[[str], Handler], sealer: CursorSealer, position: str, sort: str, prefix: str | None = None
) -> dict[str, Any]:
    bound = json.dumps({"group": str(GROUP), "sort": sort, "order": "asc", "prefix": prefix})
    query = {"sort": sort} if prefix is None else {"sort": sort, "prefix": prefix}
    query["cursor"] = sealer.seal(position, bound)
    return _get(function("ListGroup"), f"/api/customers/group/{GROUP}", query, {"group_id": str(GROUP)})


def _find(
    function: Callable[[str], Handler], sealer: CursorSealer, position: str, query: dict[str, str]
) -> dict[str, Any]:
    bound = json.dumps({"email": query.get("email"), "external_id": None})
    return _get(function("FindCustomers"), "/api/customers", {**query, "cursor": sealer.seal(position, bound)}, None)


def _get(handler: Handler, path: str, query: dict[str, str], parameters: dict[str, str] | None) -> dict[str, Any]:
    event = {
        "httpMethod": "GET",
        "path": path,
        "pathParameters": parameters,
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()},
        "requestContext": {"requestId": "r", "path": path, "authorizer": {"scopes": " ".join(SCOPES)}},
    }
    return handler(event, SimpleNamespace(get_remaining_time_in_millis=lambda: 15_000))
