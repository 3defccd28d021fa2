"""`customers restore` brings back missing customers. It overwrites nobody, and does not bring back the deleted."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from cli import restore as command
from cli.__main__ import main
from cli.target import Target
from customers.store.author import Author
from customers.store.customers import CustomerStore
from customers.store.history import HistoryStore, entry_of, steps
from tests.author import TESTER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from customers.customer import NewCustomer

JANE: NewCustomer = {"first_name": "Jane", "last_name": "Doe", "email": "jane@example.com", "group_id": 1}
THIEF = Author("the-thief", "r")


@pytest.fixture
def restored(dynamodb: DynamoDBClient) -> Iterator[str]:
    name = f"restored-{random.getrandbits(32)}"
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield name
    dynamodb.delete_table(TableName=name)


@pytest.fixture
def run(dynamodb: DynamoDBClient, restored: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    outputs = {"CustomersTableName": "CustomersTable", "HistoryTableName": "HistoryTable"}
    nothing: Any = None
    monkeypatch.setattr(command, "find_target", lambda _: Target(dynamodb, nothing, outputs, "", None))

    def run(*arguments: str) -> Result:
        return CliRunner(mix_stderr=False).invoke(main, ("restore", "--from-table", restored, *arguments))

    return run


def item_of(dynamodb: DynamoDBClient, table: str, customer_id: int) -> dict[str, Any]:
    key = {"id": {"N": str(customer_id)}}
    return dict(dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {}))


def test_who_is_missing_comes_back_and_who_was_deleted_does_not(
    dynamodb: DynamoDBClient, restored: str, run: Callable[..., Result], changes_of: Callable[[int], list[Any]]
) -> None:
    store, history = CustomerStore(dynamodb, "CustomersTable"), HistoryStore(dynamodb, "HistoryTable")
    there, lost, removed, erased, forgotten, stolen = (one["id"] for one in store.create([JANE] * 6, TESTER))
    for customer_id in (there, lost, removed, erased, forgotten, stolen):
        dynamodb.put_item(TableName=restored, Item=item_of(dynamodb, "CustomersTable", customer_id))
    store.update(there, {"age": 3}, None, TESTER)
    dynamodb.delete_item(TableName="CustomersTable", Key={"id": {"N": str(lost)}})
    for customer_id, author in ((erased, Author("a-clerk", "r")), (forgotten, Author("a-clerk", "r")), (stolen, THIEF)):
        store.delete(customer_id, None, author)
    dynamodb.delete_item(TableName="CustomersTable", Key={"id": {"N": str(removed)}})
    for customer_id in (removed, erased, forgotten, stolen):
        for step in steps(list(filter(None, map(entry_of, changes_of(customer_id))))):
            history.keep(step, 365)
    # Its tombstone has expired since then, and only the history knows about it.
    dynamodb.delete_item(TableName="CustomersTable", Key={"id": {"N": str(forgotten)}})

    done = run()
    assert (done.exit_code, done.stderr) == (
        0,
        "2 restored. 3 stay deleted, because someone deleted them.\n",
    )
    assert store.get(there)["version"] == 2
    # The history knows that `removed` was removed, so its versions go on from there.
    assert (store.get(lost)["version"], store.get(removed)["version"]) == (1, 3)
    for customer_id in (erased, forgotten, stolen):
        assert "customer" not in item_of(dynamodb, "CustomersTable", customer_id)

    # An external id has passed over the tombstone: the customer's next one must still say so.
    passed_over: Any = {"N": "253402300799"}
    dynamodb.update_item(
        TableName="CustomersTable",
        Key={"id": {"N": str(stolen)}},
        UpdateExpression="SET passed_over = :mark",
        ExpressionAttributeValues={":mark": passed_over},
    )
    done = run("--deleted-by", "the-thief")
    assert (done.exit_code, done.stderr) == (
        0,
        "1 restored. 2 stay deleted, because someone deleted them.\n",
    )
    back = store.get(stolen)
    assert (back["last_name"], back["version"]) == ("Doe", 3)
    assert item_of(dynamodb, "CustomersTable", stolen)["passed_over"] == passed_over
    assert run("--deleted-by", "the-thief").stderr.startswith("0 restored.")


def test_a_table_of_another_service_is_refused(
    dynamodb: DynamoDBClient, restored: str, run: Callable[..., Result]
) -> None:
    store = CustomerStore(dynamodb, "CustomersTable")
    store.create([{**JANE, "external_id": f"key-{random.getrandbits(64)}"}], TESTER)
    dynamodb.put_item(TableName=restored, Item={"id": {"N": "0"}, "salt": {"S": "another"}})
    done = run()
    assert done.exit_code == 1
    assert "is not a backup of this service" in done.stderr


@pytest.mark.usefixtures("run")
def test_a_table_that_does_not_exist_is_named_in_one_line_that_says_what_to_check() -> None:
    done = CliRunner(mix_stderr=False).invoke(main, ("restore", "--from-table", "no-such-table"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: There is no table no-such-table, or it is not ready yet. List the tables with "
        "`aws dynamodb list-tables`, and check the region and --stack.\n"
    )
