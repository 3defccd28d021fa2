"""The client of DynamoDB sends its calls itself, and returns and raises what botocore would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from customers.aws import dynamodb as service_dynamodb
from tests.conftest import use_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def client(engine: str, monkeypatch: pytest.MonkeyPatch) -> DynamoDBClient:
    use_engine(monkeypatch, engine)
    return service_dynamodb.client()


_KEY: Final[Any] = {"id": {"N": "9007199254740881"}}
_ITEM: Final[Any] = {**_KEY, "text": {"S": 'Zoë 😀 "\\'}, "map": {"M": {"list": {"L": [{"NULL": True}]}}}}
_TAKEN: Final[Any] = {
    "TableName": "CustomersTable",
    "Item": _ITEM,
    "ConditionExpression": "attribute_not_exists(id)",
    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
}
CALLS: Final[dict[str, Callable[[DynamoDBClient], Any]]] = {
    "put": lambda client: client.put_item(TableName="CustomersTable", Item=_ITEM, ReturnValues="ALL_OLD"),
    "get": lambda client: client.get_item(TableName="CustomersTable", Key=_KEY, ReturnConsumedCapacity="TOTAL"),
    "get nothing": lambda client: client.get_item(TableName="CustomersTable", Key={"id": {"N": "9007199254740880"}}),
    "query": lambda client: client.query(
        TableName="CustomersTable",
        KeyConditionExpression="id = :id",
        ExpressionAttributeValues={":id": _KEY["id"]},
        Limit=1,
    ),
    "scan": lambda client: client.scan(TableName="CustomersTable", Limit=1),
    "pages": lambda client: len(
        [*client.get_paginator("scan").paginate(TableName="CustomersTable", PaginationConfig={"MaxItems": 1})]
    ),
    "batch of reads": lambda client: client.batch_get_item(RequestItems={"CustomersTable": {"Keys": [_KEY]}}),
    "batch of statements": lambda client: client.batch_execute_statement(
        Statements=[
            {"Statement": """INSERT INTO "CustomersTable" VALUE {'id': ?}""", "Parameters": [_KEY["id"]]},
        ]
    ),
    "update": lambda client: client.update_item(
        TableName="CustomersTable",
        Key=_KEY,
        UpdateExpression="SET another = :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
        ReturnValues="ALL_NEW",
    ),
    "transaction": lambda client: client.transact_write_items(
        TransactItems=[{"Put": {"TableName": "CustomersTable", "Item": _ITEM}}]
    ),
    "refused": lambda client: client.put_item(**_TAKEN),
    "cancelled": lambda client: client.transact_write_items(TransactItems=[{"Put": _TAKEN}]),
    "invalid": lambda client: client.get_item(TableName="CustomersTable", Key={"wrong": {"S": "x"}}),
    "no table": lambda client: client.get_item(TableName="NoTable", Key=_KEY),
}
"""Each leaves the same behind if it is made twice."""


def _outcome(call: Callable[[DynamoDBClient], Any], client: DynamoDBClient) -> Any:
    try:
        answer = call(client)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        told = {name: error.response.get(name) for name in ("Error", "Item", "CancellationReasons")}
        return type(error).__name__, error.operation_name, status, told
    if isinstance(answer, dict):
        answer.pop("ResponseMetadata", None)
    return answer


@pytest.fixture
def item(dynamodb: DynamoDBClient) -> Iterator[None]:
    dynamodb.put_item(TableName="CustomersTable", Item=_ITEM)
    yield
    dynamodb.delete_item(TableName="CustomersTable", Key=_KEY)


@pytest.mark.usefixtures("item")
@pytest.mark.parametrize("name", CALLS)
def test_a_response_is_what_botocore_would_make_of_it(
    name: str, client: DynamoDBClient, dynamodb: DynamoDBClient
) -> None:
    ours, botocores = (_outcome(CALLS[name], one) for one in (client, dynamodb))
    assert ours == botocores
    assert isinstance(ours, tuple) == (name in {"refused", "cancelled", "invalid", "no table"})


@pytest.mark.usefixtures("item")
def test_no_call_is_botocores(client: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(BaseClient, "_make_api_call", lambda *call: made.append(call))
    for call in CALLS.values():
        _outcome(call, client)
    assert made == []
