"""POST /api/customers/: create one customer, or up to a hundred."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import customers.aws.cold_start
from customers import model
from customers.aws import dynamodb
from customers.errors import ExternalIdTakenError, InvalidError
from customers.http.addresses import location
from customers.http.endpoint import endpoint
from customers.http.entity_tags import etag
from customers.http.request import Request, Response
from customers.store.customers import CustomerStore
from customers.store.places import Taken

if TYPE_CHECKING:
    from customers.customer import Customer, NewCustomer
    from customers.http.idempotency import AnswerKeeper
    from customers.store.identity import RequestName

client = dynamodb.client()
store = CustomerStore(client, os.environ["CUSTOMERS_TABLE"])


@endpoint
def lambda_handler(request: Request) -> Response:
    """Return what was created. With an Idempotency-Key, repetitions return the same."""
    many = request.choice("size", ("one", "list")) == "list"
    keeps_good_rows = request.choice("on_error", ("abort", "keep")) == "keep"
    dry_run = request.flag("dry_run")
    key = request.idempotency_key()
    if dry_run:
        new = request.body(model.new_customers if many else _alone)
        return Response(200, {"valid": True, "count": len(new)})

    def create(name: RequestName | None) -> Response:
        if not many:
            return _create_one(request, name)
        return _create_good(request, name) if keeps_good_rows else _create_all(request, name)

    return create(None) if key is None else _answers().once(request, key, create)


def _alone(body: object) -> list[NewCustomer]:
    return [model.new_customer(body)]


def _create_one(request: Request, name: RequestName | None) -> Response:
    (customer,) = store.create(request.body(_alone), request.author, name)
    return Response(201, customer, {**location(request, customer["id"]), **etag(customer["version"])})


def _create_all(request: Request, name: RequestName | None) -> Response:
    try:
        return Response(201, {"customers": store.create(request.body(model.new_customers), request.author, name)})
    except ExternalIdTakenError as taken:
        raise ExternalIdTakenError(taken.holders, listed=True) from None


def _create_good(request: Request, name: RequestName | None) -> Response:
    outcomes = request.body(model.row_outcomes)
    good = [outcome for outcome in outcomes if not isinstance(outcome, InvalidError)]
    written = iter(store.create_free(good, request.author, name) if good else [])
    results = [
        {"index": index, "status": 400, "errors": outcome.errors}
        if isinstance(outcome, InvalidError)
        else _result(index, next(written))
        for index, outcome in enumerate(outcomes)
    ]
    if all(result["status"] == 201 for result in results):  # noqa: PLR2004
        return Response(201, {"customers": [result["customer"] for result in results]})
    return Response(207, {"results": results})


def _result(index: int, outcome: Customer | Taken) -> dict[str, Any]:
    if isinstance(outcome, Taken):
        taken = ExternalIdTakenError({index: outcome.customer_id}, listed=True)
        return {"index": index, "status": 409, "errors": taken.errors}
    return {"index": index, "status": 201, "customer": outcome}


@functools.cache
def _answers() -> AnswerKeeper:
    # Imported late, because it loads boto3 and jmespath, which a request without a key does not need.
    from customers.http.idempotency import AnswerKeeper  # noqa: PLC0415

    return AnswerKeeper(client, os.environ["ANSWERS_TABLE"])


customers.aws.cold_start.over()
