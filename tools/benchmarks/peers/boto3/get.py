"""The floor: a bare GetItem with boto3, without checks or logs."""

import json
import os
from typing import Any

import boto3

client = boto3.client("dynamodb")


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer with the item as it is."""
    answer = client.get_item(
        TableName=os.environ["CUSTOMERS_TABLE"],
        Key={"id": {"N": event["pathParameters"]["customer_id"]}},
        ConsistentRead=True,
    )
    return {"statusCode": 200, "body": json.dumps(answer["Item"])}
