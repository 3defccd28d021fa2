"""PATCH /api/customers/{customer_id}: change the fields that a JSON merge patch names."""

from __future__ import annotations

import os

import customers.aws.cold_start
from customers import model
from customers.aws import dynamodb
from customers.http.endpoint import endpoint
from customers.http.entity_tags import etag
from customers.http.request import Request, Response
from customers.store.customers import CustomerStore

store = CustomerStore(dynamodb.client(), os.environ["CUSTOMERS_TABLE"])


@endpoint
def lambda_handler(request: Request) -> Response:
    """Return the whole customer as it is after the change."""
    versions = request.expected_versions()
    changes = request.body(model.changes, merge_patch=True)
    customer = store.update(request.id_in_path("customer_id"), changes, versions, request.author)
    return Response(200, customer, etag(customer["version"]))


customers.aws.cold_start.over()
