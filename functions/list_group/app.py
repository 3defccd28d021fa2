"""GET /api/customers/group/{group_id}/: one page of a group, in any of six orders."""

from __future__ import annotations

import os
from urllib.parse import urlencode

import customers.cold_start
from customers import dynamodb
from customers.cursor import CursorSealer
from customers.customer import SORT_FIELDS
from customers.errors import NotFoundError
from customers.http import Request, Response, endpoint
from customers.store import CustomerStore

store = CustomerStore(dynamodb.client(), os.environ["CUSTOMERS_TABLE"])
cursors = CursorSealer(os.environ["CURSOR_KEY"])


@endpoint
def lambda_handler(request: Request) -> Response:
    """Answer with the page, and with the link to the next one while there is more."""
    sort = request.choice("sort", SORT_FIELDS)
    order = request.choice("order", ("asc", "desc"))
    shows_age = request.flag("age")
    limit = request.integer("limit", 1, 1000, default=100)
    cursor = request.text("cursor")
    walk = f"{request.text_in_path('group_id')} {sort} {order}"
    position = None if cursor is None else cursors.open(cursor, walk)
    if cursor is not None and position is None:
        detail = "Must be the next_cursor of a page of the same group, sort and order."
        request.refuse("cursor", "invalid_cursor", detail)
    request.check()
    group_id = request.id_in_path("group_id")

    page = store.page(group_id, sort, descending=order == "desc", limit=limit, after=position)
    if not page.customers and cursor is None:
        raise NotFoundError("The group has no customer.")
    if not shows_age:
        for customer in page.customers:
            del customer["age"]
    if page.next_position is None:
        return Response(200, {"customers": page.customers, "next_cursor": None})
    next_cursor = cursors.seal(page.next_position, walk)
    query = urlencode({**{name: values[-1] for name, values in request.query.items()}, "cursor": next_cursor})
    link = f'<{request.path}?{query}>; rel="next"'
    return Response(200, {"customers": page.customers, "next_cursor": next_cursor}, {"Link": link})


customers.cold_start.over()
