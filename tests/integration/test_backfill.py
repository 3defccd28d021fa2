"""The backfill of docs/changing.md puts the customers that a new index lacks into it, and touches nothing else."""

from __future__ import annotations

import runpy
import sys
from typing import TYPE_CHECKING, Any, Final

import boto3
import pytest

from customers.store.customers import CustomerStore
from customers.store.external_ids import ExternalIdStore
from customers.store.items import Change
from customers.store.pages import PageStore
from tests.author import TESTER
from tests.conftest import ROOT, dynamodb_client, running_engine, use_engine
from tests.guides import blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient

    from customers.customer import Customer, NewCustomer
    from local.template.stack import Stack

TABLE: Final = "CustomersTable"
FIELD: Final = "age"
SORT: Final = "age_sort"
GROUP: Final = 7


class Killed(BaseException):
    """As if somebody had stopped the program."""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    found = (block.text for block in blocks(ROOT / "docs" / "changing.md") if block.language == "python")
    (text,) = (text for text in found if "backfill.py" in text)
    path = tmp_path / "backfill.py"
    path.write_text(text)
    return path


@pytest.fixture
def dynamodb(tmp_path: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDBClient]:
    """Its own engine, in which there is nothing else that the program could write to."""
    with running_engine(tmp_path, stack) as engine:
        use_engine(monkeypatch, engine)
        yield dynamodb_client(engine)


def person(number: int) -> NewCustomer:
    # One in four has no age: the order has a place for them too.
    age = number if number % 4 else None
    return {"first_name": "Jane", "last_name": "Doe", "email": "jane@example.com", "group_id": GROUP, "age": age}


def items(dynamodb: DynamoDBClient) -> dict[int, dict[str, Any]]:
    found = dynamodb.scan(TableName=TABLE, ConsistentRead=True)["Items"]
    return {int(item["id"]["N"]): dict(item) for item in found}


def listed(dynamodb: DynamoDBClient) -> list[Customer]:
    return PageStore(dynamodb, TABLE).group(GROUP, FIELD, descending=False, limit=100, after=None).customers


def test_it_goes_on_after_it_was_killed_and_brings_no_deleted_customer_back(
    program: Path, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = CustomerStore(dynamodb, TABLE)
    customers = store.create([person(number) for number in range(20)], TESTER)
    # Makes the salt.
    keyed, _ = ExternalIdStore(dynamodb, TABLE).put("key-1", person(20), versions=None, exists=None, author=TESTER)
    before = listed(dynamodb)
    # As they were before the index existed.
    for item in items(dynamodb):
        dynamodb.update_item(TableName=TABLE, Key={"id": {"N": str(item)}}, UpdateExpression=f"REMOVE {SORT}")
    assert listed(dynamodb) == []
    store.delete(customers[0]["id"], None, TESTER)
    # The age stays the same: from now on, the customer is in the order.
    store.update(customers[1]["id"], {FIELD: 1}, None, TESTER)
    untouched = items(dynamodb)

    writes: list[int] = []
    deleted: list[int] = []

    def on_write(params: dict[str, Any], **_: object) -> None:
        customer_id = int(params["Key"]["id"]["N"])
        writes.append(customer_id)
        if not deleted:
            # The program has already read it.
            store.delete(customer_id, None, TESTER)
            deleted.append(customer_id)
            untouched[customer_id] = items(dynamodb)[customer_id]
        if len(writes) == 10:
            raise Killed

    def run(on_write: Callable[..., None] | None) -> None:
        session = boto3.Session()
        if on_write:
            session.events.register("provide-client-params.dynamodb.UpdateItem", on_write)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
        monkeypatch.setattr(sys, "argv", [str(program), TABLE, FIELD])
        runpy.run_path(str(program))

    with pytest.raises(Killed):
        run(on_write)
    assert len(listed(dynamodb)) == 1 + 8
    run(None)
    assert capsys.readouterr().out == "10 customers are in the new order\n"

    gone = {customers[0]["id"], *deleted}
    living = {customer["id"] for customer in [*customers, keyed]} - gone
    after = items(dynamodb)
    expected = [customer["id"] for customer in before if customer["id"] in living]
    assert [customer["id"] for customer in listed(dynamodb)] == expected
    # The only new thing in a customer is its place in the order. The tombstones and the salt have not changed.
    new = {number: {SORT: after[number][SORT]} for number in living}
    assert after == {number: item | new.get(number, {}) for number, item in untouched.items()}
    # Neither an event nor the history reports it.
    for number in living:
        record = {"dynamodb": {"OldImage": untouched[number], "NewImage": after[number]}}
        assert Change.of_record(record).kind is None
