"""The floor of a write: a bare PutItem of the same attributes with boto3, without checks or logs."""

import base64
import json
import os
import secrets
import time
from typing import Any

import boto3

client = boto3.client("dynamodb")


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Store the body under a random id."""
    body = json.loads(base64.b64decode(event["body"]) if event["isBase64Encoded"] else event["body"])
    customer_id, now = str(secrets.randbelow(2**53)), str(time.time())
    fields = {name: {"N": str(value)} if isinstance(value, int) else {"S": value} for name, value in body.items()}
    item = {"customer": {"M": fields}, "group_id": fields["group_id"]}
    item |= {name: {"S": f"{body.get(name, now)} {customer_id}"} for name in ("created_at", "updated_at")}
    item |= {f"{name}_sort": {"S": f"{body.get(name, now)} {customer_id}"} for name in SORTED}
    client.put_item(TableName=os.environ["CUSTOMERS_TABLE"], Item={"id": {"N": customer_id}, **item})
    return {"statusCode": 201, "body": json.dumps({"id": customer_id, **body})}


SORTED = ("first_name", "last_name", "email", "age", "created_at")
