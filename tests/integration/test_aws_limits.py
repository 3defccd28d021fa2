"""What AWS refuses and the local engine accepts is refused in the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from customers.store.customers import CustomerStore
from tests.author import TESTER
from tests.aws_limits import refusals

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = "CustomersTable"
LONG = {"S": "x" * 1025}
STATEMENT = f"INSERT INTO \"{TABLE}\" VALUE {{'id': ?, 'email_sort': ?}}"
QUERY: Any = {
    "TableName": TABLE,
    "IndexName": "group-by-email",
    "KeyConditionExpression": "#group = :group",
    "ExpressionAttributeNames": {"#group": "group_id"},
    "ExpressionAttributeValues": {":group": {"N": "1"}},
}
START: Any = {"group_id": {"N": "1"}, "id": {"N": "1"}, "email_sort": {"S": "doe"}}
PREFIX: Any = {
    **QUERY,
    "KeyConditionExpression": "#group = :group AND begins_with(email_sort, :prefix)",
    "ExpressionAttributeValues": {":group": {"N": "1"}, ":prefix": {"S": "do"}},
}
OPERANDS = {f":v{number}": {"N": str(number)} for number in range(101)}


def delete_at(client: DynamoDBClient, operands: int) -> object:
    values: Any = dict(list(OPERANDS.items())[:operands])
    return client.delete_item(
        TableName=TABLE,
        Key={"id": {"N": "1"}},
        ConditionExpression=f"attribute_not_exists(id) OR version IN ({', '.join(values)})",
        ExpressionAttributeValues=values,
    )


INSERTION: Any = {"Statement": STATEMENT, "Parameters": [{"N": "1"}, LONG]}
PUT: Any = {"TableName": TABLE, "Item": {"id": {"N": "1"}, "email_sort": LONG}}
UPDATE: Any = {
    "TableName": TABLE,
    "Key": {"id": {"N": "1"}},
    "UpdateExpression": "SET version = :one, #sort = :long REMOVE age_sort",
    "ExpressionAttributeNames": {"#sort": "email_sort"},
    "ExpressionAttributeValues": {":long": LONG, ":one": {"N": "1"}},
}
DELETIONS: Any = [{"Delete": {"IndexName": name}} for name in ("group-by-email", "group-by-age")]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda client: client.query(**QUERY, ExclusiveStartKey={**START, "group_id": {"N": "2"}}), "key is invalid"),
        (lambda client: client.query(**PREFIX, ExclusiveStartKey={**START, "email_sort": {"S": "x"}}), "outside query"),
        (lambda client: client.put_item(**PUT), "email_sort"),
        (lambda client: client.transact_write_items(TransactItems=[{"Put": PUT}]), "email_sort"),
        (lambda client: client.update_item(**UPDATE), "email_sort"),
        (lambda client: client.batch_execute_statement(Statements=[INSERTION]), "email_sort"),
        (lambda client: delete_at(client, 101), "100 operands"),
        (lambda client: client.update_table(TableName=TABLE, GlobalSecondaryIndexUpdates=DELETIONS), "Only 1 online"),
    ],
    ids=["foreign start", "start outside", "put", "transaction", "update", "PartiQL", "operands", "two indexes"],
)
def test_it_is_refused(dynamodb: DynamoDBClient, call: Callable[[DynamoDBClient], object], said: str) -> None:
    with pytest.raises(ClientError, match=said) as refused:
        call(dynamodb)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_what_is_within_the_limits_is_not(dynamodb: DynamoDBClient) -> None:
    for call in (QUERY, PREFIX):
        assert not list(refusals("Query", {**call, "ExclusiveStartKey": START}))
        dynamodb.query(**call, ExclusiveStartKey=START)
    delete_at(dynamodb, 100)


def test_the_longest_customer_of_the_store_is_within_the_limits(dynamodb: DynamoDBClient) -> None:
    # The first names are a ligature that folds to eighteen letters.
    long: Any = {"first_name": "\ufdfa" * 100, "last_name": "\U0001f600" * 100, "email": "a@example.com", "group_id": 9}
    store = CustomerStore(dynamodb, TABLE)
    one, other = store.create([long, long], TESTER)
    assert store.update(one["id"], {"last_name": "\ufdfa" * 100}, None, TESTER)["version"] == 2
    for customer in (one, other):
        store.delete(customer["id"], list(range(1, 91)), TESTER)
