"""Flask, through WSGI."""

import os
from typing import Any

import boto3
from apig_wsgi import make_lambda_handler
from flask import Flask, abort

app = Flask(__name__)
client = boto3.client("dynamodb")


@app.get("/api/customers/<int:customer_id>")
def get_customer(customer_id: int) -> dict[str, Any]:
    """Answer with a customer."""
    answer = client.get_item(
        TableName=os.environ["CUSTOMERS_TABLE"], Key={"id": {"N": str(customer_id)}}, ConsistentRead=True
    )
    if "Item" not in answer:
        abort(404)
    return answer["Item"]


lambda_handler = make_lambda_handler(app)
