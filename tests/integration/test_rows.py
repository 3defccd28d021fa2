"""Rows of imports find their customers by id, external id or content, and write only what differs."""

from __future__ import annotations

import random
from itertools import permutations
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from botocore.exceptions import ReadTimeoutError

from customers.aws import dynamodb as service_dynamodb
from customers.errors import NotFoundError
from customers.store.customers import CustomerStore
from customers.store.external_ids import ExternalIdStore
from customers.store.identity import HALF, ImportRow, Salt, Source
from customers.store.items import now
from customers.store.pages import PageStore
from customers.store.rows import RowStore
from tests.author import TESTER
from tests.conftest import use_engine
from tests.integration.test_store import lost_answer, lost_request
from tests.sending import before_sending, target_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from customers.customer import Customer, NewCustomer

LATER = "2999-01-01T00:00:00.000Z"
LONG_AGO = "2020-01-01T00:00:00.000Z"


class Stores:
    def __init__(self) -> None:
        self.client = service_dynamodb.client()
        self.rows = RowStore(self.client, "CustomersTable")
        self.customers = CustomerStore(self.client, "CustomersTable")
        self.keyed = ExternalIdStore(self.client, "CustomersTable")
        self.pages = PageStore(self.client, "CustomersTable")
        self.group = random.randrange(1, HALF)
        self.faults: list[Callable[..., Any]] = []
        self.writes = 0
        before_sending(self.client, self._send)
        self.rows.write(source(), {})

    def _send(self, request: Any) -> Any:
        target = target_of(request)
        self.writes += not any(read in target for read in ("GetItem", "Query", "Scan"))
        return self.faults.pop(0)(request) if self.faults else None

    def new(self, name: str = "Doe", **fields: Any) -> NewCustomer:
        customer = {"first_name": "Jo", "last_name": name, "email": "jo@example.com", "group_id": self.group}
        return {**customer, **fields}  # type: ignore[typeddict-item]  # the test's own fields

    def put(self, key: str, **fields: Any) -> Customer:
        return self.keyed.put(key, self.new(external_id=key, **fields), versions=None, exists=None, author=TESTER)[0]

    def all(self) -> list[Customer]:
        return self.pages.group(self.group, "id", descending=False, limit=1000, after=None).customers


@pytest.fixture
def stores(engine: str, monkeypatch: pytest.MonkeyPatch) -> Stores:
    use_engine(monkeypatch, engine)
    return Stores()


@pytest.fixture
def key() -> str:
    return f"key-{uuid4().hex}"


def source(put_at: str | None = None, *, restore: bool = False) -> Source:
    return Source(uuid4().hex, put_at or now(), restore)


class TestByContent:
    def test_a_row_is_created_once_wherever_it_comes_from(self, stores: Stores) -> None:
        rows = {number: ImportRow(stores.new(f"Doe {number}")) for number in range(1, 40)}
        assert stores.rows.write(source(), rows) == dict.fromkeys(rows, "created")
        assert stores.rows.write(source(), {**rows, 40: ImportRow(stores.new("New"))}) == {
            **dict.fromkeys(rows, "already_there"), 40: "created",
        }  # fmt: skip
        assert len(stores.all()) == 40
        assert all(customer["id"] < HALF for customer in stores.all())

    def test_the_same_row_twice_in_a_file_is_one_customer(self, stores: Stores) -> None:
        rows = {number: ImportRow(stores.new()) for number in (1, 2, 3)}
        assert stores.rows.write(source(), rows) == {1: "created", 2: "already_there", 3: "already_there"}
        assert len(stores.all()) == 1

    def test_a_repetition_says_the_same(self, stores: Stores) -> None:
        rows = {number: ImportRow(stores.new(f"Doe {number}")) for number in (1, 2)}
        origin = source()
        assert stores.rows.write(origin, rows) == stores.rows.write(origin, rows) == {1: "created", 2: "created"}
        assert stores.rows.written(origin, {**rows, 3: ImportRow(stores.new("No"))}) == {1: "created", 2: "created"}

    def test_it_is_there_even_if_the_customer_has_changed(self, stores: Stores) -> None:
        stores.rows.write(source(), {1: ImportRow(stores.new())})
        (customer,) = stores.all()
        changed = stores.customers.update(customer["id"], {"last_name": "Other"}, None, TESTER)
        assert stores.rows.write(source(), {1: ImportRow(stores.new())}) == {1: "already_there"}
        assert stores.all() == [changed]

    def test_null_and_no_entries_do_not_count(self, stores: Stores) -> None:
        stores.rows.write(source(), {1: ImportRow(stores.new())})
        same = stores.new(age=None, external_id=None, metadata={})
        assert stores.rows.write(source(), {1: ImportRow(same)}) == {1: "already_there"}

    def test_a_deleted_customer_stays_deleted_unless_it_is_asked_for(self, stores: Stores) -> None:
        origin, rows = source(), {1: ImportRow(stores.new())}
        stores.rows.write(origin, rows)
        (customer,) = stores.all()
        stores.customers.delete(customer["id"], None, TESTER)
        assert stores.rows.write(source(), rows) == {1: "deleted"}
        several = {**rows, 2: rows[1], 3: rows[1]}
        assert stores.rows.write(source(), several) == dict.fromkeys(several, "deleted")
        # A repeated import knows that it created the customer, and does not create it again.
        assert stores.rows.write(origin, rows) == {1: "created"}
        assert stores.all() == []
        assert stores.rows.write(source(restore=True), rows) == {1: "created"}
        assert [(one["id"], one["version"]) for one in stores.all()] == [(customer["id"], 3)]
        assert stores.rows.write(source(), rows) == {1: "already_there"}

    def test_an_id_that_another_has_is_passed_over(self, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
        first = random.randrange(1, HALF // 2)
        monkeypatch.setattr(Salt, "content_id", lambda _, __, draw: first + draw)
        rows = {number: ImportRow(stores.new(f"Doe {number}")) for number in (1, 2, 3)}
        for outcome in ("created", "already_there"):
            assert stores.rows.write(source(), rows) == dict.fromkeys(rows, outcome)
        assert [one["id"] for one in stores.all()] == [first, first + 1, first + 2]


class TestByExternalId:
    def test_rows_create_update_or_change_nothing(self, stores: Stores, key: str) -> None:
        before = stores.put(f"{key}-1")
        stores.put(f"{key}-2", age=3)
        rows = {number: ImportRow(stores.new(external_id=f"{key}-{number}")) for number in (1, 2, 3)}
        assert stores.rows.write(source(LATER), rows) == {1: "unchanged", 2: "updated", 3: "created"}
        assert stores.keyed.get(f"{key}-1") == before
        second = stores.keyed.get(f"{key}-2")
        assert (second.get("age"), second["version"]) == (None, 2)
        stores.writes = 0
        assert stores.rows.write(source(LATER), rows) == dict.fromkeys(rows, "unchanged")
        assert stores.writes == 0

    def test_the_last_row_of_a_key_wins(self, stores: Stores, key: str) -> None:
        rows = {number: ImportRow(stores.new(f"Doe {number}", external_id=key)) for number in (1, 2, 3)}
        assert stores.rows.write(source(), rows) == {1: "superseded", 2: "superseded", 3: "created"}
        assert stores.keyed.get(key)["last_name"] == "Doe 3"

    def test_an_earlier_row_that_comes_later_does_not_win(self, stores: Stores, key: str) -> None:
        origin = source()
        assert stores.rows.write(origin, {9: ImportRow(stores.new("Last", external_id=key))}) == {9: "created"}
        assert stores.rows.write(origin, {2: ImportRow(stores.new("First", external_id=key))}) == {2: "superseded"}
        assert stores.keyed.get(key)["last_name"] == "Last"

    def test_an_earlier_row_that_comes_later_does_not_win_over_one_that_changes_nothing(
        self, stores: Stores, key: str
    ) -> None:
        before = stores.put(key)
        same, other = ImportRow(stores.new(external_id=key), repeats=True), ImportRow(stores.new("X", external_id=key))
        origin = source(LATER)
        for _ in range(2):
            assert stores.rows.write(origin, {9: same}) == {9: "unchanged"}
        assert stores.rows.write(origin, {2: other}) == {2: "superseded"}
        assert stores.keyed.get(key) == before
        assert stores.rows.write(origin, {5: same}) == {5: "unchanged"}
        assert stores.rows.write(origin, {8: other}) == {8: "superseded"}
        assert stores.rows.write(origin, {10: other}) == {10: "updated"}

    def test_an_earlier_row_that_is_on_its_way_does_not_win_over_one_that_changes_nothing(
        self, stores: Stores, key: str
    ) -> None:
        before = stores.put(key)
        same, other = ImportRow(stores.new(external_id=key), repeats=True), ImportRow(stores.new("X", external_id=key))
        origin, elsewhere = source(LATER), RowStore(service_dynamodb.client(), "CustomersTable")

        def meanwhile(_: object) -> None:
            assert elsewhere.write(origin, {9: same}) == {9: "unchanged"}

        # After the first row was looked up, and before it is written.
        stores.faults = [lambda _: None, meanwhile]
        assert stores.rows.write(origin, {2: other}) == {2: "superseded"}
        assert stores.faults == []
        assert stores.keyed.get(key) == before

    def test_what_changed_since_the_file_was_put_there_stays(self, stores: Stores, key: str) -> None:
        before = stores.put(key)
        assert stores.rows.write(source(LONG_AGO), {1: ImportRow(stores.new("Old", external_id=key))}) == {
            1: "superseded"
        }
        stores.rows.write(source(LATER), {1: ImportRow(stores.new("Newest", external_id=key))})
        assert stores.rows.write(source(), {1: ImportRow(stores.new("Old", external_id=key))}) == {1: "superseded"}
        after = stores.keyed.get(key)
        assert (after["id"], after["last_name"], after["version"]) == (before["id"], "Newest", 2)

    def test_a_repetition_says_the_same(self, stores: Stores, key: str) -> None:
        stores.put(f"{key}-1")
        rows = {number: ImportRow(stores.new("New", external_id=f"{key}-{number}")) for number in (1, 2)}
        origin = source(LATER)
        wanted = {1: "updated", 2: "created"}
        assert stores.rows.write(origin, rows) == wanted
        assert stores.rows.write(origin, rows) == wanted
        assert stores.rows.written(origin, rows) == wanted
        assert stores.keyed.get(f"{key}-1")["version"] == 2

    def test_a_version_protects_what_others_changed(self, stores: Stores, key: str) -> None:
        before = stores.put(key)
        changed = stores.customers.update(before["id"], {"age": 9}, None, TESTER)
        row = ImportRow(stores.new("Mine", external_id=key), version=1)
        assert stores.rows.write(source(LATER), {1: row}) == {1: "version_mismatch"}
        assert stores.keyed.get(key) == changed
        same = ImportRow(stores.new(external_id=key, age=9), version=1)
        assert stores.rows.write(source(LATER), {1: same}) == {1: "unchanged"}
        assert stores.rows.write(source(LATER), {1: row._replace(version=2)}) == {1: "updated"}

    def test_a_deleted_key_is_refused_unless_it_is_asked_for(self, stores: Stores, key: str) -> None:
        before = stores.put(key)
        stores.customers.delete(before["id"], None, TESTER)
        row = ImportRow(stores.new(external_id=key))
        assert stores.rows.write(source(), {1: row}) == {1: "deleted"}
        several = {1: row, 2: ImportRow(stores.new("Other", external_id=key)), 3: row}
        assert stores.rows.write(source(), several) == dict.fromkeys(several, "deleted")
        assert stores.rows.write(source(restore=True), {1: row}) == {1: "created"}
        after = stores.keyed.get(key)
        assert (after["id"], after["version"]) == (before["id"], 3)

    def test_a_row_that_is_refused_does_not_take_the_place_of_an_earlier_one(self, stores: Stores, key: str) -> None:
        stores.put(key)
        origin = source(LATER)
        rows = {
            number: ImportRow(stores.new(f"Doe {number}", external_id=key), version=version)
            for number, version in ((1, 1), (2, 1), (3, 7), (4, 9))
        }
        wanted = {1: "superseded", 2: "updated", 3: "version_mismatch", 4: "version_mismatch"}
        for _ in range(2):
            assert stores.rows.write(origin, rows) == wanted
        assert stores.rows.written(origin, rows) == {2: "updated"}
        assert stores.keyed.get(key)["last_name"] == "Doe 2"

    @pytest.mark.parametrize("order", [*permutations((1, 2, 3)), (2, 2, 1, 3, 1)], ids=str)
    def test_versions_protect_from_others_and_not_from_rows_of_the_same_file_in_other_chunks(
        self, order: tuple[int, ...], stores: Stores, key: str
    ) -> None:
        stores.put(key)
        origin = source(LATER)
        rows = {
            number: ImportRow(stores.new(f"Doe {number}", external_id=key), version=version)
            for number, version in ((1, 1), (2, 1), (3, 7))
        }
        outcomes = [stores.rows.write(origin, {number: rows[number]})[number] for number in order]
        assert stores.keyed.get(key)["last_name"] == "Doe 2"
        assert {outcome for number, outcome in zip(order, outcomes, strict=True) if number == 3} == {"version_mismatch"}
        assert "version_mismatch" not in {outcomes[place] for place, number in enumerate(order) if number != 3}
        changed = stores.customers.update(stores.keyed.get(key)["id"], {"age": 9}, None, TESTER)
        late = ImportRow(stores.new("Late", external_id=key), version=1)
        assert stores.rows.write(origin, {4: late}) == {4: "version_mismatch"}
        assert stores.rows.write(source(LATER), {1: late}) == {1: "version_mismatch"}
        assert stores.keyed.get(key) == changed

    def test_rows_without_a_version_leave_no_version_of_an_earlier_import_to_go_by(
        self, stores: Stores, key: str
    ) -> None:
        stores.put(key)
        first, second = source("2998-01-01T00:00:00.000Z"), source(LATER)
        rows = {
            n: ImportRow(stores.new(f"Doe {n}", external_id=key), version=v) for n, v in ((1, 1), (2, None), (3, 1))
        }
        assert stores.rows.write(first, {1: rows[1]}) == {1: "updated"}
        assert stores.rows.write(second, {2: rows[2]}) == {2: "updated"}
        assert stores.rows.write(second, {3: rows[3]}) == {3: "version_mismatch"}
        assert stores.rows.write(second, {3: rows[3]._replace(version=2)}) == {3: "updated"}

    def test_whoever_was_deleted_after_the_file_was_put_there_stays_deleted(self, stores: Stores, key: str) -> None:
        before = stores.put(key)
        row = ImportRow(stores.new(external_id=key))
        twice, late, old = source(restore=True), source(restore=True), source(LONG_AGO, restore=True)
        assert stores.rows.write(twice, {1: row}) == {1: "unchanged"}
        while now() == late.put_at:
            pass
        stores.customers.delete(before["id"], None, TESTER)
        for origin in (twice, late, old):
            assert stores.rows.write(origin, {1: row}) == {1: "superseded"}
        with pytest.raises(NotFoundError):
            stores.keyed.get(key)
        assert stores.rows.write(source(LATER, restore=True), {1: row}) == {1: "created"}

    @pytest.mark.parametrize("lost", [lost_answer, lost_request])
    def test_an_update_whose_response_was_lost_is_made_once(
        self, lost: Callable[..., Any], stores: Stores, key: str
    ) -> None:
        stores.put(key)
        ok: Callable[..., Any] = lambda _: None  # noqa: E731
        # The first call asks which customers exist.
        stores.faults = [ok, lost(ReadTimeoutError)]
        assert stores.rows.write(source(LATER), {1: ImportRow(stores.new("New", external_id=key))}) == {1: "updated"}
        assert stores.keyed.get(key)["version"] == 2


class TestById:
    def test_a_row_replaces_its_customer_and_keeps_its_external_id(self, stores: Stores, key: str) -> None:
        keyed = stores.put(key)
        (plain,) = stores.customers.create([stores.new("Plain", age=4)], TESTER)
        rows = {1: ImportRow(stores.new("One"), keyed["id"]), 2: ImportRow(stores.new("Two"), plain["id"])}
        assert stores.rows.write(source(LATER), rows) == {1: "updated", 2: "updated"}
        assert stores.keyed.get(key)["last_name"] == "One"
        after = stores.customers.get(plain["id"])
        assert (after["last_name"], after.get("age"), after["version"]) == ("Two", None, 2)
        assert stores.rows.write(source(LATER), rows) == {1: "unchanged", 2: "unchanged"}

    def test_another_external_id_is_a_contradiction(self, stores: Stores, key: str) -> None:
        keyed = stores.put(key)
        (plain,) = stores.customers.create([stores.new("Plain")], TESTER)
        rows = {
            1: ImportRow(stores.new(external_id=f"{key}-other"), keyed["id"]),
            2: ImportRow(stores.new("Plain", external_id=f"{key}-x"), plain["id"]),
        }
        assert stores.rows.write(source(LATER), rows) == dict.fromkeys(rows, "external_id_mismatch")

    def test_a_later_row_does_not_hide_that_an_earlier_one_names_another_external_id(
        self, stores: Stores, key: str
    ) -> None:
        customer = stores.put(key)
        wrong = ImportRow(stores.new("A", external_id=f"{key}-2"), customer["id"])
        by_id, by_key = ImportRow(stores.new("B"), customer["id"]), ImportRow(stores.new("C", external_id=key))
        assert stores.rows.write(source(LATER), {1: wrong, 2: by_id, 3: wrong, 4: by_key}) == {
            1: "external_id_mismatch",
            2: "superseded",
            3: "external_id_mismatch",
            4: "updated",
        }
        assert stores.keyed.get(key)["last_name"] == "C"

    def test_an_unknown_id_does_not_count(self, stores: Stores, key: str) -> None:
        unknown = random.randrange(1, HALF)
        rows = {
            1: ImportRow(stores.new("Content"), unknown),
            2: ImportRow(stores.new("Keyed", external_id=key), unknown),
        }
        assert stores.rows.write(source(), rows) == {1: "created", 2: "created"}
        assert stores.keyed.get(key)["last_name"] == "Keyed"

    def test_a_deleted_customer_is_refused_unless_it_is_asked_for(self, stores: Stores) -> None:
        (plain,) = stores.customers.create([stores.new("Plain")], TESTER)
        stores.customers.delete(plain["id"], None, TESTER)
        row = ImportRow(stores.new("Plain"), plain["id"])
        assert stores.rows.write(source(LATER), {1: row}) == {1: "deleted"}
        assert stores.rows.write(source(LATER, restore=True), {1: row}) == {1: "created"}
        assert stores.customers.get(plain["id"])["version"] == 3

    def test_a_deleted_customer_comes_back_with_the_external_id_it_had_or_not_at_all(
        self, stores: Stores, key: str
    ) -> None:
        keyed = stores.put(key)
        (plain,) = stores.customers.create([stores.new("Plain")], TESTER)
        for customer in (keyed, plain):
            stores.customers.delete(customer["id"], None, TESTER)
        wrong = {
            1: ImportRow(stores.new(external_id=f"{key}-other"), keyed["id"]),
            2: ImportRow(stores.new("Plain", external_id=f"{key}-other"), plain["id"]),
        }
        again = source(LATER, restore=True)
        assert stores.rows.write(again, wrong) == dict.fromkeys(wrong, "external_id_mismatch")
        assert stores.rows.write(again, {1: ImportRow(stores.new(), keyed["id"])}) == {1: "external_id_mismatch"}
        for external_id in (key, f"{key}-other"):
            with pytest.raises(NotFoundError):
                stores.keyed.get(external_id)
        right = {1: ImportRow(stores.new(external_id=key), keyed["id"]), 2: ImportRow(stores.new("Plain"), plain["id"])}
        assert stores.rows.write(again, right) == dict.fromkeys(right, "created")
        assert stores.keyed.get(key)["id"] == keyed["id"]

    def test_a_customer_whose_item_goes_while_its_row_is_imported_is_deleted(self, stores: Stores) -> None:
        (plain,) = stores.customers.create([stores.new("Plain")], TESTER)
        other = service_dynamodb.client()

        def remove(_: object) -> None:
            other.delete_item(TableName="CustomersTable", Key={"id": {"N": str(plain["id"])}})

        # The first call asks which customers exist, the second one what they are.
        stores.faults = [lambda _: None, remove]
        assert stores.rows.write(source(LATER), {1: ImportRow(stores.new("X"), plain["id"])}) == {1: "deleted"}

    def test_id_and_external_id_of_one_customer_are_one(self, stores: Stores, key: str) -> None:
        keyed = stores.put(key)
        rows = {1: ImportRow(stores.new("A"), keyed["id"]), 2: ImportRow(stores.new("B", external_id=key))}
        assert stores.rows.write(source(LATER), rows) == {1: "superseded", 2: "updated"}
        assert stores.keyed.get(key)["last_name"] == "B"
