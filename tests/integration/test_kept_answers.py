"""The answers kept for an Idempotency-Key: for a day, and each opens with its own request alone."""

from __future__ import annotations

import inspect
import json
import time
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.conftest import Handler

type Json = dict[str, Any]

DAY = 24 * 60 * 60
MINUTE = 60


class Answers:
    """The function that creates customers, and the table of its answers."""

    def __init__(self, handler: Handler, client: DynamoDBClient) -> None:
        self._handler = handler
        self._client = client
        self._event = json.loads((ROOT / "events/create_customers/idempotency_key.json").read_text(encoding="utf-8"))

    def post(self, key: str, first_name: str, by: str = "somebody") -> Json:
        event = json.loads(json.dumps(self._event))
        event["multiValueHeaders"]["Idempotency-Key"] = [key]
        event["requestContext"]["authorizer"] = {"token_id": by}
        body = {"first_name": first_name, "last_name": "Doe", "email": "j@example.com", "group_id": 1}
        event.update({"body": json.dumps(body), "isBase64Encoded": False})
        return self._handler(event, SimpleNamespace(get_remaining_time_in_millis=lambda: 15_000))

    def records(self) -> dict[str, Json]:
        pages = self._client.get_paginator("scan").paginate(TableName="AnswersTable", ConsistentRead=True)
        return {item["id"]["S"]: item for page in pages for item in page["Items"]}

    def made_by(self, *arguments: str, status: int = 201) -> list[Json]:
        """Return the records that a first request leaves, the one with its answer last."""
        before = self.records()
        assert self.post(*arguments)["statusCode"] == status
        made = [item for name, item in self.records().items() if name not in before]
        return sorted(made, key=lambda item: "data" in item)

    @contextmanager
    def hook(self, event: str, handler: Callable[..., None]) -> Iterator[None]:
        """Call a handler at an event of the function's own client while the block runs."""
        events = inspect.unwrap(self._handler).__globals__["client"].meta.events
        events.register_first(event, handler, unique_id="hook")
        try:
            yield
        finally:
            events.unregister(event, unique_id="hook")

    def set(self, record: Json, name: str, value: Json) -> None:
        self._client.update_item(
            TableName="AnswersTable",
            Key={"id": record["id"]},
            UpdateExpression="SET #name = :value",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":value": value},
        )

    def let_pass(self, records: list[Json], seconds: int) -> None:
        """Let the records get older."""
        for record in records:
            for name in ("expiration", "in_progress_expiration"):
                if name in record:
                    self.set(record, name, {"N": str(int(record[name]["N"]) - seconds)})


@pytest.fixture(scope="module")
def answers(function: Callable[[str], Handler], dynamodb: DynamoDBClient) -> Answers:
    return Answers(function("CreateCustomers"), dynamodb)


def is_replayed(answer: Json) -> bool:
    return "Idempotency-Replayed" in answer["headers"]


def test_an_answer_is_given_again_for_a_day_and_then_the_key_is_new(answers: Answers) -> None:
    key = str(uuid4())
    records = answers.made_by(key, "John")
    answers.let_pass(records, DAY - 5 * MINUTE)
    first = answers.post(key, "John")
    assert is_replayed(first)
    answers.let_pass(records, DAY + 5 * MINUTE)
    second = answers.post(key, "John")
    assert (second["statusCode"], is_replayed(second)) == (201, False)
    assert json.loads(second["body"])["id"] != json.loads(first["body"])["id"]


def test_the_table_is_told_when_each_record_expires(answers: Answers, dynamodb: DynamoDBClient) -> None:
    expiry = dynamodb.describe_time_to_live(TableName="AnswersTable")["TimeToLiveDescription"]["AttributeName"]
    records = answers.made_by(str(uuid4()), "John")
    assert len(records) == 2
    for record in records:
        assert 0 <= time.time() + DAY - int(record[expiry]["N"]) < 5 * MINUTE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("key", "Jane", "token"), ("other", "Jane", "token")),
        (("key", "Jane", "token"), ("key", "Joan", "other")),
        (("key", "Jane", "token"), ("other", "Joan", "other")),
    ],
    ids=["another key", "another body", "both"],
)
def test_an_answer_does_not_open_with_another_request(
    answers: Answers, one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    # Whoever can write into the table gives one request the record of another.
    mark = str(uuid4())
    (*_, kept), (*_, target) = (
        answers.made_by(f"{key}-{mark}", first_name, f"{token}-{mark}") for key, first_name, token in (one, other)
    )
    expected = answers.post(f"{one[0]}-{mark}", one[1], f"{one[2]}-{mark}")
    assert is_replayed(expected)
    answers.set(target, "data", kept["data"])
    stolen = answers.post(f"{other[0]}-{mark}", other[1], f"{other[2]}-{mark}")
    assert stolen["statusCode"] == 500
    assert stolen["body"] != expected["body"]
    assert json.loads(stolen["body"]).keys().isdisjoint(json.loads(expected["body"]))


def test_the_same_answer_is_never_kept_in_the_same_way(answers: Answers) -> None:
    # Equal records would say that two requests were equal.
    kept = [answers.made_by(str(uuid4()), "John")[-1]["data"]["S"] for _ in range(3)]
    assert len(set(kept)) == 3


def test_two_answers_to_the_same_request_are_not_kept_in_the_same_way(answers: Answers) -> None:
    # Who knows what one of them says could read the other, if both had the same key stream.
    key = str(uuid4())
    records = answers.made_by(key, "", status=400)
    answers.let_pass(records, DAY + 5 * MINUTE)
    assert not is_replayed(answers.post(key, ""))
    first = records[-1]
    second = answers.records()[first["id"]["S"]]
    assert is_replayed(answers.post(key, ""))
    assert second["data"]["S"] != first["data"]["S"]


def test_a_request_that_was_throttled_does_not_take_the_record_of_one_that_still_runs_for_its_own(
    answers: Answers,
) -> None:
    key = str(uuid4())
    record = answers.made_by(key, "John")[-1]
    answers.set(record, "status", {"S": "INPROGRESS"})
    answers.set(record, "in_progress_expiration", {"N": str(int((time.time() + MINUTE) * 1000))})
    throttled: list[None] = []

    def throttle(**_: object) -> None:
        if not throttled:
            throttled.append(None)
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "PutItem")

    with answers.hook("before-call.dynamodb.PutItem", throttle):
        assert answers.post(key, "John")["statusCode"] == 409
    assert throttled
