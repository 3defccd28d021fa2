"""Each row of an import is written on its own, and tried again if it was throttled."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from customers.aws import dynamodb as dynamodb_module
from customers.errors import StoreUnavailableError
from customers.store import bulk
from customers.store.identity import ImportRow, Source
from customers.store.items import now
from customers.store.rows import RowStore
from tests.conftest import use_engine
from tests.sending import admitting, answer_to, before_sending, dynamodb_call, error_answer, sent_through, target_of

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from mypy_boto3_dynamodb import DynamoDBClient


def _source() -> Source:
    return Source(uuid4().hex, now())


def _rows(size: int) -> dict[int, ImportRow]:
    group_id = random.randrange(1, 2**53)
    return {
        index: ImportRow(
            {"first_name": "Jo", "last_name": f"Doe {index}", "email": "jo@example.com", "group_id": group_id}
        )
        for index in range(1, size + 1)
    }


class Throttled:
    """A hook that throttles some batches: it lets through one in `one_in` statements, or none."""

    def __init__(self, engine: DynamoDBClient, batches: int, *, whole: bool, one_in: int = 2) -> None:
        self._batches = batches
        some = admitting(engine, lambda place: place % one_in == 0)
        self._throttle = error_answer("ThrottlingException") if whole else some

    def __call__(self, request: AWSPreparedRequest) -> AWSResponse | None:
        if self._batches == 0 or not target_of(request).endswith(".BatchExecuteStatement"):
            return None
        self._batches -= 1
        return self._throttle(request)


@pytest.fixture
def client(engine: str, monkeypatch: pytest.MonkeyPatch) -> DynamoDBClient:
    """Return the functions' own client, whose requests the tests hook."""
    use_engine(monkeypatch, engine)
    return dynamodb_module.client()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_LONGEST_PAUSE", 0.01)


@pytest.mark.parametrize("whole", [False, True])
def test_what_is_throttled_is_tried_again(whole: bool, client: DynamoDBClient, dynamodb: DynamoDBClient) -> None:  # noqa: FBT001
    before_sending(client, Throttled(dynamodb, 9, whole=whole))
    store, request, rows = RowStore(client, "CustomersTable"), _source(), _rows(60)
    assert store.write(request, rows) == dict.fromkeys(rows, "created")
    assert store.written(request, rows) == dict.fromkeys(rows, "created")


def test_a_table_that_refuses_most_is_asked_less(
    client: DynamoDBClient, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest: list[float] = []

    def no_pause(_: float, high: float) -> float:
        longest.append(high)
        return 0.0

    monkeypatch.setattr(bulk, "_LONGEST_PAUSE", 2.0)
    monkeypatch.setattr("customers.store.bulk.random.uniform", no_pause)
    before_sending(client, Throttled(dynamodb, 30, whole=False, one_in=25))
    request, rows = _source(), _rows(250)
    assert RowStore(client, "CustomersTable").write(request, rows) == dict.fromkeys(rows, "created")
    # Thirty batches get little in, and pauses grow to the longest. Then batches get everything in, and pauses halve.
    assert longest == [0.1, 0.2, 0.4, 0.8, 1.6, *[2.0] * 25, 1.0, 0.5, 0.25, 0.125, 0.0625]


def test_an_import_goes_on_as_long_as_some_rows_get_through(client: DynamoDBClient, dynamodb: DynamoDBClient) -> None:
    before_sending(client, Throttled(dynamodb, 10_000, whole=False, one_in=25))
    store, request, rows = RowStore(client, "CustomersTable"), _source(), _rows(60)
    assert store.write(request, rows) == dict.fromkeys(rows, "created")


def test_a_table_that_keeps_refusing_is_unavailable(client: DynamoDBClient, dynamodb: DynamoDBClient) -> None:
    before_sending(client, Throttled(dynamodb, 10_000, whole=True))
    with pytest.raises(StoreUnavailableError):
        RowStore(client, "CustomersTable").write(_source(), _rows(3))


class Busy:
    """A hook that answers for only one key of each batch of reads, for a number of times."""

    def __init__(self, engine: DynamoDBClient, times: int) -> None:
        self._engine = engine
        self._times = times

    def __call__(self, request: AWSPreparedRequest) -> AWSResponse | None:
        operation, parameters = dynamodb_call(request) or ("", {})
        if self._times == 0 or operation != "BatchGetItem":
            return None
        self._times -= 1
        ((table, asked),) = parameters["RequestItems"].items()
        first, *others = asked["Keys"]
        only: Any = {table: {**asked, "Keys": [first]}}
        found = self._engine.batch_get_item(RequestItems=only)["Responses"]
        left = {table: {**asked, "Keys": others}} if others else {}
        return answer_to(request, json.dumps({"Responses": found, "UnprocessedKeys": left}).encode())


def test_rows_about_which_the_table_does_not_answer_at_once_are_asked_for_again(
    client: DynamoDBClient, dynamodb: DynamoDBClient
) -> None:
    source, rows = _source(), _rows(130)
    store = RowStore(client, "CustomersTable")
    store.write(source, rows)
    # If they were given up, rows that were written would be reported as rejected, and imported again.
    for ask in (store.written, store.write):
        with sent_through(client, Busy(dynamodb, 9)):
            assert ask(source, rows) == dict.fromkeys(rows, "created")


def test_a_table_that_never_answers_about_all_rows_is_unavailable(
    client: DynamoDBClient, dynamodb: DynamoDBClient
) -> None:
    # Before the first write there is no salt, and so nothing to ask about.
    store = RowStore(client, "CustomersTable")
    store.write(_source(), _rows(1))
    before_sending(client, Busy(dynamodb, 10_000))
    with pytest.raises(StoreUnavailableError):
        store.written(_source(), _rows(60))
