"""Each function, run on the events under `events/`, answers as the contract says. The table is in a real engine."""

from __future__ import annotations

import base64
import importlib
import importlib.util
import io
import json
import logging
import re
import time
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs

import pytest
from botocore.httpsession import URLLib3Session

from customers.aws import cold_start
from customers.http.request import MAX_BODY_BYTES
from customers.logs import logger
from customers.store.customers import CustomerStore
from customers.store.external_ids import ExternalIdStore
from customers.store.tokens import TokenStore
from customers.tokens import SCOPES, new_token, token_hash, token_id
from tests.author import TESTER
from tests.conftest import ROOT, dynamodb_client, running_engine
from tools.modules import module_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from customers.customer import NewCustomer
    from local.template.stack import Stack
    from tests.conftest import Handler

type Json = dict[str, Any]

EVENTS: Final = Path(__file__).parents[2] / "events"
FUNCTIONS: Final = {
    "authorize": "Authorize",
    "create_customers": "CreateCustomers",
    "delete_customer": "DeleteCustomer",
    "find_customers": "FindCustomers",
    "get_customer": "GetCustomer",
    "get_external": "GetExternal",
    "get_history": "GetHistory",
    "list_group": "ListGroup",
    "put_customer": "PutCustomer",
    "update_customer": "UpdateCustomer",
}
"""Logical ids by the functions' folders."""

EMAIL: Final = "john.doe@example.com"
STORED: Final[dict[int, NewCustomer]] = {
    123: {"first_name": "John", "last_name": "Doe", "email": EMAIL, "group_id": 1, "age": 42},
    124: {"first_name": "John", "last_name": "Doe A", "email": "a.doe@example.com", "group_id": 1},
    125: {"first_name": "John", "last_name": "DOÉ", "email": "z.doe@example.com", "group_id": 1, "age": 7},
}
"""What is in the table before each event, by id."""
KEYED: Final[NewCustomer] = {
    "external_id": "shop-42",
    "first_name": "John",
    "last_name": "Doe",
    "email": EMAIL,
    "group_id": 9,
    "metadata": {"tier": "gold"},
}
"""The other customer in the table before each event."""

PROBLEMS: Final = {
    400: ("/problems/invalid-request", "Invalid request"),
    403: ("/problems/forbidden", "Forbidden"),
    404: ("/problems/not-found", "Not found"),
    412: ("/problems/version-mismatch", "Version mismatch"),
    415: ("/problems/unsupported-media-type", "Unsupported media type"),
}
TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Answer(NamedTuple):
    """The answer to an event. The `errors` of an error answer are written as `where code`, in any order."""

    status: int
    shows: Mapping[str, Any] = {}
    errors: tuple[str, ...] = ()
    headers: Mapping[str, str] = {}
    rows: int = len(STORED) + 1
    """Customers in the table afterwards."""


STORED_JOHN: Final = {"id": 123, **STORED[123], "version": 1}
BAD_ROW: Final = ("first_name too_short", "email invalid_email", "group_id wrong_type", "age too_large")
BAD_ROW_1: Final = tuple(f"#/customers/1/{error}" for error in (*BAD_ROW, "phone unknown_field"))

ANSWERS: Final = {
    "get_customer/valid": Answer(200, STORED_JOHN, headers={"ETag": '"1"'}),
    "get_customer/trailing_slash": Answer(200, STORED_JOHN, headers={"ETag": '"1"'}),
    "get_customer/sam_local": Answer(200, STORED_JOHN, headers={"ETag": '"1"'}),
    "get_customer/not_modified": Answer(304, headers={"ETag": '"1"'}),
    "get_customer/modified": Answer(200, STORED_JOHN, headers={"ETag": '"1"'}),
    "get_customer/not_an_id": Answer(404),
    "get_customer/id_too_large": Answer(404),
    "get_customer/no_such_customer": Answer(404),
    "get_customer/unknown_parameter": Answer(400, errors=("expand unknown_parameter",)),
    "update_customer/valid": Answer(200, {**STORED_JOHN, "age": 43, "version": 2}, headers={"ETag": '"2"'}),
    "update_customer/merge_patch": Answer(
        200, {**STORED_JOHN, "email": "John.Doe@mail.example.com", "age": None, "version": 2}, headers={"ETag": '"2"'}
    ),
    "update_customer/if_match": Answer(200, {**STORED_JOHN, "group_id": 2, "version": 2}, headers={"ETag": '"2"'}),
    "update_customer/if_match_stale": Answer(412, headers={"ETag": '"1"'}),
    "update_customer/empty_object": Answer(400, errors=("# empty",)),
    "update_customer/null_email": Answer(400, errors=("#/email null",)),
    "update_customer/read_only": Answer(
        400, errors=tuple(f"#/{name} read_only" for name in ("id", "version", "created_at", "updated_at"))
    ),
    "update_customer/no_such_customer": Answer(404),
    "update_customer/no_body": Answer(400, errors=("# invalid_json",)),
    "delete_customer/valid": Answer(200, {"id": 123, "deleted": True}, rows=3),
    "delete_customer/if_match": Answer(200, {"id": 123, "deleted": True}, rows=3),
    "delete_customer/if_match_stale": Answer(412, headers={"ETag": '"1"'}),
    "delete_customer/no_such_customer": Answer(404),
    "delete_customer/unknown_parameter": Answer(400, errors=("force unknown_parameter",)),
    "list_group/valid": Answer(200, {"customers": [{"id": 123}, {"id": 124}, {"id": 125}], "next_cursor": None}),
    "list_group/by_last_name_desc": Answer(200, {"customers": [{"id": 124}, {"id": 125}, {"id": 123}]}),
    "list_group/with_age": Answer(
        200, {"customers": [{"id": 125, "age": 7}, {"id": 123, "age": 42}, {"id": 124, "age": None}]}
    ),
    "list_group/first_page": Answer(200, {"customers": [{"id": 124}, {"id": 123}]}),
    "list_group/forged_cursor": Answer(400, errors=("cursor invalid_cursor",)),
    "list_group/bad_limit": Answer(400, errors=("limit not_in_range",)),
    "list_group/unknown_sort": Answer(400, errors=("sort not_a_choice",)),
    "list_group/repeated_parameter": Answer(400, errors=("limit repeated_parameter",)),
    "list_group/empty_group": Answer(404),
    "list_group/not_an_id": Answer(404),
    "list_group/by_prefix": Answer(200, {"customers": [], "next_cursor": None}),
    "get_history/valid": Answer(200, {"history": [], "next_cursor": None}),
    "get_history/no_such_customer": Answer(404),
    "get_external/valid": Answer(200, {**KEYED, "age": None, "version": 1}, headers={"ETag": '"1"'}),
    "get_external/no_such_customer": Answer(404),
    "get_external/not_an_external_id": Answer(404),
    "get_external/not_modified": Answer(304, headers={"ETag": '"1"'}),
    "put_customer/valid": Answer(
        201, {"external_id": "shop-43", "metadata": {}, "version": 1}, headers={"ETag": '"1"'}, rows=5
    ),
    "put_customer/unchanged": Answer(200, {**KEYED, "version": 1}, headers={"ETag": '"1"'}),
    "put_customer/changed": Answer(
        200, {"last_name": "Miller", "external_id": "shop-42", "version": 2}, headers={"ETag": '"2"'}
    ),
    "put_customer/create_only_taken": Answer(412, headers={"ETag": '"1"'}),
    "put_customer/if_match_stale": Answer(412, headers={"ETag": '"1"'}),
    "put_customer/other_external_id": Answer(400, errors=("#/external_id does_not_match_path",)),
    "put_customer/invalid": Answer(400, errors=("#/email invalid_email", "#/metadata/a%20b invalid_metadata_key")),
    "find_customers/valid": Answer(200, {"customers": [{"id": 123}, {"external_id": "shop-42"}], "next_cursor": None}),
    "find_customers/by_external_id": Answer(200, {"customers": [KEYED], "next_cursor": None}),
    "find_customers/nobody": Answer(200, {"customers": [], "next_cursor": None}),
    "find_customers/everybody": Answer(200, {"next_cursor": None}),
    "find_customers/everybody_without_export": Answer(403),
    "find_customers/invalid_email": Answer(400, errors=("email invalid_email",)),
    "find_customers/both": Answer(400, errors=("external_id not_together",)),
    "create_customers/valid": Answer(201, {**STORED[123], "age": None, "version": 1}, headers={"ETag": '"1"'}, rows=5),
    "create_customers/one": Answer(201, {**STORED[123], "version": 1}, headers={"ETag": '"1"'}, rows=5),
    "create_customers/list": Answer(
        201, {"customers": [{"email": EMAIL, "age": 42}, {"email": "john.doe+2@example.com", "age": None}]}, rows=6
    ),
    "create_customers/list_abort": Answer(400, errors=BAD_ROW_1),
    "create_customers/list_keep": Answer(
        207,
        {
            "results": [
                {"index": 0, "status": 201, "customer": {"email": EMAIL, "version": 1}},
                {"index": 1, "status": 400},
                {"index": 2, "status": 201, "customer": {"email": EMAIL, "version": 1}},
            ]
        },
        rows=6,
    ),
    "create_customers/list_empty": Answer(400, errors=("#/customers too_short",)),
    "create_customers/dry_run": Answer(200, {"valid": True, "count": 2}),
    "create_customers/dry_run_invalid": Answer(400, errors=BAD_ROW_1),
    "create_customers/invalid": Answer(400, errors=(*(f"#/{error}" for error in BAD_ROW), "#/phone unknown_field")),
    "create_customers/not_json": Answer(400, errors=("# invalid_json",)),
    "create_customers/not_an_object": Answer(400, errors=("# wrong_type",)),
    "create_customers/not_utf8": Answer(400, errors=("# invalid_json",)),
    "create_customers/text_plain": Answer(415),
    "create_customers/idempotency_key": Answer(
        201, {**STORED[123], "age": None, "version": 1}, headers={"ETag": '"1"'}, rows=5
    ),
    "create_customers/bad_idempotency_key": Answer(
        400,
        errors=(
            "Idempotency-Key invalid_key",
            "verbose unknown_parameter",
            *(f"#/{error}" for error in BAD_ROW),
            "#/phone unknown_field",
        ),
    ),
    "create_customers/unknown_parameter": Answer(400, errors=("verbose unknown_parameter",)),
}

AUTHORIZED: Final = {
    "authorize/valid": True,
    "authorize/bearer": True,
    "authorize/bare": True,
    "authorize/malformed": False,
    "authorize/bad_checksum": False,
}
"""Whether an event of the authorizer lets its caller in."""

FILES: Final = sorted(
    str(path.relative_to(EVENTS).with_suffix("")) for folder in FUNCTIONS for path in (EVENTS / folder).glob("*.json")
)


def read(name: str) -> Json:
    event: Json = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return event


TOKEN: Final = read("authorize/bare")["authorizationToken"]
"""The token of the event files. Its form is valid, but nobody ever issued it."""


def empty(dynamodb: DynamoDBClient, table: str, key: str) -> None:
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        # The salt stays: functions remember it, because it never changes.
        for item in (item for item in page["Items"] if item[key] != {"N": "0"}):
            dynamodb.delete_item(TableName=table, Key={key: item[key]})


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[str]:
    """Return the URL of a separate engine: these tests count what is in a table, and empty it."""
    with running_engine(tmp_path_factory.mktemp("engine"), stack) as url:
        yield url


@pytest.fixture(scope="module")
def dynamodb(engine: str) -> DynamoDBClient:
    return dynamodb_client(engine)


@pytest.fixture
def customers_table(dynamodb: DynamoDBClient, stack: Stack) -> Iterator[str]:
    """Return the name of the table, which holds only what is in STORED and KEYED."""
    table = stack.functions["GetCustomer"].environment["CUSTOMERS_TABLE"]
    answers = stack.functions["CreateCustomers"].environment["ANSWERS_TABLE"]
    empty(dynamodb, table, "id")
    empty(dynamodb, answers, "id")
    with pytest.MonkeyPatch.context() as patch:
        for customer_id, new in STORED.items():
            patch.setattr("customers.store.identity.secrets.randbelow", lambda _, drawn=customer_id - 1: drawn)
            CustomerStore(dynamodb, table).create([new], TESTER)
    ExternalIdStore(dynamodb, table).put("shop-42", KEYED, versions=None, exists=None, author=TESTER)
    yield table
    empty(dynamodb, table, "id")
    empty(dynamodb, answers, "id")


@pytest.fixture
def tokens(dynamodb: DynamoDBClient, stack: Stack) -> Iterator[TokenStore]:
    """Return the store of tokens. It has the token of the events, with every scope."""
    table = stack.functions["Authorize"].environment["TOKENS_TABLE"]
    store = TokenStore(dynamodb, table)
    store.put(token_hash(TOKEN), SCOPES, "events", None)
    store.mark_used(token_hash(TOKEN), datetime.now(UTC).date().isoformat())
    yield store
    empty(dynamodb, table, "token_hash")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the operations sent to the engine from now on."""
    operations: list[str] = []
    send = URLLib3Session.send

    def counted(session: URLLib3Session, request: Any) -> Any:
        operations.append(str(request.headers["X-Amz-Target"]).rpartition(".")[2].rstrip("'"))
        return send(session, request)

    monkeypatch.setattr(URLLib3Session, "send", counted)
    return operations


def count_of(dynamodb: DynamoDBClient, table: str) -> int:
    """Count the customers in a table, without tombstones and the salt."""
    there = "attribute_exists(customer)"
    return dynamodb.scan(TableName=table, Select="COUNT", ConsistentRead=True, FilterExpression=there)["Count"]


def run(function: Callable[[str], Handler], name: str, event: Json | None = None) -> Json:
    handler = function(FUNCTIONS[name.partition("/")[0]])
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 15_000)
    return handler(read(name) if event is None else event, context)


def with_query(event: Json, query: str) -> Json:
    return {**event, "multiValueQueryStringParameters": parse_qs(query, keep_blank_values=True) or None}


def body_of(answer: Json) -> Json:
    body: Json = json.loads(answer["body"])
    return body


def assert_shows(actual: Any, wanted: Any) -> None:
    """Assert that objects have at least the wanted members, and that everything else is equal."""
    if isinstance(wanted, dict):
        for name, value in wanted.items():
            assert name in actual
            assert_shows(actual[name], value)
    elif isinstance(wanted, list):
        assert len(actual) == len(wanted)
        for one, other in zip(actual, wanted, strict=True):
            assert_shows(one, other)
    else:
        assert (type(actual), actual) == (type(wanted), wanted)


def told(errors: Iterable[Json]) -> list[str]:
    """Return errors as `where code`."""
    texts = []
    for error in errors:
        (where,) = (error[kind] for kind in ("pointer", "parameter", "header") if kind in error)
        assert error["detail"]
        texts.append(f"{where} {error['code']}")
    return sorted(texts)


def test_every_event_file_has_an_expectation_and_every_expectation_its_file() -> None:
    assert set(FILES) == ANSWERS.keys() | AUTHORIZED.keys()


def test_every_function_of_the_api_has_a_valid_event(stack: Stack) -> None:
    called = {route.function for route in stack.api.routes}
    called |= {authorizer.function for authorizer in stack.api.authorizers.values()}
    folders = {logical_id: Path(stack.functions[logical_id].code).name for logical_id in called}
    assert folders == {logical_id: folder for folder, logical_id in FUNCTIONS.items()}
    for folder in FUNCTIONS:
        assert f"{folder}/valid" in FILES


@pytest.mark.parametrize("name", ANSWERS)
def test_events_are_of_routes_that_the_template_has(name: str, stack: Stack) -> None:
    event = read(name)
    (route,) = (
        route
        for route in stack.api.routes
        if route.resource.rstrip("/") == event["resource"] and route.method == event["httpMethod"]
    )
    assert route.function == FUNCTIONS[name.partition("/")[0]]
    assert event["multiValueHeaders"] == {key: [value] for key, value in event["headers"].items()}
    content_type = event["headers"].get("Content-Type", "").partition(";")[0]
    assert event["isBase64Encoded"] == (content_type in stack.api.binary_media_types)


@pytest.mark.parametrize("name", ANSWERS)
def test_function_answers_its_event(
    name: str, function: Callable[[str], Handler], dynamodb: DynamoDBClient, customers_table: str
) -> None:
    wanted = ANSWERS[name]
    event = read(name)
    answer = run(function, name)
    assert answer["statusCode"] == wanted.status, answer["body"]
    headers = answer["headers"]
    assert headers.items() >= wanted.headers.items()
    assert headers["X-Request-Id"] == event["requestContext"]["requestId"]
    assert count_of(dynamodb, customers_table) == wanted.rows
    if wanted.status == 304:
        assert answer["body"] == ""
        assert "Content-Type" not in headers
    elif wanted.status < 300:
        assert headers["Content-Type"] == "application/json"
        assert_shows(body_of(answer), wanted.shows)
    else:
        assert headers["Content-Type"] == "application/problem+json"
        problem = body_of(answer)
        assert (problem["type"], problem["title"]) == PROBLEMS[wanted.status]
        assert problem["status"] == wanted.status
        assert problem["detail"]
        assert problem["request_id"] == event["requestContext"]["requestId"]
        assert problem["instance"] == event["requestContext"]["path"]
        assert ("errors" in problem) == (wanted.status == 400)
        assert told(problem.get("errors", [])) == sorted(wanted.errors)


@pytest.mark.usefixtures("customers_table")
def test_a_customer_is_shown_with_all_its_fields_in_order(function: Callable[[str], Handler]) -> None:
    customer = body_of(run(function, "create_customers/valid"))
    assert list(customer) == [
        "id", "external_id", "first_name", "last_name", "email", "group_id", "age", "metadata",
        "created_at", "updated_at", "version",
    ]  # fmt: skip
    assert 1 <= customer["id"] <= 2**53 - 1
    assert TIMESTAMP.fullmatch(customer["created_at"])
    assert customer["updated_at"] == customer["created_at"]


@pytest.mark.usefixtures("customers_table")
def test_a_created_customer_can_be_read_and_a_deleted_one_cannot(function: Callable[[str], Handler]) -> None:
    customer = body_of(run(function, "create_customers/one"))
    get, delete = read("get_customer/valid"), read("delete_customer/valid")
    for event in (get, delete):
        event["pathParameters"]["customer_id"] = str(customer["id"])
    assert body_of(run(function, "get_customer/valid", get)) == customer
    statuses = [run(function, "delete_customer/valid", delete)["statusCode"] for _ in range(2)]
    assert statuses == [200, 404]
    assert run(function, "get_customer/valid", get)["statusCode"] == 404


@pytest.mark.usefixtures("customers_table")
def test_a_changed_customer_is_shown_changed_and_otherwise_as_it_was(function: Callable[[str], Handler]) -> None:
    before = body_of(run(function, "get_customer/valid"))
    changed = body_of(run(function, "update_customer/if_match"))
    assert body_of(run(function, "get_customer/valid")) == changed
    assert changed == {**before, "group_id": 2, "version": 2, "updated_at": changed["updated_at"]}
    assert changed["updated_at"] >= before["updated_at"]


@pytest.mark.usefixtures("customers_table")
def test_a_listing_shows_ages_only_when_asked(function: Callable[[str], Handler]) -> None:
    without, with_age = (body_of(run(function, f"list_group/{name}"))["customers"] for name in ("valid", "with_age"))
    assert all("age" not in customer for customer in without)
    assert all("age" in customer for customer in with_age)


@pytest.mark.usefixtures("customers_table")
def test_a_bad_row_among_kept_ones_is_told_with_all_its_errors(function: Callable[[str], Handler]) -> None:
    results = body_of(run(function, "create_customers/list_keep"))["results"]
    assert told(results[1]["errors"]) == sorted(BAD_ROW_1)


GOOD: Final = {"first_name": "Jane", "last_name": "Doe", "email": "jane@example.com", "group_id": 1}
TOO_OLD: Final = {**GOOD, "age": 151}
TAKEN: Final = {**GOOD, "external_id": "shop-42"}
MADE: Final = {"external_id": None, **GOOD, "age": None, "metadata": {}, "version": 1}
"""A customer made of GOOD, without what the service draws."""


def drawn(value: Any) -> Any:
    """Check the ids and times of new customers, and return the answer without them."""
    if isinstance(value, list):
        return [drawn(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "version" in value:
        assert type(value["id"]) is int
        assert TIMESTAMP.fullmatch(value["created_at"])
        assert value["updated_at"] == value["created_at"]
    return {
        name: drawn(one) for name, one in value.items() if name not in {"id", "created_at", "updated_at", "customer_id"}
    }


def too_old(index: int) -> Json:
    return {
        "index": index,
        "status": 400,
        "errors": [{"pointer": f"#/customers/{index}/age", "code": "too_large", "detail": "Must be at most 150."}],
    }


def taken(index: int) -> Json:
    pointer, detail = f"#/customers/{index}/external_id", "Another customer has this external id."
    return {"index": index, "status": 409, "errors": [{"pointer": pointer, "code": "taken", "detail": detail}]}


@pytest.mark.parametrize("keyed", [False, True], ids=["without a key", "with a key"])
@pytest.mark.parametrize(("query", "body", "status", "answered", "made"), [
    ("", GOOD, 201, MADE, 1),
    ("size=one&on_error=keep", GOOD, 201, MADE, 1),
    ("size=list", {"customers": [GOOD, GOOD]}, 201, {"customers": [MADE, MADE]}, 2),
    ("size=list&on_error=abort", {"customers": [GOOD]}, 201, {"customers": [MADE]}, 1),
    ("size=list&on_error=keep", {"customers": [GOOD, GOOD]}, 201, {"customers": [MADE, MADE]}, 2),
    (
        "size=list&on_error=keep",
        {"customers": [GOOD, TOO_OLD, TAKEN, GOOD]},
        207,
        {"results": [
            {"index": 0, "status": 201, "customer": MADE},
            too_old(1),
            taken(2),
            {"index": 3, "status": 201, "customer": MADE},
        ]},
        2,
    ),
    ("size=list&on_error=keep", {"customers": [TOO_OLD, TOO_OLD]}, 207, {"results": [too_old(0), too_old(1)]}, 0),
    ("size=list&on_error=keep", {"customers": [TAKEN]}, 207, {"results": [taken(0)]}, 0),
    ("dry_run=true", GOOD, 200, {"valid": True, "count": 1}, 0),
    ("dry_run=true&size=list", {"customers": [GOOD, TAKEN]}, 200, {"valid": True, "count": 2}, 0),
    ("dry_run=true&size=list&on_error=keep", {"customers": [GOOD]}, 200, {"valid": True, "count": 1}, 0),
])  # fmt: skip
def test_customers_are_created_one_by_one_all_or_none_or_as_many_as_are_good(  # noqa: PLR0913, PLR0917 (a table)
    query: str,
    body: Json,
    status: int,
    answered: Json,
    made: int,
    keyed: bool,  # noqa: FBT001 (a table's column)
    function: Callable[[str], Handler],
    customers_table: str,
    dynamodb: DynamoDBClient,
) -> None:
    event = with_query(read("create_customers/one"), query)
    event.update({"body": json.dumps(body), "isBase64Encoded": False})
    if keyed:
        event["multiValueHeaders"]["Idempotency-Key"] = ["key"]
    before = count_of(dynamodb, customers_table)
    answer = run(function, "create_customers/one", event)
    assert (answer["statusCode"], drawn(body_of(answer))) == (status, answered)
    assert count_of(dynamodb, customers_table) - before == made
    more = {"Location", "ETag"} if answered is MADE else set()
    assert (
        answer["headers"].keys() == {"X-Request-Id", "Cache-Control", "X-Content-Type-Options", "Content-Type"} | more
    )


@pytest.mark.parametrize(("listed", "body", "pointers"), [
    (False, TAKEN, ["#/external_id"]),
    (True, {"customers": [GOOD, TAKEN]}, ["#/customers/1/external_id"]),
])  # fmt: skip
@pytest.mark.usefixtures("customers_table")
def test_who_has_an_external_id_that_is_taken_is_told(
    listed: bool,  # noqa: FBT001 (a table's column)
    body: Json,
    pointers: list[str],
    function: Callable[[str], Handler],
) -> None:
    holder = body_of(run(function, "get_external/valid"))["id"]
    event = with_query(read("create_customers/one"), "size=list" if listed else "")
    event.update({"body": json.dumps(body), "isBase64Encoded": False})
    answer = run(function, "create_customers/one", event)
    problem = body_of(answer)
    assert (answer["statusCode"], problem["type"]) == (409, "/problems/external-id-taken")
    assert [(error["pointer"], error["customer_id"]) for error in problem["errors"]] == [
        (pointer, holder) for pointer in pointers
    ]
    assert problem.get("customer_id") == (None if listed else holder)


BAD_EMAIL: Final = ("email", "invalid_email", "Must be a valid email address, like name@example.com.")
BAD_EXTERNAL_ID: Final = (
    "external_id",
    "invalid_external_id",
    "Must have 1 to 128 characters from A-Z a-z 0-9 . _ ~ -, the first a letter or digit.",
)
NOT_BOTH: Final = ("external_id", "not_together", "Send either email or external_id, not both.")
BAD_CURSOR: Final = (
    "cursor",
    "invalid_cursor",
    "Must be the next_cursor of a page with otherwise the same parameters.",
)
BAD_LIMIT: Final = ("limit", "not_in_range", "Must be an integer from 1 to 1000.")
NO_SORT_OF_IT: Final = ("prefix", "not_together", "Is only possible with sort first_name, last_name, email.")


@pytest.mark.parametrize(("name", "query", "errors"), [
    ("find_customers/valid", "email=john", [BAD_EMAIL]),
    ("find_customers/valid", "email=", [BAD_EMAIL]),
    ("find_customers/valid", f"email={'a' * 60}@{'b.' * 100}example.com", [BAD_EMAIL]),
    ("find_customers/valid", "external_id=", [BAD_EXTERNAL_ID]),
    ("find_customers/valid", "external_id=-a", [BAD_EXTERNAL_ID]),
    ("find_customers/valid", f"email={EMAIL}&external_id=a", [NOT_BOTH]),
    ("find_customers/valid", "email=j&external_id=-a", [BAD_EMAIL, BAD_EXTERNAL_ID, NOT_BOTH]),
    ("find_customers/valid", f"email={EMAIL}&cursor=x&limit=0", [BAD_LIMIT, BAD_CURSOR]),
    ("find_customers/valid", f"email={EMAIL}&limit=1001", [BAD_LIMIT]),
    ("get_history/valid", "cursor=x", [BAD_CURSOR]),
    ("list_group/valid", "sort=id&cursor=x", [BAD_CURSOR]),
    ("list_group/valid", "prefix=d", [NO_SORT_OF_IT]),
    ("list_group/valid", "prefix=%CC%81&sort=last_name", [
        ("prefix", "too_short", "Must contain a character that counts when sorting."),
    ]),
    ("list_group/valid", "prefix=d\x1f&sort=last_name", [
        ("prefix", "control_character", "Must not contain control characters."),
    ]),
    ("list_group/valid", "order=up", [("order", "not_a_choice", "Must be one of: asc, desc.")]),
])  # fmt: skip
@pytest.mark.usefixtures("customers_table")
def test_every_wrong_parameter_of_a_listing_is_told_by_its_name(
    name: str, query: str, errors: list[tuple[str, str, str]], function: Callable[[str], Handler]
) -> None:
    answer = run(function, name, with_query(read(name), query))
    assert answer["statusCode"] == 400
    assert body_of(answer)["errors"] == [
        {"parameter": parameter, "code": code, "detail": detail} for parameter, code, detail in errors
    ]


@pytest.mark.usefixtures("customers_table")
def test_an_external_id_that_nobody_has_is_an_empty_page(function: Callable[[str], Handler]) -> None:
    answer = run(function, "find_customers/valid", with_query(read("find_customers/valid"), "external_id=nobodys"))
    assert (answer["statusCode"], body_of(answer)) == (200, {"customers": [], "next_cursor": None})


def test_a_browser_is_told_what_a_page_of_another_origin_may_send() -> None:
    app = module_at(ROOT / "functions" / "preflight" / "app.py")
    event = read("preflight/valid")
    assert app.lambda_handler(event, None) == {
        "statusCode": 204,
        "headers": {
            "X-Request-Id": event["requestContext"]["requestId"],
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
            "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
            "traceparent, tracestate, baggage, sentry-trace, X-Request-Id",
            "Access-Control-Max-Age": "7200",
        },
        "body": "",
    }


@pytest.mark.usefixtures("customers_table")
def test_paths_in_answers_are_those_that_clients_send_with_the_stage(function: Callable[[str], Handler]) -> None:
    answer = run(function, "create_customers/valid")
    assert answer["headers"]["Location"] == f"/prod/api/customers/{body_of(answer)['id']}"
    link = run(function, "list_group/first_page")["headers"]["Link"]
    domain = read("list_group/first_page")["requestContext"]["domainName"]
    assert link.startswith(f"<https://{domain}/prod/api/customers/group/1/?")
    assert body_of(run(function, "get_customer/no_such_customer"))["instance"] == "/prod/api/customers/999"


@pytest.mark.usefixtures("customers_table")
def test_paths_in_answers_are_plain_where_the_context_holds_the_route_instead_of_the_path(
    function: Callable[[str], Handler],
) -> None:
    # As `sam local` makes them: events/get_customer/sam_local.json.
    created, listed, missing = (
        read(name) for name in ("create_customers/valid", "list_group/first_page", "get_customer/no_such_customer")
    )
    listed["requestContext"]["domainName"] = "127.0.0.1:3001"
    for event in (created, listed, missing):
        event["requestContext"]["path"] = event["resource"]
    answer = run(function, "create_customers/valid", created)
    assert answer["headers"]["Location"] == f"/api/customers/{body_of(answer)['id']}"
    link = run(function, "list_group/first_page", listed)["headers"]["Link"]
    assert link.startswith("<http://127.0.0.1:3001/api/customers/group/1/?")
    assert body_of(run(function, "get_customer/valid", missing))["instance"] == "/api/customers/999"


@pytest.mark.usefixtures("customers_table")
def test_the_link_leads_to_the_next_page_in_one_query_each(function: Callable[[str], Handler], sent: list[str]) -> None:
    # A process reads the key of its cursors once.
    run(function, "list_group/first_page")
    sent.clear()
    first = run(function, "list_group/first_page")
    match = re.fullmatch(r'<([^?>]+)\?([^>]+)>; rel="next"', first["headers"]["Link"])
    assert match is not None
    event = read("list_group/first_page")
    event["queryStringParameters"] = dict(pair.split("=") for pair in match[2].split("&"))
    event["multiValueQueryStringParameters"] = {key: [value] for key, value in event["queryStringParameters"].items()}
    assert event["queryStringParameters"] == {
        "sort": "email", "limit": "2", "cursor": body_of(first)["next_cursor"],
    }  # fmt: skip
    second = run(function, "list_group/first_page", event)
    assert [customer["id"] for customer in body_of(second)["customers"]] == [125]
    assert body_of(second)["next_cursor"] is None
    assert "Link" not in second["headers"]
    assert sent == ["Query", "Query"]


def test_a_page_has_a_hundred_customers_where_nothing_else_is_asked_for(
    function: Callable[[str], Handler], customers_table: str, dynamodb: DynamoDBClient
) -> None:
    store = CustomerStore(dynamodb, customers_table)
    group: list[NewCustomer] = [{**STORED[123], "group_id": 2}] * 100
    event = read("list_group/valid")
    event["pathParameters"]["group_id"] = "2"
    store.create(group, TESTER)
    page = body_of(run(function, "list_group/valid", event))
    assert (len(page["customers"]), page["next_cursor"]) == (100, None)
    store.create(group[:1], TESTER)
    page = body_of(run(function, "list_group/valid", event))
    assert len(page["customers"]) == 100
    assert page["next_cursor"] is not None


@pytest.mark.parametrize(("name", "operation"), [
    ("get_customer/valid", "GetItem"),
    ("update_customer/if_match", "UpdateItem"),
    ("update_customer/if_match_stale", "UpdateItem"),
    ("delete_customer/if_match", "UpdateItem"),
    ("delete_customer/no_such_customer", "UpdateItem"),
    ("list_group/by_last_name_desc", "Query"),
    ("list_group/by_prefix", "Query"),
    ("find_customers/valid", "Query"),
    ("find_customers/everybody", "Scan"),
    ("find_customers/by_external_id", "GetItem"),
    ("get_external/valid", "GetItem"),
    ("put_customer/valid", "UpdateItem"),
    ("put_customer/changed", "UpdateItem"),
    ("put_customer/unchanged", "UpdateItem"),
    ("create_customers/one", "PutItem"),
    ("create_customers/list", "TransactWriteItems"),
])  # fmt: skip
@pytest.mark.usefixtures("customers_table")
def test_a_call_costs_one_call_of_the_table(
    name: str, operation: str, function: Callable[[str], Handler], sent: list[str]
) -> None:
    # The first call of a process also reads the salt of external ids.
    run(function, "get_external/valid")
    if name.startswith("put"):
        run(function, "put_customer/unchanged")
    if name.startswith("find"):
        run(function, "find_customers/by_external_id")
    sent.clear()
    run(function, name)
    assert sent == [operation]


@pytest.mark.parametrize("name", [name for name, answer in ANSWERS.items() if answer.status in {400, 415}])
def test_an_invalid_request_costs_no_call_of_the_table(
    name: str, function: Callable[[str], Handler], sent: list[str]
) -> None:
    run(function, name)
    # A forged cursor may have been sealed with a key that is newer than those read before.
    assert set(sent) <= ({"UpdateItem"} if name == "list_group/forged_cursor" else set())


def test_a_body_over_the_limit_is_413(function: Callable[[str], Handler], sent: list[str]) -> None:
    event = read("create_customers/valid")
    event["body"] = base64.b64encode(b" " * (MAX_BODY_BYTES + 1)).decode()
    answer = run(function, "create_customers/valid", event)
    assert (answer["statusCode"], body_of(answer)["type"]) == (413, "/problems/payload-too-large")
    assert sent == []


@pytest.mark.parametrize("name", AUTHORIZED)
@pytest.mark.usefixtures("tokens")
def test_authorizer_decides_on_its_event(name: str, function: Callable[[str], Handler], sent: list[str]) -> None:
    event = read(name)
    assert event["type"] == "TOKEN"
    if AUTHORIZED[name]:
        answer = run(function, name)
        identity = token_id(token_hash(TOKEN))
        assert answer["principalId"] == identity
        assert answer["context"] == {
            "token_id": identity, "first_token_id": identity, "scopes": " ".join(sorted(SCOPES)),
        }  # fmt: skip
        (statement,) = answer["policyDocument"]["Statement"]
        assert any(fnmatchcase(event["methodArn"], resource) for resource in statement["Resource"])
        assert sent == ["GetItem"]
    else:
        with pytest.raises(Exception, match=r"^Unauthorized$"):
            run(function, name)
        assert sent == []


STAGE: Final = "arn:aws:execute-api:us-east-1:123456789012:a1b2c3d4e5/prod"
POLICIES: Final = {
    "customers:read": [
        "GET/api/customers",
        "GET/api/customers/*",
        "HEAD/api/customers",
        "HEAD/api/customers/*",
    ],
    "customers:write": [
        "POST/api/customers",
        "POST/api/customers/",
        "PATCH/api/customers/*",
        "PUT/api/customers/external/*",
    ],
    "customers:delete": ["DELETE/api/customers/*"],
}
SCOPE_OF_METHOD: Final = {
    "GET": "customers:read",
    "HEAD": "customers:read",
    "POST": "customers:write",
    "PATCH": "customers:write",
    "PUT": "customers:write",
    "DELETE": "customers:delete",
}


def authorize(function: Callable[[str], Handler], token: str) -> Json:
    return run(function, "authorize/valid", {**read("authorize/valid"), "authorizationToken": f"Bearer {token}"})


def statement_for(function: Callable[[str], Handler], tokens: TokenStore, scopes: tuple[str, ...]) -> Json:
    token = new_token()
    tokens.put(token_hash(token), scopes, "test", None)
    policy = authorize(function, token)["policyDocument"]
    assert policy["Version"] == "2012-10-17"
    (statement,) = policy["Statement"]
    assert statement["Action"] == "execute-api:Invoke"
    return dict(statement)


@pytest.mark.parametrize("scope", POLICIES)
def test_a_scope_opens_its_routes_and_nothing_else(
    scope: str, function: Callable[[str], Handler], tokens: TokenStore
) -> None:
    statement = statement_for(function, tokens, (scope,))
    assert statement["Effect"] == "Allow"
    assert sorted(statement["Resource"]) == sorted(f"{STAGE}/{route}" for route in POLICIES[scope])


@pytest.mark.parametrize("scopes", [("customers:read",), ("customers:write", "customers:delete"), SCOPES])
def test_a_policy_serves_every_route_of_the_template_that_the_scopes_allow(
    scopes: tuple[str, ...], function: Callable[[str], Handler], tokens: TokenStore, stack: Stack
) -> None:
    # The gateway caches a policy for the token, not for the route that was called.
    resources = statement_for(function, tokens, scopes)["Resource"]
    for route in stack.api.routes:
        path = re.sub(r"\{\w+\}", "123", route.resource).rstrip("/")
        for called in (path, f"{path}/"):
            arn = f"{STAGE}/{route.method}{called}"
            allowed = any(fnmatchcase(arn, resource) for resource in resources)
            assert allowed == (SCOPE_OF_METHOD[route.method] in scopes), arn


@pytest.mark.parametrize("scopes", [(), ("customers:admin",), ("customers:export",)])
def test_a_token_without_a_scope_that_opens_a_route_is_denied_everything(
    scopes: tuple[str, ...], function: Callable[[str], Handler], tokens: TokenStore
) -> None:
    statement = statement_for(function, tokens, scopes)
    assert statement["Effect"] == "Deny"
    assert statement["Resource"] == [f"{STAGE}/*"]


NOW: Final = 1_800_000_000


@pytest.mark.parametrize(("expires_at", "revoked_at", "valid"), [
    (None, None, True),
    (NOW + 1, None, True),
    (NOW, None, False),
    (NOW - 1, None, False),
    (None, NOW + 1, True),
    (None, NOW, False),
    (None, NOW - 1, False),
    (NOW + 1, NOW, False),
    (NOW, NOW + 1, False),
])  # fmt: skip
def test_a_token_ends_at_the_very_second_at_which_it_expires_or_is_revoked(  # noqa: PLR0913, PLR0917 (fixtures)
    expires_at: int | None,
    revoked_at: int | None,
    valid: bool,  # noqa: FBT001 (a table's column)
    function: Callable[[str], Handler],
    tokens: TokenStore,
    dynamodb: DynamoDBClient,
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = new_token()
    tokens.put(token_hash(token), SCOPES, "test", expires_at)
    if revoked_at is not None:
        dynamodb.update_item(
            TableName=stack.functions["Authorize"].environment["TOKENS_TABLE"],
            Key={"token_hash": {"S": token_hash(token)}},
            UpdateExpression="SET revoked_at = :at",
            ExpressionAttributeValues={":at": {"N": str(revoked_at)}},
        )
    function("Authorize")
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    if valid:
        assert authorize(function, token)["principalId"] == token_id(token_hash(token))
    else:
        with pytest.raises(Exception, match=r"^Unauthorized$"):
            authorize(function, token)


def test_the_first_use_of_a_token_on_a_day_is_kept_and_no_other(
    function: Callable[[str], Handler], tokens: TokenStore, sent: list[str]
) -> None:
    token = new_token()
    tokens.put(token_hash(token), SCOPES, "test", None)
    sent.clear()
    for _ in range(2):
        authorize(function, token)
    assert sent == ["GetItem", "UpdateItem", "GetItem"]
    record = tokens.get(token_hash(token))
    assert record is not None
    assert record.last_used_on == datetime.now(UTC).date().isoformat()


@pytest.mark.usefixtures("customers_table")
def test_a_request_with_a_key_that_comes_again_gets_the_first_answer_marked(function: Callable[[str], Handler]) -> None:
    first, again = (run(function, "create_customers/idempotency_key") for _ in range(2))
    assert (again["statusCode"], again["body"]) == (first["statusCode"], first["body"])
    assert "Idempotency-Replayed" not in first["headers"]
    assert again["headers"] == {**first["headers"], "Idempotency-Replayed": "true"}
    other = read("create_customers/idempotency_key")
    other["body"] = read("create_customers/one")["body"]
    answer = run(function, "create_customers/idempotency_key", other)
    assert (answer["statusCode"], body_of(answer)["type"]) == (422, "/problems/key-reused")


@pytest.mark.usefixtures("tokens")
def test_an_unknown_token_of_a_valid_form_is_unauthorized(function: Callable[[str], Handler], sent: list[str]) -> None:
    with pytest.raises(Exception, match=r"^Unauthorized$") as caught:
        authorize(function, new_token())
    assert caught.type is Exception
    assert sent == ["GetItem"]


def test_no_log_line_holds_a_name_an_email_or_a_token(
    function: Callable[[str], Handler],
    customers_table: str,
    tokens: TokenStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert customers_table
    assert tokens.get(token_hash(TOKEN))
    for name in FUNCTIONS.values():
        function(name)
    log, everything = io.StringIO(), io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", log)
    # Libraries log to the root logger, which Lambda writes too.
    root, handler = logging.getLogger(), logging.StreamHandler(everything)
    levels = logger.log_level, root.level
    logger.setLevel("DEBUG")
    root.setLevel("DEBUG")
    root.addHandler(handler)
    # Lambda sets the level before it imports the function, which sets its own.
    importlib.reload(cold_start).over()
    try:
        for name in sorted(FILES, key=lambda name: name.startswith("delete_customer/")):
            if AUTHORIZED.get(name, True):
                run(function, name)
            else:
                with pytest.raises(Exception, match=r"^Unauthorized$"):
                    run(function, name)
    finally:
        root.removeHandler(handler)
        logger.setLevel(levels[0])
        root.setLevel(levels[1])
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    answered = [line["status"] for line in lines if line["message"] == "request"]
    assert answered.count(200) >= 10
    assert len(answered) == len(ANSWERS)
    for text in (log.getvalue(), everything.getvalue()):
        for secret in ("john", "doe", "example.com", "cust_", TOKEN[5:48]):
            assert secret not in text.lower() and secret not in text  # noqa: PT018 (one secret, in any case)
