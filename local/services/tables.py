"""Makes the tables of the local engine match the template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.errors import LocalError
from local.template.document import REGION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from local.template.stack import Table

_ADVICE: Final = (
    "To start again without the old data: ./customers reset, then make run. "
    "To keep it and start elsewhere: DATA_DIR=… make run"
)
_ADDING: Final = 600
"""Seconds that the engine has to fill a new index."""


def create_tables(endpoint: str, tables: Iterable[Table]) -> None:
    """Create the tables that are missing, change those that differ from the template, and wait until all are usable.

    The changes are those that CloudFormation makes in place: add or remove an index, turn on a stream or expiry.

    Parameters
    ----------
    endpoint
        The engine.
    tables
        What the template declares.

    Raises
    ------
    LocalError
        If an existing table cannot be changed to what the template declares, or if the engine does not answer or
        refuses a table.
    """
    client = _client(endpoint)
    try:
        existing = {name for page in client.get_paginator("list_tables").paginate() for name in page["TableNames"]}
        # Change nothing before it is known that everything can be changed.
        kept = {table.name: _checked(client, table) for table in tables if table.name in existing}
        for table in tables:
            if table.name not in kept:
                client.create_table(TableName=table.name, **table.properties)
                waiter = client.get_waiter("table_exists")
                waiter.wait(TableName=table.name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
            else:
                _change(client, table, kept[table.name])
            _expire(client, table)
    except (BotoCoreError, ClientError) as error:
        raise LocalError(f"the database engine refuses what the template declares: {error}") from error
    finally:
        client.close()


def _client(endpoint: str) -> DynamoDBClient:
    return boto3.client(
        "dynamodb",
        region_name=REGION,
        endpoint_url=endpoint,
        # Placeholders that the engine does not check.
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106
        config=Config(connect_timeout=2, read_timeout=_ADDING, retries={"total_max_attempts": 5, "mode": "standard"}),
    )


def _checked(client: DynamoDBClient, table: Table) -> Mapping[str, Any]:
    """Return the description of an existing table. Raise if it cannot be changed to what the template declares."""
    actual: Mapping[str, Any] = client.describe_table(TableName=table.name)["Table"]
    differences = [*_lasting_differences(table.properties, actual)]
    if _expiring(client, table) not in {None, table.ttl_attribute}:
        differences.append("the attribute by which items expire")
    if differences:
        raise LocalError(
            f"{table.name}: the template changes {' and '.join(differences)} of a table that already holds data, "
            f"which DynamoDB cannot do. {_ADVICE}"
        )
    return actual


def _change(client: DynamoDBClient, table: Table, actual: Mapping[str, Any]) -> None:
    wanted, indexes = _indexes(table.properties, "Global"), _indexes(actual, "Global")
    # One change at a time, as DynamoDB requires.
    for name in indexes.keys() - wanted.keys():
        client.update_table(TableName=table.name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": name}}])
    for name in wanted.keys() - indexes.keys():
        print(f"adding the index {name} to {table.name} ({actual['ItemCount']:,} items)", flush=True)  # noqa: T201 - to the terminal
        client.update_table(
            TableName=table.name,
            AttributeDefinitions=table.properties["AttributeDefinitions"],
            GlobalSecondaryIndexUpdates=[{"Create": wanted[name]}],  # type: ignore[typeddict-item] # as it is
        )
    stream = table.properties.get("StreamSpecification")
    if stream and not actual.get("StreamSpecification"):
        client.update_table(TableName=table.name, StreamSpecification=stream)


def _lasting_differences(wanted: Mapping[str, Any], actual: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences that cannot be changed while a table exists."""
    if _key(wanted) != _key(actual):
        yield "the key"
    indexes = _indexes(actual, "Global")
    for name, index in _indexes(wanted, "Global").items():
        if name in indexes and _key(index) != _key(indexes[name]):
            yield f"the key of the index {name}"
        if name in indexes and _projection(index) != _projection(indexes[name]):
            yield f"the projection of the index {name}"
    if _shapes(_indexes(wanted, "Local")) != _shapes(_indexes(actual, "Local")):
        yield "a local secondary index"
    types = _types(actual)
    if changed := [name for name, kind in _types(wanted).items() if types.get(name, kind) != kind]:
        yield f"the type of the key attribute {changed[0]}"
    stream, wanted_stream = actual.get("StreamSpecification"), wanted.get("StreamSpecification")
    if stream and wanted_stream and stream["StreamViewType"] != wanted_stream["StreamViewType"]:
        yield "what the stream shows"


def _expiring(client: DynamoDBClient, table: Table) -> str | None:
    """Return the attribute by which items expire. None if there is none, or if the template has none."""
    if table.ttl_attribute is None:
        return None
    return client.describe_time_to_live(TableName=table.name)["TimeToLiveDescription"].get("AttributeName")


def _expire(client: DynamoDBClient, table: Table) -> None:
    if table.ttl_attribute is not None and _expiring(client, table) is None:
        client.update_time_to_live(
            TableName=table.name,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": table.ttl_attribute},
        )


def _indexes(properties: Mapping[str, Any], kind: str) -> dict[str, Mapping[str, Any]]:
    return {index["IndexName"]: index for index in properties.get(f"{kind}SecondaryIndexes") or ()}


def _shapes(indexes: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    return {name: (_key(index), _projection(index)) for name, index in indexes.items()}


def _key(schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(element["AttributeName"], element["KeyType"]) for element in schema["KeySchema"]]


def _projection(index: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    projection = index["Projection"]
    return projection["ProjectionType"], frozenset(projection.get("NonKeyAttributes") or ())


def _types(properties: Mapping[str, Any]) -> dict[str, str]:
    return {element["AttributeName"]: element["AttributeType"] for element in properties["AttributeDefinitions"]}
