"""What the store keeps of a customer besides its fields, and how it goes on where DynamoDB ends a page."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import pytest

from customers.store import customers as module
from customers.store.customers import CustomerStore
from customers.store.history import HistoryStore
from customers.store.identity import RequestName
from customers.store.pages import PageStore
from tests.author import TESTER
from tests.conftest import dynamodb_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from customers.customer import Changes, NewCustomer

LATER = "2999-12-31T23:59:59.999Z"


def new(**changes: object) -> NewCustomer:
    customer = {"first_name": "John", "last_name": "Doe", "email": "john@example.com", "group_id": 1, "age": 42}
    return {**customer, **changes}  # type: ignore[typeddict-item]  # the test's own fields


@pytest.fixture
def store(dynamodb: DynamoDBClient) -> CustomerStore:
    return CustomerStore(dynamodb, "CustomersTable")


@pytest.mark.parametrize(
    "changes",
    [
        {"first_name": "Jane"},
        {"last_name": "Roe"},
        {"email": "j@example.com"},
        {"group_id": 2},
        {"age": 7},
        {"age": None},
    ],
)
def test_every_change_is_dated_and_counted_and_the_creation_keeps_its_date(
    changes: Changes, store: CustomerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = store.create([new()], TESTER)
    monkeypatch.setattr(module, "now", lambda: LATER)
    after = store.update(before["id"], changes, None, TESTER)
    assert after == {**before, **changes, "updated_at": LATER, "version": 2}
    assert store.get(before["id"]) == after


@pytest.mark.parametrize("count", [1, 3])
def test_customers_are_dated_when_they_are_created(
    count: int, store: CustomerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "now", lambda: LATER)
    for request in (None, RequestName(f"{random.getrandbits(256):064x}", "asked")):
        created = store.create([new()] * count, TESTER, request)
        assert {(each["created_at"], each["updated_at"], each["version"]) for each in created} == {(LATER, LATER, 1)}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ["id", "last_name"])
def test_a_page_that_dynamodb_ends_at_a_megabyte_leads_to_the_rest(
    sort: str,
    descending: bool,  # noqa: FBT001
    store: CustomerStore,
    dynamodb: DynamoDBClient,
) -> None:
    pages = PageStore(dynamodb, "CustomersTable")
    group_id, name = random.randrange(1, 2**53), "\U00010348" * 100
    email = f"{'j' * 64}@{'.'.join(['e' * 61] * 3)}.com"
    rows = [new(group_id=group_id, first_name=name, last_name=name, email=email) for _ in range(100)]
    created = {customer["id"] for _ in range(10) for customer in store.create(rows, TESTER)}
    found: list[int] = []
    sizes: list[int] = []
    position = None
    while position is not None or not sizes:
        page = pages.group(group_id, sort, descending=descending, limit=1000, after=position)
        sizes.append(len(page.customers))
        found += [customer["id"] for customer in page.customers]
        position = page.next_position
    # The first page is full before it has as many as were asked for.
    assert 0 < sizes[0] < 1000
    assert len(found) == len(set(found))
    assert set(found) == created


READS: Final[dict[str, tuple[Callable[[DynamoDBClient], object], str, int]]] = {
    "a group": (
        lambda client: PageStore(client, "CustomersTable").group(1, "age", descending=True, limit=7, after=None),
        "Query",
        8,
    ),
    "an address": (
        lambda client: PageStore(client, "CustomersTable").with_email("jo@example.com", limit=7, after=None),
        "Query",
        8,
    ),
    "everybody": (lambda client: PageStore(client, "CustomersTable").everybody(limit=7, after=None), "Scan", 7),
    "a history": (lambda client: HistoryStore(client, "HistoryTable").newest_first(1, limit=7, after=None), "Query", 8),
}


@pytest.mark.parametrize("kind", READS)
def test_a_page_asks_for_as_many_items_as_it_shows_and_at_most_one_more(kind: str, engine: str) -> None:
    # DynamoDB bills what is read, not what a page shows of it.
    client, asked = dynamodb_client(engine), list[tuple[str, int]]()

    def note(params: dict[str, Any], event_name: str, **_: object) -> None:
        asked.append((event_name.rpartition(".")[2], params["Limit"]))

    client.meta.events.register("provide-client-params.dynamodb", note)
    read, operation, limit = READS[kind]
    read(client)
    assert asked[0] == (operation, limit)
    assert len(asked) == 1 or kind == "everybody"


def test_a_page_of_everybody_asks_again_only_for_what_it_lacks(engine: str, store: CustomerStore) -> None:
    for customer in store.create([new()] * 40, TESTER)[::2]:
        store.delete(customer["id"], None, TESTER)
    client = dynamodb_client(engine)
    asked: list[int] = []
    found: list[int] = []

    def note(params: dict[str, Any], **_: object) -> None:
        asked.append(params["Limit"])

    def count(parsed: Any, **_: object) -> None:
        found.append(sum("customer" in item for item in parsed["Items"]))

    client.meta.events.register("provide-client-params.dynamodb.Scan", note)
    client.meta.events.register("after-call.dynamodb.Scan", count)
    pages, position = PageStore(client, "CustomersTable"), None
    while len(asked) < 2 or not found[0]:
        asked.clear()
        found.clear()
        page = pages.everybody(limit=5, after=position)
        assert asked == [5 - sum(found[:tries]) for tries in range(len(found))]
        assert len(page.customers) == sum(found)
        position = page.next_position
        assert position is not None, "none had a tombstone beside a customer"
