"""Changes of customers reach the event bus: in order, identified by ids, and without personal data unless asked for."""

from __future__ import annotations

import io
import json
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from customers.logs import logger
from customers.store.customers import CustomerStore
from tests.author import TESTER

if TYPE_CHECKING:
    from collections.abc import Callable

    from customers.customer import NewCustomer
    from tests.integration.import_cloud import ImportCloud

pytestmark = pytest.mark.cloud

JANE: NewCustomer = {"first_name": "Jané", "last_name": "Secret", "email": "jane@secret.example", "group_id": 1}
PERSONAL = ("Jan", "Secret", "secret.example", "Joan")


@pytest.fixture
def store(cloud: ImportCloud) -> CustomerStore:
    return CustomerStore(cloud.dynamodb, "CustomersTable")


def publish(cloud: ImportCloud, records: list[dict[str, Any]]) -> list[str]:
    """Hand a batch to the function. Return the sequence numbers of the failures, from which the batch comes again."""
    answer = cloud.apps["PublishChanges"].lambda_handler({"Records": records}, None)
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def test_a_customers_life_is_told_without_the_customer(
    cloud: ImportCloud, store: CustomerStore, changes_of: Callable[[int], list[dict[str, Any]]]
) -> None:
    (jane,) = store.create([{**JANE, "group_id": random.randrange(1, 2**53)}], TESTER)
    store.update(jane["id"], {"first_name": "Joan", "age": 4}, None, TESTER)
    store.update(jane["id"], {"first_name": "Joan", "group_id": 2}, None, TESTER)
    store.delete(jane["id"], None, TESTER)
    records = changes_of(jane["id"])
    assert publish(cloud, records) == []
    events = cloud.events()
    assert [event["detail-type"] for event in events] == [
        "Customer created",
        "Customer updated",
        "Customer updated",
        "Customer deleted",
    ]
    assert {event["source"] for event in events} == {"customers"}
    details = [event["detail"] for event in events]
    assert [detail.pop("event_id") for detail in details] == [record["eventID"] for record in records]
    old, new = {"customer_id": jane["id"], "group_id": jane["group_id"]}, {"customer_id": jane["id"], "group_id": 2}
    assert details == [
        {**old, "version": 1},
        {**old, "version": 2, "changed": ["age", "first_name"]},
        {**new, "version": 3, "changed": ["group_id"]},
        {**new, "version": 4},
    ]
    assert not [word for word in PERSONAL if word in json.dumps(events, ensure_ascii=False)]


def test_an_event_has_the_time_of_its_change_however_late_it_is_told(
    cloud: ImportCloud, store: CustomerStore, changes_of: Callable[[int], list[dict[str, Any]]]
) -> None:
    (jane,) = store.create([JANE], TESTER)
    (record,) = changes_of(jane["id"])
    changed = datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC)
    record["dynamodb"]["ApproximateCreationDateTime"] = changed.timestamp()
    assert publish(cloud, [record]) == []
    (event,) = cloud.events()
    assert datetime.fromisoformat(event["time"]) == changed


def test_the_customer_is_told_only_when_the_parameter_says_so(
    cloud: ImportCloud,
    store: CustomerStore,
    changes_of: Callable[[int], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cloud.apps["PublishChanges"], "WITH_PERSONAL_DATA", True)
    (jane,) = store.create([JANE], TESTER)
    joan = store.update(jane["id"], {"first_name": "Joan"}, None, TESTER)
    store.delete(jane["id"], None, TESTER)
    assert publish(cloud, changes_of(jane["id"])) == []
    created, updated, deleted = (event["detail"] for event in cloud.events())
    assert (created["customer"], updated["customer"], deleted["customer"]) == (jane, joan, joan)
    assert updated["previous"] == {"first_name": "Jané", "updated_at": jane["updated_at"], "version": 1}
    assert "previous" not in created
    assert "previous" not in deleted


@pytest.mark.parametrize("refused", [0, 3, 9, 10, 24])
def test_from_the_first_change_that_the_bus_refuses_on_all_come_again(
    cloud: ImportCloud,
    store: CustomerStore,
    changes_of: Callable[[int], list[dict[str, Any]]],
    refused: int,
) -> None:
    created = store.create([JANE] * 25, TESTER)
    records = [record for customer in created for record in changes_of(customer["id"])]
    calls: list[int] = []

    def refuse(parsed: dict[str, Any], **_: object) -> None:
        calls.append(len(parsed["Entries"]))
        if len(calls) == refused // 10 + 1:
            parsed["Entries"][refused % 10] = {"ErrorCode": "ThrottlingException", "ErrorMessage": "later"}

    hooks = cloud.apps["PublishChanges"].bus.meta.events
    hooks.register("after-call.events.PutEvents", refuse, unique_id="refuse")
    try:
        again = publish(cloud, records)
    finally:
        hooks.unregister("after-call.events.PutEvents", unique_id="refuse")
    assert again == [records[refused]["dynamodb"]["SequenceNumber"]]
    assert max(calls) <= 10
    # What follows waits: a later change of a customer is never published before an earlier one.
    assert len(calls) == refused // 10 + 1
    # The records come again from there on. Together with those before, nothing is left out.
    told = [event["detail"]["event_id"] for event in cloud.events()]
    assert publish(cloud, records[refused:]) == []
    told += [event["detail"]["event_id"] for event in cloud.events()]
    assert set(told) == {record["eventID"] for record in records}


def test_a_bus_that_does_not_answer_fails_the_batch_without_a_word_about_the_customer(
    cloud: ImportCloud,
    store: CustomerStore,
    changes_of: Callable[[int], list[dict[str, Any]]],
    log: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (jane,) = store.create([JANE], TESTER)
    records = changes_of(jane["id"])
    monkeypatch.setattr(cloud.apps["PublishChanges"], "EVENT_BUS", "no-such-bus" + "x" * 2000)
    assert publish(cloud, records) == [records[0]["dynamodb"]["SequenceNumber"]]
    monkeypatch.undo()
    assert cloud.events() == []
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    told = [(line["level"], line["message"], line["sequence_number"]) for line in lines]
    assert told == [("ERROR", "changes refused", records[0]["dynamodb"]["SequenceNumber"])]
    assert not [word for word in PERSONAL if word in log.getvalue()]


def test_a_refusal_is_logged_by_its_code_and_never_by_its_text(
    cloud: ImportCloud,
    store: CustomerStore,
    changes_of: Callable[[int], list[dict[str, Any]]],
    log: io.StringIO,
) -> None:
    (jane,) = store.create([JANE], TESTER)
    records = changes_of(jane["id"])
    why = "Jané Secret <jane@secret.example> is no good"

    def refuse(parsed: dict[str, Any], **_: object) -> None:
        parsed["Entries"][0] = {"ErrorCode": "InternalFailure", "ErrorMessage": why}

    def fail(**_: object) -> None:
        raise ClientError({"Error": {"Code": "ValidationException", "Message": why}}, "PutEvents")

    hooks = cloud.apps["PublishChanges"].bus.meta.events
    for event, fault in (("after-call.events.PutEvents", refuse), ("before-call.events.PutEvents", fail)):
        hooks.register(event, fault, unique_id="fault")
        try:
            assert publish(cloud, records) == [records[0]["dynamodb"]["SequenceNumber"]]
        finally:
            hooks.unregister(event, unique_id="fault")
    cloud.events()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["error"] for line in lines if line["message"] == "changes refused"] == [
        "InternalFailure",
        "ClientError",
    ]
    assert not [word for word in PERSONAL if word in log.getvalue()]


def test_what_was_told_is_counted(
    cloud: ImportCloud,
    store: CustomerStore,
    changes_of: Callable[[int], list[dict[str, Any]]],
    log: io.StringIO,
) -> None:
    (jane,) = store.create([JANE], TESTER)
    store.update(jane["id"], {"age": 4}, None, TESTER)
    store.update(jane["id"], {"age": 5}, None, TESTER)
    store.delete(jane["id"], None, TESTER)
    publish(cloud, changes_of(jane["id"]))
    cloud.events()
    (line,) = map(json.loads, log.getvalue().splitlines())
    assert (line["level"], line["message"]) == ("INFO", "changes published")
    assert (line["CustomersCreated"], line["CustomersUpdated"], line["CustomersDeleted"]) == (1, 2, 1)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", stream)
    return stream
