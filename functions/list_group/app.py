"""GET /api/customers/group/{group_id}/: one page of a group, in any of six orders."""

from __future__ import annotations

import os
from itertools import product

import customers.aws.cold_start
from customers.aws import dynamodb
from customers.errors import NotFoundError
from customers.fields import FIELDS, SORT_FIELDS
from customers.http.cursor import CursorSealer
from customers.http.endpoint import endpoint
from customers.http.request import Request, Response
from customers.store.customers import CustomerStore

store = CustomerStore(dynamodb.client(), os.environ["CUSTOMERS_TABLE"])
cursors = CursorSealer(os.environ["CURSOR_KEY"])


@endpoint
def lambda_handler(request: Request) -> Response:
    """Return the page, and the link to the next one if there is one."""
    sort = request.choice("sort", SORT_FIELDS)
    order = request.choice("order", ("asc", "desc"))
    left_out = [field.name for field in FIELDS if field.on_request and not request.flag(field.name)]
    limit = request.integer("limit", 1, 1000, default=100)
    # Empty is how forms and some clients send a parameter without a value.
    cursor = request.text("cursor") or None
    walk = f"{request.text_in_path('group_id')} {sort} {order}"
    position = None if cursor is None else cursors.open(cursor, walk)
    if cursor is not None and position is None:
        detail = "Must be the next_cursor of a page of the same group, sort and order."
        request.refuse("cursor", "invalid_cursor", detail)
    request.check()
    group_id = request.id_in_path("group_id")

    page = store.page(group_id, sort, descending=order == "desc", limit=limit, after=position)
    if not page.customers and cursor is None:
        raise NotFoundError("The group has no customers.")
    for customer, name in product(page.customers, left_out):
        del customer[name]  # type: ignore[misc]  # a field's name is data here
    if page.next_position is None:
        return Response(200, {"customers": page.customers, "next_cursor": None})
    next_cursor = cursors.seal(page.next_position, walk)
    body = {"customers": page.customers, "next_cursor": next_cursor}
    return Response(200, body, request.next_page(next_cursor))


customers.aws.cold_start.over()
