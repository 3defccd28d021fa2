"""The history on a real engine: complete and in order, whatever fails. After a deletion, only that is left."""

from __future__ import annotations

import io
import json
import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.httpsession import URLLib3Session

from customers.logs import logger
from customers.store.author import Author
from customers.store.customers import CustomerStore
from customers.store.external_ids import ExternalIdStore
from customers.store.history import MOST_IN_A_STEP, Entry, HistoryStore, entry_of, steps
from customers.store.identity import ImportRow, Source
from customers.store.items import Creation, new_item
from customers.store.pages import PageStore
from customers.store.rows import RowStore
from tests.integration.test_import_store import ShortPages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from customers.customer import NewCustomer
    from tests.conftest import Handler

type Json = dict[str, Any]
type ChangesOf = Callable[[int], list[Json]]

JANE: Final[NewCustomer] = {"first_name": "Jané", "last_name": "Secret", "email": "jané@secret.example", "group_id": 1}
PERSONAL: Final = ("Jan", "Secret", "secret.example", "Joan", "gold")
AUTHOR: Final = Author(token_id="a-token", request_id="r1")
DAY: Final = 86_400


@pytest.fixture
def store(dynamodb: DynamoDBClient) -> CustomerStore:
    return CustomerStore(dynamodb, "CustomersTable")


@pytest.fixture
def keep(function: Callable[[str], Handler]) -> Callable[[Sequence[Json]], list[str]]:
    """Return the function. It takes records, and returns the sequence numbers from which they are to come again."""

    def keep(records: Sequence[Json]) -> list[str]:
        answer: Any = function("KeepHistory")({"Records": list(records)}, None)
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    return keep


@pytest.fixture
def read(function: Callable[[str], Handler]) -> Callable[..., Json]:
    """Return the endpoint. It takes an id and query parameters."""

    def read(customer_id: int | str, **query: str) -> Json:
        path = f"/api/customers/{customer_id}/history"
        event = {
            "httpMethod": "GET",
            "path": path,
            "pathParameters": {"customer_id": str(customer_id)},
            "multiValueQueryStringParameters": {name: [value] for name, value in query.items()},
            "requestContext": {"requestId": str(uuid4()), "path": path, "domainName": "api.example.com"},
        }
        answer: Any = function("GetHistory")(event, SimpleNamespace())
        return {**answer, "body": json.loads(answer["body"])}

    return read


def history(answer: Json) -> list[Json]:
    entries: list[Json] = answer["body"]["history"]
    return entries


def test_a_customers_life_is_kept_with_who_changed_it_and_how(
    store: CustomerStore, changes_of: ChangesOf, keep: Any, read: Any
) -> None:
    (jane,) = store.create([{**JANE, "metadata": {"tier": "gold"}}], AUTHOR)
    joan = store.update(jane["id"], {"first_name": "Joan", "age": 4}, None, Author(token_id="b", request_id="r2"))
    last = store.update(jane["id"], {"age": None}, None, Author(import_id="i1", row=7))
    assert keep(changes_of(jane["id"])) == []
    assert history(read(jane["id"])) == [
        {
            "version": 3,
            "at": last["updated_at"],
            "action": "updated",
            "by": {"import_id": "i1", "row": 7},
            "request_id": None,
            "changes": {"age": {"from": 4, "to": None}},
        },
        {
            "version": 2,
            "at": joan["updated_at"],
            "action": "updated",
            "by": {"token_id": "b"},
            "request_id": "r2",
            "changes": {"first_name": {"from": "Jané", "to": "Joan"}, "age": {"from": None, "to": 4}},
        },
        {
            "version": 1,
            "at": jane["created_at"],
            "action": "created",
            "by": {"token_id": "a-token"},
            "request_id": "r1",
            "changes": {name: {"from": None, "to": value} for name, value in JANE.items()}
            | {"metadata": {"from": {}, "to": {"tier": "gold"}}},
        },
    ]


def test_a_row_of_an_import_is_an_author_too(
    dynamodb: DynamoDBClient, store: CustomerStore, changes_of: ChangesOf, keep: Any, read: Any
) -> None:
    rows, keyed = RowStore(dynamodb, "CustomersTable"), ExternalIdStore(dynamodb, "CustomersTable")
    key = f"key-{random.getrandbits(64)}"
    new: NewCustomer = {**JANE, "external_id": key}
    first, second, third = (Source(uuid4().hex, f"2999-01-0{day}T00:00:00.000Z") for day in (1, 2, 3))
    rows.write(first, {7: ImportRow(new)})
    jane = keyed.get(key)
    changed: NewCustomer = {**new, "age": 42}
    rows.write(second, {9: ImportRow(changed)})
    # Nothing changes, so there is nothing to report.
    rows.write(third, {2: ImportRow(changed)})
    assert keep(changes_of(jane["id"])) == []
    told = [(entry["version"], entry["by"], entry["request_id"]) for entry in history(read(jane["id"]))]
    assert told == [
        (2, {"import_id": second.name, "row": 9}, None),
        (1, {"import_id": first.name, "row": 7}, None),
    ]
    # This customer is known by its content.
    rows.write(first, {8: ImportRow({**JANE, "last_name": key})})
    page = PageStore(dynamodb, "CustomersTable").group(
        1, "last_name", descending=False, limit=9, after=None, prefix=key
    )
    (joan,) = page.customers
    assert keep(changes_of(joan["id"])) == []
    assert [entry["by"] for entry in history(read(joan["id"]))] == [{"import_id": first.name, "row": 8}]
    store.delete(joan["id"], None, AUTHOR)


def everything_about(dynamodb: DynamoDBClient, customer_id: int) -> list[Json]:
    answer = dynamodb.query(
        TableName="HistoryTable",
        KeyConditionExpression="customer_id = :id",
        ExpressionAttributeValues={":id": {"N": str(customer_id)}},
        ConsistentRead=True,
    )
    return list(answer["Items"])


def test_of_a_deleted_customer_only_the_deletion_is_left_however_late_or_often_batches_come(
    store: CustomerStore, changes_of: ChangesOf, keep: Any, read: Any, dynamodb: DynamoDBClient
) -> None:
    (jane,) = store.create([{**JANE, "metadata": {"tier": "gold"}}], AUTHOR)
    for age in range(120):
        store.update(jane["id"], {"age": age}, None, AUTHOR)
    store.delete(jane["id"], None, Author(token_id="the-deleter", request_id="r9"))
    records = changes_of(jane["id"])
    assert keep(records[:-1]) == []
    assert len(everything_about(dynamodb, jane["id"])) == 121
    assert keep(records[-1:]) == []
    for late in (records, records[-1:], records[:1], records[5:40], records):
        assert keep(late) == []
        (item,) = everything_about(dynamodb, jane["id"])
        assert not [word for word in PERSONAL if word in json.dumps(item, ensure_ascii=False)]
    (entry,) = history(read(jane["id"]))
    assert entry.pop("at") == records[-1]["dynamodb"]["NewImage"]["deleted_at"]["S"]
    assert entry == {
        "version": 122,
        "action": "deleted",
        "by": {"token_id": "the-deleter"},
        "request_id": "r9",
        "changes": {},
    }


def test_an_item_that_someone_removes_past_the_service_is_a_deletion_too(
    store: CustomerStore, changes_of: ChangesOf, keep: Any, read: Any, dynamodb: DynamoDBClient
) -> None:
    (jane,) = store.create([JANE], AUTHOR)
    store.update(jane["id"], {"age": 4}, None, AUTHOR)
    dynamodb.delete_item(TableName="CustomersTable", Key={"id": {"N": str(jane["id"])}})
    records = changes_of(jane["id"])
    assert keep(records) == keep(records) == []
    (entry,) = history(read(jane["id"]))
    assert (entry["version"], entry["action"], entry["by"], entry["changes"]) == (3, "deleted", {}, {})


def test_random_changes_in_batches_that_come_twice_late_and_cut_are_the_history(
    store: CustomerStore, changes_of: ChangesOf, keep: Any, read: Any
) -> None:
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    customers = store.create([JANE] * 5, AUTHOR)
    expected = {customer["id"]: [(1, "r1")] for customer in customers}
    for step in range(150):
        customer_id = chance.choice(customers)["id"]
        request_id = f"r-{step}"
        changed = store.update(customer_id, {"age": step % 150}, None, Author("t", request_id))
        expected[customer_id].append((changed["version"], request_id))
    gone = customers[0]["id"]
    store.delete(gone, None, Author("t", "the-end"))
    expected[gone] = [(len(expected[gone]) + 1, "the-end")]
    # Each customer's records are in order, as in the stream, but a batch may begin with records that were sent before.
    records = [record for customer in customers for record in changes_of(customer["id"])]
    done = 0
    while done < len(records):
        begin, end = chance.randint(max(0, done - 30), done), done + chance.randint(1, 60)
        assert keep(records[begin:end]) == []
        done = end
    assert keep(records) == []
    for customer_id, versions in expected.items():
        told = [(entry["version"], entry["request_id"]) for entry in reversed(history(read(customer_id, limit="1000")))]
        assert told == versions, f"seed {seed}"


def test_a_deletion_whose_function_died_is_completed_when_it_comes_again(
    store: CustomerStore,
    changes_of: ChangesOf,
    keep: Any,
    dynamodb: DynamoDBClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send = URLLib3Session.send
    calls = 0
    survived = False
    while not survived:
        (jane,) = store.create([JANE], AUTHOR)
        store.update(jane["id"], {"age": 4}, None, AUTHOR)
        store.delete(jane["id"], None, AUTHOR)
        records = changes_of(jane["id"])
        left = calls

        def die(session: URLLib3Session, request: Any) -> Any:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return send(session, request)

        monkeypatch.setattr(URLLib3Session, "send", die)
        try:
            keep(records)
            survived = True
        except KeyboardInterrupt:
            calls += 1
        finally:
            monkeypatch.undo()
        assert keep(records) == []
        assert [item["version"]["N"] for item in everything_about(dynamodb, jane["id"])] == ["0"]
    assert calls >= 5


def test_a_customer_who_is_created_again_has_a_history_again(
    dynamodb: DynamoDBClient, store: CustomerStore, changes_of: ChangesOf, keep: Any, read: Any
) -> None:
    keyed = ExternalIdStore(dynamodb, "CustomersTable")
    external_id = f"key-{random.getrandbits(64)}"
    new: NewCustomer = {**JANE, "external_id": external_id}
    jane, _ = keyed.put(external_id, new, versions=None, exists=None, author=AUTHOR)
    store.delete(jane["id"], None, AUTHOR)
    keyed.put(external_id, {**new, "age": 3}, versions=None, exists=None, author=AUTHOR)
    assert keep(changes_of(jane["id"])) == []
    entries = history(read(jane["id"]))
    assert [(entry["version"], entry["action"]) for entry in entries] == [(3, "created"), (2, "deleted")]
    assert entries[0]["changes"]["external_id"] == {"from": None, "to": external_id}


def entry(version: int, at: str, action: Any = "updated") -> Entry:
    return Entry(CUSTOMER, version, at, action, AUTHOR.attribute()["M"], {})


CUSTOMER: Final = random.randrange(1, 2**53)


def test_a_life_whose_versions_start_anew_after_the_tombstone_is_kept_and_erased_too(dynamodb: DynamoDBClient) -> None:
    table = HistoryStore(dynamodb, "HistoryTable")
    table.keep([entry(5, "2050-01-01T00:00:00.000Z", "deleted")], 365)
    table.keep([entry(1, "2050-01-01T00:00:00.001Z")], 365)
    assert [item["version"]["N"] for item in everything_about(dynamodb, CUSTOMER)] == ["0"]
    table.keep([entry(1, "2050-02-01T00:00:00.000Z", "created")], 365)
    table.keep([entry(2, "2050-02-02T00:00:00.000Z")], 365)
    page = table.newest_first(CUSTOMER, limit=9, after=None)
    assert [found["version"] for found in page.entries] == [2, 1, 5]
    table.keep([entry(3, "2050-02-03T00:00:00.000Z", "deleted")], 365)
    page = table.newest_first(CUSTOMER, limit=9, after=None)
    assert [found["version"] for found in page.entries] == [3]


def test_a_page_that_the_table_ends_early_leads_on(dynamodb: DynamoDBClient) -> None:
    class AfterOne:
        """A client whose pages end after one entry, as those of DynamoDB do after a megabyte."""

        def query(self, **arguments: Any) -> Any:
            return dynamodb.query(**arguments | {"Limit": 1})

    customer = CUSTOMER + 1
    for version in (1, 2):
        step = [entry(version, f"2050-01-0{version}T00:00:00.000Z")._replace(customer_id=customer)]
        HistoryStore(dynamodb, "HistoryTable").keep(step, 365)
    page = HistoryStore(AfterOne(), "HistoryTable").newest_first(customer, limit=9, after=None)  # type: ignore[arg-type]
    assert [found["version"] for found in page.entries] == [2]
    assert page.next_position == "2"


def test_entries_are_written_together_but_a_deletion_alone_and_a_customer_once() -> None:
    def some(*kinds: tuple[int, str]) -> list[Entry]:
        return [entry(1, "2050-01-01T00:00:00.000Z", kind)._replace(customer_id=id_) for id_, kind in kinds]

    many = some(*((id_, "updated") for id_ in range(2 * MOST_IN_A_STEP + 1)))
    assert [len(step) for step in steps(many)] == [MOST_IN_A_STEP, MOST_IN_A_STEP, 1]
    mixed = some((1, "updated"), (2, "updated"), (3, "deleted"), (4, "updated"), (5, "updated"), (4, "updated"))
    assert list(steps(mixed)) == [mixed[:2], mixed[2:3], mixed[3:5], mixed[5:]]
    assert list(steps([])) == []


def test_many_customers_in_one_batch_are_all_kept_with_those_erased_left_out(
    store: CustomerStore, changes_of: ChangesOf, keep: Any, dynamodb: DynamoDBClient
) -> None:
    created = store.create([JANE] * (MOST_IN_A_STEP + 10), AUTHOR)
    records = [record for customer in created for record in changes_of(customer["id"])]
    gone = {created[index]["id"] for index in (0, 7, MOST_IN_A_STEP)}
    for customer_id in gone:
        store.delete(customer_id, None, AUTHOR)
        assert keep(changes_of(customer_id)[-1:]) == []
    assert keep(records) == []
    kept = {customer["id"]: len(everything_about(dynamodb, customer["id"])) for customer in created}
    assert set(kept.values()) == {1}
    versions = {customer["id"]: everything_about(dynamodb, customer["id"])[0]["version"]["N"] for customer in created}
    assert {customer_id for customer_id, version in versions.items() if version == "0"} == gone


def test_the_table_that_does_not_respond_gets_the_batch_again_from_there(
    store: CustomerStore, changes_of: ChangesOf, keep: Any, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (jane,) = store.create([JANE], AUTHOR)
    for age in range(4):
        store.update(jane["id"], {"age": age}, None, AUTHOR)
    records = changes_of(jane["id"])
    send, sent = URLLib3Session.send, 0

    def lose(session: URLLib3Session, request: Any) -> Any:
        nonlocal sent
        sent += 1
        if sent > 2:
            raise EndpointConnectionError(endpoint_url="store")
        return send(session, request)

    monkeypatch.setattr(URLLib3Session, "send", lose)
    monkeypatch.setattr("customers.aws.dynamodb.time.sleep", lambda _: None)
    log = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", log)
    again = keep(records)
    monkeypatch.undo()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["level"], line["message"]) for line in lines] == [
        ("ERROR", "history refused"),
        ("INFO", "history kept"),
    ]
    assert (lines[0]["sequence_number"], lines[1]["changes"]) == (records[2]["dynamodb"]["SequenceNumber"], 2)
    assert again == [records[2]["dynamodb"]["SequenceNumber"]]
    assert keep(records[2:]) == []
    assert len(everything_about(dynamodb, jane["id"])) == 5


def test_pages_lead_through_the_whole_history(
    store: CustomerStore, changes_of: ChangesOf, keep: Any, read: Any
) -> None:
    (jane,) = store.create([JANE], AUTHOR)
    for age in range(6):
        store.update(jane["id"], {"age": age}, None, AUTHOR)
    keep(changes_of(jane["id"]))
    found: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = read(jane["id"], limit="3", cursor=cursor)
        assert ("Link" in answer["headers"]) == (answer["body"]["next_cursor"] is not None)
        found += [entry["version"] for entry in history(answer)]
        cursor = answer["body"]["next_cursor"]
    assert found == [7, 6, 5, 4, 3, 2, 1]
    foreign = read(jane["id"], limit="3")["body"]["next_cursor"]
    (other,) = store.create([JANE], AUTHOR)
    refused = read(other["id"], cursor=foreign)
    assert (refused["statusCode"], refused["body"]["errors"][0]["code"]) == (400, "invalid_cursor")


def test_a_customer_without_kept_changes_has_an_empty_history_and_nobody_has_none(
    store: CustomerStore, read: Any
) -> None:
    (jane,) = store.create([JANE], AUTHOR)
    assert read(jane["id"])["body"] == {"history": [], "next_cursor": None}
    for nobody in (jane["id"] + 1, 0, "x"):
        assert read(nobody)["statusCode"] == 404


def test_what_has_expired_is_not_shown_though_it_is_still_there(dynamodb: DynamoDBClient) -> None:
    customer_id = random.randrange(1, 2**53)
    table = HistoryStore(dynamodb, "HistoryTable")
    for version, at in enumerate(("2020-01-01T00:00:00.000Z", "2050-01-01T00:00:00.000Z"), 1):
        table.keep([entry(version, at)._replace(customer_id=customer_id)], 365)
    assert len(everything_about(dynamodb, customer_id)) == 2
    assert [found["version"] for found in table.newest_first(customer_id, limit=9, after=None).entries] == [2]


@pytest.mark.parametrize(("days", "kept"), [(1, 36), (365, 365)])
def test_a_deletion_is_kept_for_longer_than_any_backup(dynamodb: DynamoDBClient, days: int, kept: int) -> None:
    customer_id = random.randrange(1, 2**53)
    deletion = entry(2, "2050-01-01T00:00:00.000Z", "deleted")._replace(customer_id=customer_id)
    HistoryStore(dynamodb, "HistoryTable").keep([deletion], days)
    (item,) = everything_about(dynamodb, customer_id)
    assert int(item["expires_at"]["N"]) == 2_524_608_000 + kept * DAY


@pytest.mark.parametrize("pages", [lambda client: client, ShortPages], ids=["one page", "many pages"])
def test_what_a_token_changed_is_listed_from_the_oldest_on_with_what_it_deleted(
    dynamodb: DynamoDBClient, pages: Callable[[DynamoDBClient], Any]
) -> None:
    table, read = HistoryStore(dynamodb, "HistoryTable"), HistoryStore(pages(dynamodb), "HistoryTable")
    token_id, another = uuid4().hex, uuid4().hex
    one, two = random.randrange(1, 2**52), random.randrange(2**52, 2**53)

    def keep(customer_id: int, version: int, day: int, action: Any, author: str = token_id) -> None:
        at = f"2050-01-0{day}T00:00:00.000Z"
        table.keep([Entry(customer_id, version, at, action, Author(author).attribute()["M"], {})], 365)

    keep(two, 1, 3, "created")
    keep(one, 1, 1, "created")
    keep(one, 2, 2, "updated", another)
    keep(one, 3, 4, "updated")
    keep(two, 2, 5, "deleted")
    keep(one, 4, 6, "updated")
    # For a deleted customer, only the deletion is reported.
    made = [
        {"customer_id": one, "version": 1, "at": "2050-01-01T00:00:00.000Z", "action": "created"},
        {"customer_id": one, "version": 3, "at": "2050-01-04T00:00:00.000Z", "action": "updated"},
        {"customer_id": two, "version": 2, "at": "2050-01-05T00:00:00.000Z", "action": "deleted"},
        {"customer_id": one, "version": 4, "at": "2050-01-06T00:00:00.000Z", "action": "updated"},
    ]
    assert list(read.made_by(token_id, "")) == made
    for since, first in (("2050-01-04T00:00:00.000Z", 1), ("2050-01-04T00:00:00.001Z", 2), ("2050-02", 4)):
        assert list(read.made_by(token_id, since)) == made[first:]
    assert [change["version"] for change in read.made_by(another, "")] == [2]
    assert list(read.made_by(uuid4().hex, "")) == []


def test_a_change_of_an_item_that_names_no_author_is_kept_without_one() -> None:
    # A program that writes to the table directly names no author.
    time = "2050-01-01T00:00:00.000Z"
    before: Json = new_item({**JANE}, Creation(5, time, "a-write", AUTHOR))
    after: Json = new_item({**JANE, "age": 4}, Creation(5, time, "a-write", AUTHOR, 2))
    del after["author"]
    record = {"dynamodb": {"Keys": {"id": {"N": "5"}}, "OldImage": before, "NewImage": after}}
    assert entry_of(record) == Entry(5, 2, time, "updated", {}, {"age": {"from": None, "to": 4}})
    assert entry_of({"dynamodb": {"Keys": {"id": {"N": "5"}}, "NewImage": after}}) == Entry(
        5, 2, time, "created", {}, {name: {"from": None, "to": value} for name, value in {**JANE, "age": 4}.items()}
    )
