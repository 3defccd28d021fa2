"""A changed template meets tables that are kept: what DynamoDB can change is changed, and the rest is reported."""

from __future__ import annotations

import copy
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from local.errors import LocalError
from local.services.engine import Engine
from local.services.tables import create_tables
from local.template.stack import Table
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient


def index(name: str, key: str, *attributes: str) -> dict[str, Any]:
    return {
        "IndexName": name,
        "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": list(attributes)},
    }


TABLE = Table(
    "Things",
    {
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [
            {"AttributeName": "id", "AttributeType": "N"},
            {"AttributeName": "group", "AttributeType": "N"},
        ],
        "BillingMode": "PAY_PER_REQUEST",
        "GlobalSecondaryIndexes": [index("by-group", "group", "name", "age")],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    },
    "expires_at",
)


def changed(**properties: Any) -> Table:
    return replace(TABLE, properties={**copy.deepcopy(dict(TABLE.properties)), **properties})


def typed(**types: str) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[str]:
    with closing(Engine(ROOT / "node_modules", None, tmp_path / "log")) as engine:
        create_tables(engine.endpoint, [TABLE])
        yield engine.endpoint


@pytest.fixture
def client(running: str) -> Iterator[DynamoDBClient]:
    words = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    with closing(boto3.client("dynamodb", endpoint_url=running, region_name="us-east-1", **words)) as client:  # type: ignore[call-overload] # as keywords
        yield client


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (
            changed(KeySchema=[{"AttributeName": "group", "KeyType": "HASH"}]),
            "the key",
        ),
        (
            changed(GlobalSecondaryIndexes=[index("by-group", "group", "name", "age", "email")]),
            "the projection of the index by-group",
        ),
        (
            changed(GlobalSecondaryIndexes=[index("by-group", "group", "name")]),
            "the projection of the index by-group",
        ),
        (
            changed(GlobalSecondaryIndexes=[index("by-group", "id", "name", "age")]),
            "the key of the index by-group",
        ),
        (
            changed(AttributeDefinitions=typed(id="N", group="S")),
            "the type of the key attribute group",
        ),
        (
            changed(LocalSecondaryIndexes=[index("local", "id", "name")]),
            "a local secondary index",
        ),
        (
            changed(StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}),
            "what the stream shows",
        ),
        (replace(TABLE, ttl_attribute="ends_at"), "the attribute by which items expire"),
    ],
)
def test_what_a_kept_table_cannot_change_is_told_with_advice_and_changes_nothing(
    running: str, client: DynamoDBClient, table: Table, what: str
) -> None:
    before = client.describe_table(TableName="Things")["Table"]
    with pytest.raises(LocalError) as told:
        create_tables(running, [table])
    assert f"the template changes {what} of a table that already holds data" in str(told.value)
    assert "./customers reset" in str(told.value)
    assert "DATA_DIR=" in str(told.value)
    assert "\n" not in str(told.value)
    assert client.describe_table(TableName="Things")["Table"] == before


def test_no_table_is_changed_if_one_cannot_be(running: str, client: DynamoDBClient) -> None:
    other = replace(TABLE, name="Other")
    create_tables(running, [other])
    bigger = changed(GlobalSecondaryIndexes=[index("by-group", "group", "name", "age"), index("by-id", "id")])
    with pytest.raises(LocalError, match="Other: the template changes"):
        create_tables(running, [bigger, replace(other, ttl_attribute="ends_at")])
    (kept,) = client.describe_table(TableName="Things")["Table"]["GlobalSecondaryIndexes"]
    assert kept["IndexName"] == "by-group"


def test_the_order_of_a_projections_attributes_is_no_change(running: str) -> None:
    create_tables(running, [changed(GlobalSecondaryIndexes=[index("by-group", "group", "age", "name")])])


def test_indexes_are_added_with_what_is_there_and_removed(
    running: str, client: DynamoDBClient, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(30):
        item: Any = {"id": {"N": str(number)}, "team": {"N": "7"}, "name": {"S": "x"}}
        client.put_item(TableName="Things", Item=item)
    definitions = typed(id="N", team="N", rank="N")
    create_tables(
        running,
        [
            changed(
                AttributeDefinitions=definitions,
                GlobalSecondaryIndexes=[index("by-team", "team", "name"), index("by-rank", "rank", "name")],
            )
        ],
    )
    described = client.describe_table(TableName="Things")["Table"]
    assert {index["IndexName"] for index in described["GlobalSecondaryIndexes"]} == {"by-team", "by-rank"}
    answer = client.query(
        TableName="Things",
        IndexName="by-team",
        KeyConditionExpression="team = :team",
        ExpressionAttributeValues={":team": {"N": "7"}},
    )
    assert answer["Count"] == 30
    assert "adding the index by-team to Things (30 items)" in capsys.readouterr().out


def test_a_stream_and_expiry_are_turned_on(tmp_path: Path) -> None:
    plain = replace(changed(StreamSpecification=None), ttl_attribute=None)
    plain = replace(plain, properties={key: value for key, value in plain.properties.items() if value is not None})
    words = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    with closing(Engine(ROOT / "node_modules", None, tmp_path / "log")) as engine:
        create_tables(engine.endpoint, [plain])
        create_tables(engine.endpoint, [TABLE])
        with closing(
            boto3.client("dynamodb", endpoint_url=engine.endpoint, region_name="us-east-1", **words)  # type: ignore[call-overload] # as keywords
        ) as client:
            assert client.describe_table(TableName="Things")["Table"]["StreamSpecification"]["StreamEnabled"] is True
            expiry = client.describe_time_to_live(TableName="Things")["TimeToLiveDescription"]
    assert (expiry["TimeToLiveStatus"], expiry["AttributeName"]) == ("ENABLED", "expires_at")
