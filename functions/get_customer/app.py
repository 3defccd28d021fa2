"""GET /api/customers/{customer_id}: one customer."""

from __future__ import annotations

import os

import customers.aws.cold_start
from customers.aws import dynamodb
from customers.http.endpoint import endpoint
from customers.http.entity_tags import etag
from customers.http.request import Request, Response
from customers.store.customers import CustomerStore

store = CustomerStore(dynamodb.client(), os.environ["CUSTOMERS_TABLE"])


@endpoint
def lambda_handler(request: Request) -> Response:
    """Return the customer, or 304 if the caller has its current version."""
    known = request.known_versions()
    request.check()
    customer = store.get(request.id_in_path("customer_id"))
    if customer["version"] in known:
        return Response(304, headers=etag(customer["version"]))
    return Response(200, customer, etag(customer["version"]))


customers.aws.cold_start.over()
