"""GET /api/customers/external/{external_id}: one customer, by your own system's key."""

from __future__ import annotations

import os

import customers.aws.cold_start
from customers.aws import dynamodb
from customers.http.endpoint import endpoint
from customers.http.entity_tags import etag
from customers.http.request import Request, Response
from customers.store.external_ids import ExternalIdStore

store = ExternalIdStore(dynamodb.client(), os.environ["CUSTOMERS_TABLE"])


@endpoint
def lambda_handler(request: Request) -> Response:
    """Return the customer, or 304 if the caller has its current version."""
    known = request.known_versions()
    request.check()
    customer = store.get(request.external_id_in_path())
    if customer["version"] in known:
        return Response(304, headers=etag(customer["version"]))
    return Response(200, customer, etag(customer["version"]))


customers.aws.cold_start.over()
