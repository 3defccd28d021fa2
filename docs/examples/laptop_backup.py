"""Copies the table of customers of `make run`, as it is now, to a table named `backup`: a backup to practise with.

.venv/bin/python docs/examples/laptop_backup.py
"""

import json
import os
from pathlib import Path

import boto3


def main() -> None:
    """Copy it, and say how many items it has."""
    running = json.loads((Path(os.environ.get("DATA_DIR", ".local")) / "endpoints.json").read_text(encoding="utf-8"))
    dynamodb = boto3.client(
        "dynamodb",
        endpoint_url=running["dynamodb"],
        region_name="us-east-1",
        aws_access_key_id="laptop",
        aws_secret_access_key="laptop",
    )
    dynamodb.create_table(
        TableName="backup",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
    )
    items = 0
    table = running["outputs"]["CustomersTableName"]
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            dynamodb.put_item(TableName="backup", Item=item)
            items += 1
    print(f"{items} items copied to the table backup")


if __name__ == "__main__":
    main()
