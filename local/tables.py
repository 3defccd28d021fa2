"""Creates a template's tables in the local engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.errors import LocalError
from local.template import REGION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mypy_boto3_dynamodb.type_defs import TableDescriptionTypeDef

    from local.stack import Table


def create_tables(endpoint: str, tables: Iterable[Table]) -> None:
    """Create the tables that are not there yet, and wait until they are usable.

    Raises
    ------
    LocalError
        If a table is there with another key or without an index that the template has: a changed template does not
        change local data. Or if the engine does not answer, or refuses a table.
    """
    client = boto3.client(
        "dynamodb",
        region_name=REGION,
        endpoint_url=endpoint,
        # Words that the engine does not check.
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106
        config=Config(connect_timeout=2, read_timeout=30, retries={"total_max_attempts": 5, "mode": "standard"}),
    )
    try:
        existing = {name for page in client.get_paginator("list_tables").paginate() for name in page["TableNames"]}
        for table in tables:
            if table.name in existing:
                actual = client.describe_table(TableName=table.name)["Table"]
                _check(table, actual)
                stream = table.properties.get("StreamSpecification")
                if stream and not actual.get("StreamSpecification"):
                    client.update_table(TableName=table.name, StreamSpecification=stream)
                continue
            client.create_table(TableName=table.name, **table.properties)
            client.get_waiter("table_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
            if table.ttl_attribute is not None:
                client.update_time_to_live(
                    TableName=table.name,
                    TimeToLiveSpecification={"Enabled": True, "AttributeName": table.ttl_attribute},
                )
    except (BotoCoreError, ClientError) as error:
        raise LocalError(f"the database engine refuses what the template declares: {error}") from error
    finally:
        client.close()


def _check(table: Table, actual: TableDescriptionTypeDef) -> None:
    advice = "Keep the old data elsewhere or delete the data folder, and start again."
    if _key(table.properties) != _key(actual):
        raise LocalError(f"table {table.name}: the template has another key than the local table. {advice}")
    wanted = {index["IndexName"]: _key(index) for index in table.properties.get("GlobalSecondaryIndexes", [])}
    present = {index["IndexName"]: _key(index) for index in actual.get("GlobalSecondaryIndexes", [])}
    if missing := [name for name, key in wanted.items() if present.get(name) != key]:
        raise LocalError(
            f"table {table.name}: the local table lacks an index of the template: {', '.join(missing)}. {advice}"
        )


def _key(schema: Mapping[str, object]) -> list[tuple[str, str]]:
    elements = schema["KeySchema"]
    if not isinstance(elements, list):
        raise LocalError("a key schema is not a list")
    return [(element["AttributeName"], element["KeyType"]) for element in elements]
