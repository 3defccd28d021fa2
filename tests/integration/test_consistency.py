"""What was written is seen at once, however far DynamoDB's replicas lag behind. Only pages of groups may be late.

The engine has no replicas. Here it answers every read that is not strongly consistent with the table as it was before
the first write, which is what a replica may do:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.ReadConsistency.html
"""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from uuid import uuid4

import pytest

from customers.aws import dynamodb as dynamodb_module
from customers.errors import NotFoundError
from customers.imports.bucket import FileDelivery
from customers.imports.files.rows import Layout
from customers.imports.store import Counts, ImportStore
from customers.store.customers import CustomerStore
from customers.store.external_ids import ExternalIdStore
from customers.store.history import Entry, HistoryStore
from customers.store.identity import ImportRow, Source
from customers.store.items import now
from customers.store.pages import PageStore
from customers.store.rows import RowStore
from customers.store.tokens import TokenStore
from customers.tokens import SCOPES, new_token, token_hash
from tests.author import TESTER
from tests.conftest import use_engine
from tests.sending import answer_to, before_sending, dynamodb_call

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from mypy_boto3_dynamodb import DynamoDBClient

    from customers.customer import NewCustomer

EMPTY: Final[dict[str, dict[str, Any]]] = {
    "GetItem": {},
    "BatchGetItem": {"Responses": {}, "UnprocessedKeys": {}},
    "Query": {"Items": [], "Count": 0, "ScannedCount": 0},
    "Scan": {"Items": [], "Count": 0, "ScannedCount": 0},
}


def answer_from_a_replica(request: AWSPreparedRequest) -> AWSResponse | None:
    """Answer a read that is not strongly consistent from a replica that has seen no write."""
    call = dynamodb_call(request)
    assert call is not None
    operation, asked = call
    parts = asked["RequestItems"].values() if operation == "BatchGetItem" else [asked]
    if operation not in EMPTY or all(part.get("ConsistentRead") for part in parts):
        return None
    return answer_to(request, json.dumps(EMPTY[operation]).encode())


@pytest.fixture
def client(engine: str, monkeypatch: pytest.MonkeyPatch) -> DynamoDBClient:
    """Return the functions' own client, for tables whose replicas lag behind."""
    use_engine(monkeypatch, engine)
    client = dynamodb_module.client()
    before_sending(client, answer_from_a_replica)
    return client


def john() -> NewCustomer:
    group_id = random.randrange(1, 2**53)
    return {"first_name": "John", "last_name": "Doe", "email": "john.doe@example.com", "group_id": group_id}


def test_the_replicas_lag_behind(client: DynamoDBClient) -> None:
    store = CustomerStore(client, "CustomersTable")
    (customer,) = store.create([john()], TESTER)
    key: Any = {"id": {"N": str(customer["id"])}}
    assert "Item" not in client.get_item(TableName="CustomersTable", Key=key)
    page = PageStore(client, "CustomersTable").group(customer["group_id"], "id", descending=False, limit=1, after=None)
    assert page.customers == []


def test_a_customer_is_read_as_it_was_last_written(client: DynamoDBClient) -> None:
    store = CustomerStore(client, "CustomersTable")
    (customer,) = store.create([john()], TESTER)
    assert store.get(customer["id"]) == customer
    changed = store.update(customer["id"], {"age": 7}, None, TESTER)
    assert store.get(customer["id"]) == changed
    store.delete(customer["id"], None, TESTER)
    with pytest.raises(NotFoundError):
        store.get(customer["id"])


def test_a_token_is_valid_as_soon_as_it_is_made_and_refused_as_soon_as_it_is_revoked(client: DynamoDBClient) -> None:
    store, hashed = TokenStore(client, "TokensTable"), token_hash(new_token())
    store.put(hashed, SCOPES, "a test", None)
    record = store.get(hashed)
    assert record is not None
    assert record.valid_at(time.time())
    assert hashed in {record.token_hash for record in store.all()}
    store.end(hashed, int(time.time()))
    record = store.get(hashed)
    assert record is not None
    assert not record.valid_at(time.time())


def test_an_import_sees_what_its_other_functions_have_just_kept(client: DynamoDBClient) -> None:
    store, import_id = ImportStore(client, "ImportsTable"), uuid4().hex
    begun = store.begin(import_id, {"message_id": import_id}, planned=1)
    assert store.begin(import_id, {"message_id": import_id}, planned=1) == begun == store.get(import_id)
    store.book(import_id, 1, Layout("json_lines"), Counts(created=1, rejected=1), "parts/1")
    assert store.is_booked(import_id, 1)
    assert list(store.parts(import_id)) == ["parts/1"]
    assert store.get(import_id).counts == Counts(created=1, rejected=1)
    assert import_id in {known.import_id for known in store.all()}


def test_the_rows_of_an_import_are_found_by_whoever_repeats_it(client: DynamoDBClient) -> None:
    store, source = RowStore(client, "CustomersTable"), Source(uuid4().hex, now())
    rows = {number: ImportRow(john()) for number in (1, 2, 3)}
    store.write(source, {1: rows[1], 2: rows[2]})
    assert store.written(source, rows) == {1: "created", 2: "created"}


def test_an_external_id_leads_to_its_customer_as_soon_as_it_is_used(client: DynamoDBClient) -> None:
    store, key = ExternalIdStore(client, "CustomersTable"), uuid4().hex
    created, _ = store.put(key, {**john(), "external_id": key}, versions=None, exists=None, author=TESTER)
    assert store.get(key) == created


def test_everybody_is_read_as_they_were_last_written(client: DynamoDBClient) -> None:
    (customer,) = CustomerStore(client, "CustomersTable").create([john()], TESTER)
    pages = PageStore(client, "CustomersTable")
    found, after = pages.everybody(limit=1000, after=None)
    while after is not None:
        page = pages.everybody(limit=1000, after=after)
        found, after = found + page.customers, page.next_position
    assert customer in found


def test_the_latest_import_of_a_file_is_found_as_soon_as_it_begins(client: DynamoDBClient) -> None:
    store, key = ImportStore(client, "ImportsTable"), f"imports/{uuid4()}"
    file = FileDelivery("bucket", key, "an-etag", now(), "0055")
    store.keep_latest(file)
    assert store.latest("bucket", key) == (file.import_id, "an-etag")


def test_a_deletion_removes_also_the_entries_that_were_written_just_before(client: DynamoDBClient) -> None:
    store, customer_id = HistoryStore(client, "HistoryTable"), random.randrange(1, 2**53)
    for version, action in ((1, "created"), (2, "updated"), (3, "deleted")):
        at, kind = f"2050-01-0{version}T00:00:00.000Z", cast("Literal['created', 'updated', 'deleted']", action)
        store.keep([Entry(customer_id, version, at, kind, TESTER.attribute()["M"], {})], 365)
    question: Any = {
        "TableName": "HistoryTable",
        "KeyConditionExpression": "customer_id = :id",
        "ExpressionAttributeValues": {":id": {"N": str(customer_id)}},
        "ConsistentRead": True,
    }
    assert [item["version"] for item in client.query(**question)["Items"]] == [{"N": "0"}]
