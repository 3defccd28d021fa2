"""The usual page: `Table.query` of boto3, and `json.dumps`."""

import json
import os
from typing import Any

import boto3
from boto3.dynamodb.conditions import Key

table = boto3.resource("dynamodb").Table(os.environ["CUSTOMERS_TABLE"])


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer with the page as it is."""
    page = table.query(
        IndexName="group-index",
        KeyConditionExpression=Key("group_id").eq(int(event["pathParameters"]["group_id"])),
        Limit=int(event["queryStringParameters"]["limit"]),
    )
    return {"statusCode": 200, "body": json.dumps(page["Items"], default=int)}
