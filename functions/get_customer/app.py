"""GET /api/customers/{customer_id}: one customer."""

from __future__ import annotations

import os

import customers.cold_start
from customers import dynamodb
from customers.http import Request, Response, endpoint, etag
from customers.store import CustomerStore

store = CustomerStore(dynamodb.client(), os.environ["CUSTOMERS_TABLE"])


@endpoint
def lambda_handler(request: Request) -> Response:
    """Answer with the customer, or 304 when the caller has its current version."""
    request.check()
    customer = store.get(request.id_in_path("customer_id"))
    if request.has(customer):
        return Response(304, headers=etag(customer["version"]))
    return Response(200, customer, etag(customer["version"]))


customers.cold_start.over()
