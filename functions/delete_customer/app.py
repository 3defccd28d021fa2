"""DELETE /api/customers/{customer_id}: delete one customer."""

from __future__ import annotations

import os

import customers.aws.cold_start
from customers.aws import dynamodb
from customers.http.endpoint import endpoint
from customers.http.request import Request, Response
from customers.store.customers import CustomerStore

store = CustomerStore(dynamodb.client(), os.environ["CUSTOMERS_TABLE"])


@endpoint
def lambda_handler(request: Request) -> Response:
    """Return that the customer is deleted. A second time, there is none to delete."""
    versions = request.expected_versions()
    request.check()
    customer_id = request.id_in_path("customer_id")
    store.delete(customer_id, versions, request.author)
    return Response(200, {"id": customer_id, "deleted": True})


customers.aws.cold_start.over()
