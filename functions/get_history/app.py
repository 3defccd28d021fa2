"""GET /api/customers/{customer_id}/history: who changed a customer, when, and what."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import customers.aws.cold_start
from customers.aws import dynamodb
from customers.http.cursor import CursorSealer
from customers.http.endpoint import endpoint
from customers.http.listing import listing, read_walk
from customers.ids import is_number
from customers.store.cursor_keys import CursorKeys
from customers.store.customers import CustomerStore
from customers.store.history import HistoryStore

if TYPE_CHECKING:
    from customers.http.request import Request, Response

client = dynamodb.client()
store = CustomerStore(client, os.environ["CUSTOMERS_TABLE"])
history = HistoryStore(client, os.environ["HISTORY_TABLE"])
cursors = CursorSealer(CursorKeys(client, os.environ["ANSWERS_TABLE"]).read)


@endpoint
def lambda_handler(request: Request) -> Response:
    """Return a page of the history, the newest change first."""
    bound = {"history": request.text_in_path("customer_id")}
    # A page ends with a version.
    walk = read_walk(request, cursors, bound, is_number)
    request.check()
    customer_id = request.id_in_path("customer_id")
    page = history.newest_first(customer_id, limit=walk.limit, after=walk.position)
    if not page.entries and walk.position is None:
        # A customer's history is empty if no change is kept any more, or not yet. Without a customer, it is a 404.
        store.get(customer_id)
    return listing(request, cursors, walk, {"history": page.entries}, page.next_position)


customers.aws.cold_start.over()
