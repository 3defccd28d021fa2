"""Each row of an import is written on its own, and tried again if it was throttled."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from customers.aws import dynamodb as dynamodb_module
from customers.errors import StoreUnavailableError
from customers.store import bulk
from customers.store.identity import ImportRow, Source
from customers.store.items import now
from customers.store.rows import RowStore
from tests.conftest import use_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """A client that throttles some batches: it lets through one in `one_in` statements, or none."""

    def __init__(self, client: DynamoDBClient, batches: int, *, whole: bool, one_in: int = 2) -> None:
        self._client = client
        self._batches = batches
        self._whole = whole
        self._one_in = one_in

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def batch_execute_statement(self, **arguments: Any) -> Any:
        if self._batches == 0:
            return self._client.batch_execute_statement(**arguments)
        self._batches -= 1
        if self._whole:
            answer: Any = {"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
            raise ClientError(answer, "BatchExecuteStatement")
        statements = arguments["Statements"]
        done = self._client.batch_execute_statement(Statements=statements[:: self._one_in])["Responses"]
        refused = {"Error": {"Code": "ThrottlingError"}}
        return {"Responses": [refused if i % self._one_in else done[i // self._one_in] for i in range(len(statements))]}


@pytest.fixture(scope="module")
def dynamodb(engine: str) -> Iterator[DynamoDBClient]:
    """Return the functions' own client, which sends batches in its own way."""
    with pytest.MonkeyPatch.context() as patch:
        use_engine(patch, engine)
        yield dynamodb_module.client()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_LONGEST_PAUSE", 0.01)


@pytest.mark.parametrize("whole", [False, True])
def test_what_is_throttled_is_tried_again(whole: bool, dynamodb: DynamoDBClient) -> None:  # noqa: FBT001
    client: Any = Throttled(dynamodb, 9, whole=whole)
    store, request, rows = RowStore(client, "CustomersTable"), _source(), _rows(60)
    assert store.write(request, rows) == dict.fromkeys(rows, "created")
    assert store.written(request, rows) == dict.fromkeys(rows, "created")


def test_a_table_that_refuses_most_is_asked_less(dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> None:
    longest: list[float] = []

    def no_pause(_: float, high: float) -> float:
        longest.append(high)
        return 0.0

    monkeypatch.setattr(bulk, "_LONGEST_PAUSE", 2.0)
    monkeypatch.setattr("customers.store.bulk.random.uniform", no_pause)
    client: Any = Throttled(dynamodb, 30, whole=False, one_in=25)
    request, rows = _source(), _rows(250)
    assert RowStore(client, "CustomersTable").write(request, rows) == dict.fromkeys(rows, "created")
    # Thirty batches get little in, and pauses grow to the longest. Then batches get everything in, and pauses halve.
    assert longest == [0.1, 0.2, 0.4, 0.8, 1.6, *[2.0] * 25, 1.0, 0.5, 0.25, 0.125, 0.0625]


def test_an_import_goes_on_as_long_as_some_rows_get_through(dynamodb: DynamoDBClient) -> None:
    client: Any = Throttled(dynamodb, 10_000, whole=False, one_in=25)
    store, request, rows = RowStore(client, "CustomersTable"), _source(), _rows(60)
    assert store.write(request, rows) == dict.fromkeys(rows, "created")


def test_a_table_that_keeps_refusing_is_unavailable(dynamodb: DynamoDBClient) -> None:
    client: Any = Throttled(dynamodb, 10_000, whole=True)
    with pytest.raises(StoreUnavailableError):
        RowStore(client, "CustomersTable").write(_source(), _rows(3))


class Busy:
    """A client that answers for only one key of each request, for a number of times."""

    def __init__(self, client: DynamoDBClient, times: int) -> None:
        self._client = client
        self._times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def batch_get_item(self, **arguments: Any) -> Any:
        if self._times == 0:
            return self._client.batch_get_item(**arguments)
        self._times -= 1
        asked: Any
        ((table, asked),) = arguments["RequestItems"].items()
        first, *others = asked["Keys"]
        only: Any = {table: {**asked, "Keys": [first]}}
        answer = self._client.batch_get_item(RequestItems=only)
        return {**answer, "UnprocessedKeys": {table: {**asked, "Keys": others}} if others else {}}


def test_rows_about_which_the_table_does_not_answer_at_once_are_asked_for_again(dynamodb: DynamoDBClient) -> None:
    source, rows = _source(), _rows(130)
    RowStore(dynamodb, "CustomersTable").write(source, rows)
    # If they were given up, rows that were written would be reported as rejected, and imported again.
    assert RowStore(Busy(dynamodb, 9), "CustomersTable").written(source, rows) == dict.fromkeys(rows, "created")  # type: ignore[arg-type]
    again = RowStore(Busy(dynamodb, 9), "CustomersTable")  # type: ignore[arg-type]
    assert again.write(source, rows) == dict.fromkeys(rows, "created")


def test_a_table_that_never_answers_about_all_rows_is_unavailable(dynamodb: DynamoDBClient) -> None:
    # Before the first write there is no salt, and so nothing to ask about.
    RowStore(dynamodb, "CustomersTable").write(_source(), _rows(1))
    store = RowStore(Busy(dynamodb, 10_000), "CustomersTable")  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailableError):
        store.written(_source(), _rows(60))
