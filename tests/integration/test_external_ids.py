"""Customers by their external ids: one customer per key, whatever collides, fails or happens at the same time."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ReadTimeoutError

from customers.aws import dynamodb as service_dynamodb
from customers.errors import (
    ExternalIdTakenError,
    InvalidError,
    NotFoundError,
    OutcomeUnknownError,
    VersionMismatchError,
)
from customers.store.customers import CustomerStore
from customers.store.external_ids import NEVER, ExternalIdStore
from customers.store.identity import HALF, RequestName, Salt
from customers.store.pages import PageStore
from customers.store.places import Taken
from tests.author import TESTER
from tests.conftest import dynamodb_client, use_engine
from tests.integration.test_store import lost_answer, lost_request
from tests.sending import before_sending

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from customers.customer import Customer, NewCustomer

TABLE = "CustomersTable"


class Stores:
    """The stores on one client, whose next requests a test can let fail."""

    def __init__(self) -> None:
        self.client = service_dynamodb.client()
        self.keyed = ExternalIdStore(self.client, TABLE)
        self.customers = CustomerStore(self.client, TABLE)
        self.pages = PageStore(self.client, TABLE)
        self.faults: list[Callable[..., Any]] = []
        before_sending(self.client, self._send)
        self.keyed.put("warm-up", new(), versions=None, exists=None, author=TESTER)
        self.customers.create([new(external_id=unused())], TESTER)

    def _send(self, request: Any) -> Any:
        return self.faults.pop(0)(request) if self.faults else None

    def put(self, key: str, **fields: Any) -> tuple[Customer, bool]:
        return self.keyed.put(key, new(external_id=key, **fields), versions=None, exists=None, author=TESTER)


def unused() -> str:
    return f"key-{random.getrandbits(64)}"


def new(**fields: Any) -> NewCustomer:
    customer = {"first_name": "John", "last_name": "Doe", "email": "john.doe@example.com", "group_id": 77}
    return {**customer, **fields}  # type: ignore[typeddict-item]  # the test's own fields


@pytest.fixture
def stores(engine: str, monkeypatch: pytest.MonkeyPatch) -> Stores:
    use_engine(monkeypatch, engine)
    return Stores()


@pytest.fixture
def key() -> str:
    return unused()


def test_put_creates_then_replaces_then_changes_nothing(stores: Stores, key: str) -> None:
    created, is_new = stores.put(key, age=40, metadata={"tier": "gold"})
    assert (created["version"], created.get("external_id"), is_new) == (1, key, True)
    assert created["id"] >= HALF
    replaced, is_new = stores.put(key, last_name="Miller")
    assert (replaced["version"], replaced.get("age"), replaced.get("metadata"), is_new) == (2, None, {}, False)
    assert (replaced["id"], replaced["created_at"]) == (created["id"], created["created_at"])
    assert stores.put(key, last_name="Miller") == (replaced, False)
    assert stores.keyed.get(key) == stores.customers.get(created["id"]) == replaced


def test_put_changes_nothing_even_if_an_old_version_is_expected(stores: Stores, key: str) -> None:
    stores.put(key)
    changed, _ = stores.put(key, age=3)
    again = stores.keyed.put(key, new(external_id=key, age=3), versions=[1], exists=True, author=TESTER)
    assert again == (changed, False)


@pytest.mark.parametrize(("versions", "exists"), [([2], True), (None, False), ([], True)])
def test_put_expects_what_it_is_told_to(
    versions: list[int] | None,
    exists: bool,  # noqa: FBT001
    stores: Stores,
    key: str,
) -> None:
    before, _ = stores.put(key)
    with pytest.raises(VersionMismatchError) as caught:
        stores.keyed.put(key, new(external_id=key, age=1), versions=versions, exists=exists, author=TESTER)
    assert caught.value.current == 1
    assert stores.keyed.get(key) == before


@pytest.mark.parametrize("versions", [None, [1]])
def test_put_that_expects_a_customer_does_not_create_one(versions: list[int] | None, stores: Stores, key: str) -> None:
    for _ in range(2):
        with pytest.raises(VersionMismatchError) as caught:
            stores.keyed.put(key, new(external_id=key), versions=versions, exists=True, author=TESTER)
        assert caught.value.current is None
        with pytest.raises(NotFoundError):
            stores.keyed.get(key)
        # The second time round, there is a tombstone.
        created, _ = stores.put(key)
        stores.customers.delete(created["id"], None, TESTER)


def test_create_only_creates_only_once(stores: Stores, key: str) -> None:
    created, is_new = stores.keyed.put(key, new(external_id=key), versions=None, exists=False, author=TESTER)
    assert is_new
    with pytest.raises(VersionMismatchError):
        stores.keyed.put(key, new(external_id=key), versions=None, exists=False, author=TESTER)
    assert stores.keyed.get(key) == created


@pytest.mark.parametrize("how", ["put", "post"])
def test_a_deleted_key_is_used_again_and_its_versions_continue(how: str, stores: Stores, key: str) -> None:
    first, _ = stores.put(key, age=7)
    stores.customers.delete(first["id"], [1], TESTER)
    with pytest.raises(NotFoundError):
        stores.keyed.get(key)
    with pytest.raises(NotFoundError):
        stores.customers.get(first["id"])
    if how == "put":
        second, is_new = stores.put(key)
        assert is_new
    else:
        (second,) = stores.customers.create([new(external_id=key)], TESTER)
    assert (second["id"], second["version"], second.get("age")) == (first["id"], 3, None)
    assert second["created_at"] == second["updated_at"] > first["created_at"]
    with pytest.raises(VersionMismatchError):
        stores.customers.update(first["id"], {"age": 1}, [1], TESTER)
    assert item_of(stores.client, first["id"]).keys().isdisjoint({"deleted_at", "expires_at", "old_create_token"})
    assert stores.keyed.get(key) == second


def item_of(client: DynamoDBClient, customer_id: int) -> dict[str, Any]:
    answer = client.get_item(TableName=TABLE, Key={"id": {"N": str(customer_id)}}, ConsistentRead=True)
    return dict(answer.get("Item", {}))


def test_a_tombstone_keeps_nothing_of_the_person_and_ends_after_thirty_days(stores: Stores, key: str) -> None:
    fields = {"first_name": "Gwendolyn", "last_name": "Featherstone", "email": "gf@example.com", "group_id": 4177}
    created, _ = stores.put(key, **fields, metadata={"secret": "pineapple"})
    stores.customers.delete(created["id"], None, TESTER)
    item = item_of(stores.client, created["id"])
    assert item.keys() == {
        "id", "version", "deleted_at", "order", "expires_at", "old_create_token", "old_created_at", "write_token",
        "key_hash", "author",
    }  # fmt: skip
    text = str(item).lower()
    assert not any(word in text for word in ("gwendolyn", "featherstone", "gf@", "4177", "pineapple", key))
    assert 0 <= time.time() + 30 * 86_400 - int(item["expires_at"]["N"]) < 60


def test_what_is_deleted_is_in_no_index(stores: Stores, key: str) -> None:
    created, _ = stores.put(key, group_id=random.randrange(HALF), email=f"{key}@example.com")
    group = created["group_id"]
    assert stores.pages.with_email(created["email"], limit=9, after=None).customers == [created]
    stores.customers.delete(created["id"], None, TESTER)
    assert stores.pages.with_email(created["email"], limit=9, after=None).customers == []
    for sort in ("id", "first_name", "last_name", "email", "age", "created_at"):
        page = stores.pages.group(group, sort, descending=False, limit=9, after=None)
        assert page.customers == []


def test_two_deletions_of_one_customer_are_one(stores: Stores, key: str) -> None:
    created, _ = stores.put(key)
    stores.customers.delete(created["id"], None, TESTER)
    for call in (
        partial(stores.customers.delete, created["id"], None, TESTER),
        partial(stores.customers.delete, created["id"], [2], TESTER),
        partial(stores.customers.update, created["id"], {"age": 1}, None, TESTER),
        partial(stores.customers.update, created["id"], {"metadata": {"a": "b"}}, None, TESTER),
    ):
        with pytest.raises(NotFoundError):
            call()


@pytest.mark.parametrize("lost", [lost_answer, lost_request])
def test_put_reports_what_it_knows(lost: Callable[..., Any], stores: Stores, key: str) -> None:
    stores.faults = [lost(ReadTimeoutError)]
    if lost is lost_request:
        with pytest.raises(OutcomeUnknownError):
            stores.put(key)
        with pytest.raises(NotFoundError):
            stores.keyed.get(key)
    else:
        created, is_new = stores.put(key)
        assert (created["version"], is_new) == (1, True)
    stores.put(key)
    stores.faults = [lost(ReadTimeoutError)]
    if lost is lost_request:
        with pytest.raises(OutcomeUnknownError):
            stores.put(key, age=2)
    else:
        changed, is_new = stores.put(key, age=2)
        assert (changed["version"], is_new) == (2, False)


class TestPost:
    def test_a_taken_key_is_refused_with_its_holder(self, stores: Stores, key: str) -> None:
        holder, _ = stores.put(key)
        with pytest.raises(ExternalIdTakenError) as caught:
            stores.customers.create([new(external_id=key, age=9)], TESTER)
        assert caught.value.holders == {0: holder["id"]}
        assert stores.keyed.get(key) == holder

    def test_a_list_is_all_or_nothing_and_names_every_holder(self, stores: Stores) -> None:
        taken = [stores.put(unused())[0] for _ in range(2)]
        free, other = unused(), random.randrange(HALF)
        rows = [new(external_id=free, group_id=other), *(new(external_id=one.get("external_id")) for one in taken)]
        with pytest.raises(ExternalIdTakenError) as caught:
            stores.customers.create(rows, TESTER)
        assert caught.value.holders == {1: taken[0]["id"], 2: taken[1]["id"]}
        with pytest.raises(NotFoundError):
            stores.keyed.get(free)

    def test_the_free_rows_of_a_list_are_written(self, stores: Stores) -> None:
        holder, _ = stores.put(unused())
        free = unused()
        first, second, third = stores.customers.create_free(
            [new(external_id=free), new(external_id=holder.get("external_id")), new(age=5)], TESTER
        )
        assert second == Taken(holder["id"])
        assert first == stores.keyed.get(free)
        assert not isinstance(third, Taken)
        assert third["id"] < HALF

    def test_keys_of_deleted_customers_are_free_in_lists(self, stores: Stores) -> None:
        keys = [unused() for _ in range(3)]
        for key in keys[:2]:
            stores.customers.delete(stores.put(key)[0]["id"], None, TESTER)
        rows = stores.customers.create([new(external_id=key) for key in keys], TESTER)
        assert [row["version"] for row in rows] == [3, 3, 1]
        assert [stores.keyed.get(key) for key in keys] == rows

    @pytest.mark.parametrize("keyed", [True, False])
    def test_a_late_attempt_finds_that_its_customer_was_deleted_and_does_not_revive_it(
        self,
        keyed: bool,  # noqa: FBT001
        stores: Stores,
        key: str,
    ) -> None:
        name = RequestName(unused(), "payload")
        rows = [new(external_id=key) if keyed else new()]
        (created,) = stores.customers.create(rows, TESTER, name)
        stores.customers.delete(created["id"], None, TESTER)
        # It gets the response that its first attempt would have got.
        assert stores.customers.create(rows, TESTER, name) == [created]
        with pytest.raises(NotFoundError):
            stores.customers.get(created["id"])

    def test_a_late_attempt_at_a_recreated_key_gets_the_version_it_created(self, stores: Stores, key: str) -> None:
        stores.customers.delete(stores.put(key)[0]["id"], None, TESTER)
        name = RequestName(unused(), "payload")
        (created,) = stores.customers.create([new(external_id=key)], TESTER, name)
        assert created["version"] == 3
        stores.customers.update(created["id"], {"age": 8}, None, TESTER)
        stores.customers.delete(created["id"], None, TESTER)
        assert stores.customers.create([new(external_id=key)], TESTER, name) == [created]

    @pytest.mark.parametrize("count", [1, 2])
    def test_a_key_whose_tombstone_goes_just_before_it_is_replaced_is_new(self, count: int, stores: Stores) -> None:
        keys = [unused() for _ in range(count)]
        gone, _ = stores.put(keys[0])
        stores.customers.delete(gone["id"], None, TESTER)

        def nothing(_: object) -> None:
            pass

        def expire(_: object) -> None:
            dynamodb_client(stores.client.meta.endpoint_url).delete_item(
                TableName=TABLE, Key={"id": {"N": str(gone["id"])}}
            )

        def never(_: object) -> None:
            pytest.fail("what is not there is met again and again")

        # The first attempt meets the tombstone. The second would replace it, and is refused: the item is gone.
        stores.faults = [nothing, expire, nothing, never]
        created = stores.customers.create([new(external_id=key) for key in keys], TESTER)
        stores.faults = []
        assert [(row["version"], row.get("external_id")) for row in created] == [(1, key) for key in keys]
        assert created[0]["id"] == gone["id"]
        assert [stores.keyed.get(key) for key in keys] == created

    def test_a_late_attempt_meets_what_others_made_of_the_key(self, stores: Stores, key: str) -> None:
        name = RequestName(unused(), "payload")
        (created,) = stores.customers.create([new(external_id=key)], TESTER, name)
        stores.customers.delete(created["id"], None, TESTER)
        again, _ = stores.put(key, age=3)
        with pytest.raises(ExternalIdTakenError):
            stores.customers.create([new(external_id=key)], TESTER, name)
        assert stores.keyed.get(key) == again


class TestCollisions:
    @pytest.fixture(autouse=True)
    def few_ids(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Cut the hash of each draw to two bits, so that most external ids collide."""
        salt = Salt(f"salt-{random.getrandbits(64)}")
        offset = random.randrange(1, 2**40) * 8
        monkeypatch.setattr(Salt, "id", lambda self, key, draw: HALF + offset + draw * 4 + self._hash("id", key)[0] % 4)
        monkeypatch.setattr("customers.store.external_ids.SaltKeeper.find", lambda _: salt)

    def test_every_key_has_its_own_customer(self, stores: Stores) -> None:
        keys = [unused() for _ in range(12)]
        created = {key: stores.put(key, last_name=key)[0] for key in keys[:6]}
        created |= {
            str(row.get("external_id")): row
            for row in stores.customers.create([new(external_id=key, last_name=key) for key in keys[6:]], TESTER)
        }
        assert len({customer["id"] for customer in created.values()}) == 12
        for key in keys:
            assert stores.keyed.get(key) == created[key]
            assert stores.put(key, last_name=key) == (created[key], False)

    def test_a_deletion_leaves_no_gap_for_those_that_came_later(self, stores: Stores) -> None:
        keys = [unused() for _ in range(12)]
        created = {key: stores.put(key, last_name=key)[0] for key in keys}
        items = {key: item_of(stores.client, created[key]["id"]) for key in keys}
        passed_over = [key for key in keys if "passed_over" in items[key]]
        assert passed_over
        for key in passed_over:
            stores.customers.delete(created[key]["id"], None, TESTER)
            assert (
                int(item_of(stores.client, created[key]["id"])["expires_at"]["N"]) > time.time() + 1000 * 365 * 86_400
            )
        for key in keys:
            if key in passed_over:
                with pytest.raises(NotFoundError):
                    stores.keyed.get(key)
            else:
                assert stores.keyed.get(key) == created[key]
        again = {key: stores.put(key, last_name=key)[0] for key in passed_over}
        assert {key: customer["id"] for key, customer in again.items()} == {
            key: created[key]["id"] for key in passed_over
        }
        assert all("passed_over" in item_of(stores.client, customer["id"]) for customer in again.values())

    def test_a_tombstone_that_is_passed_over_never_expires(self, stores: Stores) -> None:
        first, _ = stores.put("0")
        stores.customers.delete(first["id"], None, TESTER)
        others: list[Customer] = []
        # One in four would have its id.
        while "passed_over" not in item_of(stores.client, first["id"]):
            others.append(stores.put(unused())[0])
            assert len(others) < 100
        assert int(item_of(stores.client, first["id"])["expires_at"]["N"]) > time.time() + 1000 * 365 * 86_400
        assert len({other["id"] for other in others}) == len(others)

    @pytest.mark.parametrize("how", ["together", "one by one"])
    def test_whom_a_post_passed_over_and_creates_again_is_passed_over_for_ever(self, how: str, stores: Stores) -> None:
        def create(keys: list[str]) -> list[Customer]:
            lists = [keys] if how == "together" else [[key] for key in keys]
            return [
                row for some in lists for row in stores.customers.create([new(external_id=key) for key in some], TESTER)
            ]

        keys = [unused() for _ in range(12)]
        created = dict(zip(keys, create(keys), strict=True))
        for _ in range(2):
            items = {key: item_of(stores.client, row["id"]) for key, row in created.items()}
            passed_over = [key for key in keys if "passed_over" in items[key]]
            assert len(passed_over) >= len(keys) - 4, "all but the last that went to each of four ids"
            for key in passed_over:
                assert items[key]["passed_over"] == NEVER
                stores.customers.delete(created[key]["id"], None, TESTER)
                assert item_of(stores.client, created[key]["id"])["expires_at"] == NEVER
            for key in set(keys) - set(passed_over):
                assert stores.keyed.get(key) == created[key]
            again = dict(zip(passed_over, create(passed_over), strict=True))
            assert {key: row["id"] for key, row in again.items()} == {key: created[key]["id"] for key in passed_over}
            created |= again

    def test_at_once_they_are_still_told_apart(self, stores: Stores) -> None:
        keys = [unused() for _ in range(8)]
        with ThreadPoolExecutor(16) as pool:
            put = list(pool.map(lambda key: stores.put(key, last_name=key)[0], keys * 4))
        assert len({customer["id"] for customer in put}) == 8
        assert [stores.keyed.get(key)["last_name"] for key in keys] == keys


class TestEntries:
    def test_entries_merge_and_null_removes_one(self, stores: Stores, key: str) -> None:
        created, _ = stores.put(key, metadata={"a": "1", "b": "2"})
        changed = stores.customers.update(created["id"], {"metadata": {"b": None, "c": "3"}, "age": 4}, [1], TESTER)
        assert (changed.get("metadata"), changed.get("age"), changed["version"]) == ({"a": "1", "c": "3"}, 4, 2)
        assert stores.customers.get(created["id"]) == changed

    @pytest.mark.parametrize(
        ("entries", "code"),
        [
            ({str(n): "x" for n in range(11)}, "too_many_entries"),
            ({"big": "é" * 500, "b2": "é" * 500}, "metadata_too_large"),
        ],
    )
    def test_the_limits_hold_for_what_a_patch_leaves(
        self, entries: dict[str, str], code: str, stores: Stores, key: str
    ) -> None:
        before, _ = stores.put(key, metadata={f"k{n}": "v" * 10 for n in range(10)})
        with pytest.raises(InvalidError) as caught:
            stores.customers.update(before["id"], {"metadata": {**entries}}, None, TESTER)
        assert [error["code"] for error in caught.value.errors] == [code]
        with pytest.raises(VersionMismatchError):
            stores.customers.update(before["id"], {"metadata": {**entries}}, [9], TESTER)
        assert stores.customers.get(before["id"]) == before

    def test_patches_at_the_same_time_lose_no_entry(self, stores: Stores, key: str) -> None:
        created, _ = stores.put(key)
        with ThreadPoolExecutor(8) as pool:
            list(
                pool.map(
                    lambda n: stores.customers.update(created["id"], {"metadata": {str(n): "x"}}, None, TESTER),
                    range(12),
                )
            )
        after = stores.customers.get(created["id"])
        assert after.get("metadata") == {str(n): "x" for n in range(12)}
        assert after["version"] == 13


def test_everybody_is_walked_once_without_tombstones_and_salt(stores: Stores) -> None:
    group = random.randrange(HALF)
    rows = stores.customers.create([new(group_id=group, age=n) for n in range(40)], TESTER)
    for row in rows[::2]:
        stores.customers.delete(row["id"], None, TESTER)
    seen: list[Customer] = []
    after = None
    while True:
        page = stores.pages.everybody(limit=7, after=after)
        seen += page.customers
        after = page.next_position
        if after is None:
            break
    assert all(customer["id"] > 0 for customer in seen)
    mine = [customer for customer in seen if customer["group_id"] == group]
    assert sorted(customer["id"] for customer in mine) == sorted(row["id"] for row in rows[1::2])


def test_an_address_is_found_whatever_its_case_and_page_by_page(stores: Stores, key: str) -> None:
    sent = [f"{key}@example.com", f"{key.upper()}@example.com", f"{key.title()}@example.com"]
    ids = sorted(stores.customers.create([new(email=email)], TESTER)[0]["id"] for email in sent)
    found: list[int] = []
    after = None
    while True:
        page = stores.pages.with_email(f"{key}@EXAMPLE.com", limit=2, after=after)
        found += [customer["id"] for customer in page.customers]
        after = page.next_position
        if after is None:
            break
    assert found == ids
    changed = stores.customers.update(ids[0], {"email": f"other-{key}@example.com"}, None, TESTER)
    assert stores.pages.with_email(changed["email"], limit=2, after=None).customers == [changed]
    assert len(stores.pages.with_email(sent[0], limit=9, after=None).customers) == 2


def test_a_prefix_finds_what_starts_with_it_ignoring_case_and_accents(stores: Stores) -> None:
    group = random.randrange(HALF)
    names = ["Élodie", "elodie", "Eloise", "El", "Adele", "Zoë"]
    stores.customers.create([new(group_id=group, first_name=name) for name in names], TESTER)
    for prefix, wanted in (("EL", ["El", "Élodie", "elodie", "Eloise"]), ("ÉLOD", ["Élodie", "elodie"]), ("q", [])):
        for descending in (False, True):
            page = stores.pages.group(group, "first_name", descending=descending, limit=9, after=None, prefix=prefix)
            found = [customer["first_name"] for customer in page.customers]
            assert sorted(found) == sorted(wanted)
    first = stores.pages.group(group, "first_name", descending=False, limit=3, after=None, prefix="el")
    rest = stores.pages.group(group, "first_name", descending=False, limit=3, after=first.next_position, prefix="el")
    assert len(first.customers) == 3
    assert [customer["first_name"] for customer in rest.customers] == ["Eloise"]


def test_each_table_has_a_salt_of_its_own_and_derives_other_ids_from_the_same_external_id(stores: Stores) -> None:
    tables = [f"customers-{random.getrandbits(64)}" for _ in range(2)]
    ids, salts = set(), set()
    for table in tables:
        stores.client.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
        )
        made, _ = ExternalIdStore(stores.client, table).put("a-key", new(), versions=None, exists=None, author=TESTER)
        ids.add(made["id"])
        salts.add(stores.client.get_item(TableName=table, Key={"id": {"N": "0"}})["Item"]["salt"]["S"])
        stores.client.delete_table(TableName=table)
    assert [len(salt) for salt in salts] == [43, 43]
    assert len(ids) == 2
