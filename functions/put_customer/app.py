"""PUT /api/customers/external/{external_id}: create a customer by your own system's key, or replace its fields."""

from __future__ import annotations

import os

import customers.aws.cold_start
from customers import model
from customers.aws import dynamodb
from customers.http.addresses import location
from customers.http.endpoint import endpoint
from customers.http.entity_tags import etag
from customers.http.request import Request, Response
from customers.store.external_ids import ExternalIdStore

store = ExternalIdStore(dynamodb.client(), os.environ["CUSTOMERS_TABLE"])


@endpoint
def lambda_handler(request: Request) -> Response:
    """Return the customer, and whether it was created. If it is stored like this already, nothing is written."""
    versions = request.expected_versions()
    exists = request.expected_existence()
    new = request.body(lambda body: model.replacement(body, request.text_in_path("external_id")))
    external_id = request.external_id_in_path()
    customer, created = store.put(external_id, new, versions=versions, exists=exists, author=request.author)
    if not created:
        return Response(200, customer, etag(customer["version"]))
    # Its other address, by its id.
    return Response(201, customer, {**location(request, customer["id"], below=2), **etag(customer["version"])})


customers.aws.cold_start.over()
