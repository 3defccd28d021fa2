"""The answers kept for an Idempotency-Key: they are kept for a day, and each opens only with its own request."""

from __future__ import annotations

import inspect
import json
import secrets
import time
from contextlib import contextmanager
from difflib import SequenceMatcher
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest

from tests.conftest import ROOT
from tests.sending import dynamodb_call, error_answer, sent_through

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
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
        body = {"first_name": first_name, "last_name": "Doe", "email": "j@example.com", "group_id": 1}
        return self.send(key, body, {"token_id": by})

    def send(
        self,
        key: str,
        body: Json,
        authorizer: dict[str, str],
        query: dict[str, list[str]] | None = None,
        **headers: str,
    ) -> Json:
        event = json.loads(json.dumps(self._event))
        event["multiValueHeaders"] |= {"Idempotency-Key": [key]} | {name: [value] for name, value in headers.items()}
        event["requestContext"]["authorizer"] = authorizer
        event["multiValueQueryStringParameters"] = query
        event.update({"body": json.dumps(body), "isBase64Encoded": False})
        return self._handler(event, SimpleNamespace(get_remaining_time_in_millis=lambda: 15_000))

    def records(self) -> dict[str, Json]:
        pages = self._client.get_paginator("scan").paginate(TableName="AnswersTable", ConsistentRead=True)
        return {item["id"]["S"]: item for page in pages for item in page["Items"]}

    def made_by(self, *arguments: str, status: int = 201) -> list[Json]:
        """Return the records that a first request leaves. The one with its answer is last."""
        before = self.records()
        assert self.post(*arguments)["statusCode"] == status
        made = [item for name, item in self.records().items() if name not in before]
        return sorted(made, key=lambda item: "data" in item)

    @contextmanager
    def hook(self, operation: str, handler: Callable[[Json], str | None]) -> Iterator[None]:
        """Ask a handler about each call of an operation while the block runs: it may return the code of an error."""

        def ask(request: AWSPreparedRequest) -> AWSResponse | None:
            asked = dynamodb_call(request)
            code = handler(asked[1]) if asked is not None and asked[0] == operation else None
            return error_answer(code)(request) if code else None

        with sent_through(inspect.unwrap(self._handler).__globals__["client"], ask):
            yield

    def set(self, record: Json, name: str, value: Json) -> None:
        self._client.update_item(
            TableName="AnswersTable",
            Key={"id": record["id"]},
            UpdateExpression="SET #name = :value",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":value": value},
        )

    def put(self, record: Json) -> None:
        self._client.put_item(TableName="AnswersTable", Item=record)

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


def test_a_wrong_header_may_be_corrected_and_a_wrong_body_not(answers: Answers) -> None:
    body = {"first_name": "John", "last_name": "Doe", "email": "j@example.com", "group_id": 1}
    key, wrong = str(uuid4()), {"If-Match": "3"}
    for _ in range(2):
        answer = answers.send(key, body, {"token_id": "somebody"}, None, **wrong)
        assert (answer["statusCode"], is_replayed(answer)) == (400, False)
    assert answers.send(key, body, {"token_id": "somebody"})["statusCode"] == 201
    key = str(uuid4())
    for replayed in (False, True):
        answer = answers.send(key, {**body, "group_id": "x"}, {"token_id": "somebody"})
        assert (answer["statusCode"], is_replayed(answer)) == (400, replayed)


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
    # Someone who can write to the table gives one request the record of another.
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


def test_a_key_stays_the_same_when_its_token_is_replaced(answers: Answers) -> None:
    first, key = f"first-{uuid4()}", str(uuid4())
    body = {"first_name": "John", "last_name": "Doe", "email": "j@example.com", "group_id": 1}
    created = answers.send(key, body, {"token_id": first, "first_token_id": first})
    replaced = answers.send(key, body, {"token_id": f"second-{uuid4()}", "first_token_id": first})
    assert (replaced["body"], is_replayed(replaced)) == (created["body"], True)
    another = answers.send(key, body, {"token_id": first, "first_token_id": f"another-{uuid4()}"})
    assert (another["statusCode"], is_replayed(another)) == (201, False)


def test_an_answer_that_is_too_long_to_be_kept_is_worked_out_again(answers: Answers) -> None:
    key = str(uuid4())
    rows = [{secrets.token_urlsafe(45): 1 for _ in range(100)} for _ in range(100)]
    first, again = (answers.send(key, {"customers": rows}, {}, {"size": ["list"]}) for _ in range(2))
    assert (first["statusCode"], len(json.loads(first["body"])["errors"])) == (400, 100 * 101)
    assert (again["statusCode"], is_replayed(again)) == (400, False)
    assert json.loads(again["body"]) == json.loads(first["body"])


def test_the_same_answer_is_never_kept_in_the_same_way(answers: Answers) -> None:
    # Equal records would show that two requests were equal.
    kept = [answers.made_by(str(uuid4()), "John")[-1]["data"]["S"] for _ in range(3)]
    assert len(set(kept)) == 3


def test_what_tells_a_request_from_others_depends_on_its_key(
    answers: Answers, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that all differences come from the key.
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _: "random")
    by = str(uuid4())

    def stored(key: str) -> tuple[str, str]:
        validation = answers.made_by(key, "John", by)[-1]["validation"]["S"]
        customer_id = json.loads(answers.post(key, "John", by)["body"])["id"]
        customer = dynamodb.get_item(TableName="CustomersTable", Key={"id": {"N": str(customer_id)}})["Item"]
        return validation, customer["create_token"]["S"]

    # A hash of the body alone would be in both, and would confirm a guess about the body.
    for one, other in zip(stored(str(uuid4())), stored(str(uuid4())), strict=True):
        assert SequenceMatcher(None, one, other, autojunk=False).find_longest_match().size < 12


def test_two_answers_to_the_same_request_are_not_kept_in_the_same_way(answers: Answers) -> None:
    # If both had the same key stream, someone who knows one of them could read the other.
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
    refusals = ["ThrottlingException"]
    with answers.hook("PutItem", lambda _: refusals.pop() if refusals else None):
        assert answers.post(key, "John")["statusCode"] == 409
    assert not refusals


def refuses(table: str, code: str, id_begins_with: str = "") -> Callable[[Json], str | None]:
    """Return a handler that refuses calls about items of a table whose ids begin with a prefix."""

    def refuse(asked: Json) -> str | None:
        key = (asked["Item"] if "Item" in asked else asked["Key"])["id"].get("S", "")
        return code if asked["TableName"] == table and key.startswith(id_begins_with) else None

    return refuse


def test_a_key_is_refused_for_another_request_also_if_its_first_request_changed_nothing(answers: Answers) -> None:
    key = str(uuid4())
    assert answers.post(key, "")["statusCode"] == 400
    other = answers.post(key, "John")
    assert (other["statusCode"], json.loads(other["body"])["type"]) == (422, "/problems/key-reused")


def test_a_request_that_the_store_did_not_take_is_made_when_it_comes_again(answers: Answers) -> None:
    key = str(uuid4())
    with answers.hook("PutItem", refuses("CustomersTable", "ThrottlingException")):
        assert answers.post(key, "John")["statusCode"] == 503
    created, again = answers.post(key, "John"), answers.post(key, "John")
    assert (created["statusCode"], is_replayed(created)) == (201, False)
    assert (again["body"], is_replayed(again)) == (created["body"], True)


def test_a_request_whose_answer_was_not_kept_makes_the_same_customer_when_it_comes_again(answers: Answers) -> None:
    key, before = str(uuid4()), answers.records()
    written: list[str] = []

    def look(asked: Json) -> None:
        if asked["TableName"] == "CustomersTable":
            written.append(asked["Item"]["id"]["N"])

    with answers.hook("PutItem", look):
        with answers.hook("UpdateItem", refuses("AnswersTable", "ThrottlingException")):
            assert answers.post(key, "John")["statusCode"] == 503
        running = answers.post(key, "John")
        assert (running["statusCode"], json.loads(running["body"])["type"]) == (409, "/problems/still-running")
        (record,) = (
            item for name, item in answers.records().items() if name not in before and not name.startswith("life#")
        )
        answers.set(record, "in_progress_expiration", {"N": str(int((time.time() - MINUTE) * 1000))})
        created = answers.post(key, "John")
    assert (created["statusCode"], is_replayed(created)) == (201, False)
    assert written == [str(json.loads(created["body"])["id"])] * 2


def test_a_request_whose_key_cannot_be_remembered_fails_and_makes_nothing(answers: Answers) -> None:
    key = str(uuid4())
    with answers.hook("PutItem", refuses("AnswersTable", "AccessDeniedException", "life#")):
        before = answers.records()
        assert answers.post(key, "John")["statusCode"] == 500
        assert answers.records() == before
    assert answers.post(key, "John")["statusCode"] == 201


KEPT: Final = {
    "id": {"S": "create#5826fa8eca2af1d013da7326c182d4630d41d534d48f7904ab814198b2064bd4"},
    "status": {"S": "COMPLETED"},
    "validation": {"S": "c1902fa2dd187aac506d0d30b4971bad45586e4f8736c0a5279f7ba07c9593cd"},
    "data": {
        "S": '{"sealed": "`4BeWdQ2a>h!F)EwP53-9^^Iu5uy$zf}xEkr=GmX7}K$LEXg`M@MeRj75_lwRg7$8-K8S#8%(YohnC#"}'
    },
}  # fmt: skip
"""An answer as it was kept on an earlier day, with {"kept":"before"} for its body."""


def test_an_answer_kept_before_an_update_is_given_again_after_it(answers: Answers) -> None:
    answers.put({**KEPT, "expiration": {"N": str(int(time.time()) + DAY)}})
    answer = answers.post("an-earlier-key", "John", "an-earlier-token")
    assert answer["body"] == '{"kept":"before"}'
    assert (answer["statusCode"], answer["headers"]["ETag"], is_replayed(answer)) == (201, '"1"', True)


def test_a_request_begun_before_an_update_makes_the_same_customer_after_it(answers: Answers) -> None:
    answers.put({
        "id": {"S": "life#9CfkE0GY6FJAuDeCSdfq4w"},
        "life": {"S": "7DficYx9n69yTRBf"},
        "expiration": {"N": str(int(time.time()) + DAY)},
    })  # fmt: skip
    created = answers.post("a-key-of-an-earlier-day", "John", "an-earlier-token")
    assert (created["statusCode"], json.loads(created["body"])["id"]) == (201, 1075500605749059)
