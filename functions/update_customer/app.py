"""PATCH /api/customers/{customer_id}: change the fields that a JSON merge patch names."""

from __future__ import annotations

import os

import customers.cold_start
from customers import dynamodb, model
from customers.http import Request, Response, endpoint, etag
from customers.store import CustomerStore

store = CustomerStore(dynamodb.client(), os.environ["CUSTOMERS_TABLE"])


@endpoint
def lambda_handler(request: Request) -> Response:
    """Answer with the whole customer as it is after the change."""
    versions = request.expected_versions()
    changes = request.body(model.changes, merge_patch=True)
    customer = store.update(request.id_in_path("customer_id"), changes, versions)
    return Response(200, customer, etag(customer["version"]))


customers.cold_start.over()
