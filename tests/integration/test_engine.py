"""The local engine stays as fast as it is, however much was written to it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import boto3

from local.services.engine import Engine
from local.services.tables import create_tables
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from local.template.stack import Stack


def test_a_write_costs_the_same_after_many_changes(tmp_path: Path, stack: Stack) -> None:
    database = tmp_path / "tables"
    with closing(Engine(ROOT / "node_modules", database, tmp_path / "log")) as engine:
        create_tables(engine.endpoint, stack.tables)
        client = boto3.client(
            "dynamodb",
            endpoint_url=engine.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

        def fastest_write() -> float:
            spans = []
            for number in range(20):
                start = time.perf_counter()
                client.put_item(TableName="CustomersTable", Item={"id": {"N": str(number)}})
                spans.append(time.perf_counter() - start)
            return min(spans)

        before = fastest_write()
        with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
            # As if 300,000 customers had been written.
            connection.execute(
                "WITH RECURSIVE numbers(n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM numbers WHERE n < 301000)"
                " INSERT INTO _stream_records"
                " (table_name, event_name, keys_json, sequence_number, shard_id, created_at)"
                " SELECT 'CustomersTable', 'INSERT', '{}', CAST(n AS TEXT), 'shard', 0 FROM numbers"
            )
        after = fastest_write()
        client.close()
    assert after < before * 8
