"""GET /api/customers/: customers with an address or an external id, or all customers."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import customers.aws.cold_start
from customers.aws import dynamodb
from customers.email_address import MAX_LENGTH, canonical
from customers.errors import NotFoundError
from customers.http.cursor import CursorSealer
from customers.http.endpoint import endpoint
from customers.http.listing import Walk, listing, read_walk
from customers.ids import EXTERNAL_ID, EXTERNAL_ID_RULE, is_number
from customers.store.cursor_keys import CursorKeys
from customers.store.external_ids import ExternalIdStore
from customers.store.pages import Page, PageStore
from customers.trimming import trimmed

if TYPE_CHECKING:
    from customers.http.request import Request, Response

client = dynamodb.client()
store = PageStore(client, os.environ["CUSTOMERS_TABLE"])
keyed = ExternalIdStore(client, os.environ["CUSTOMERS_TABLE"])
cursors = CursorSealer(CursorKeys(client, os.environ["ANSWERS_TABLE"]).read)


@endpoint
def lambda_handler(request: Request) -> Response:
    """Return the page, and the link to the next one if there is one."""
    email, external_id = request.text("email"), request.text("external_id")
    address = None if email is None else _address(request, email)
    if external_id is not None and not re.fullmatch(EXTERNAL_ID, external_id):
        request.refuse("external_id", "invalid_external_id", f"Must have {EXTERNAL_ID_RULE}.")
    if email is not None and external_id is not None:
        request.refuse("external_id", "not_together", "Send either email or external_id, not both.")
    if email is None and external_id is None:
        # A policy cannot see a query, so the gateway lets every token that may read come this far.
        request.require_scope("customers:export")
    # A page ends with an id, or with that of the salt, 0.
    walk = read_walk(request, cursors, {"email": address, "external_id": external_id}, is_number)
    request.check()
    page = _find(address, external_id, walk)
    return listing(request, cursors, walk, {"customers": page.customers}, page.next_position)


def _address(request: Request, email: str) -> str | None:
    try:
        address = str(trimmed(email))
        if len(address) <= MAX_LENGTH:
            return canonical(address)
    except ValueError:
        pass
    request.refuse("email", "invalid_email", "Must be a valid email address, like name@example.com.")
    return None


def _find(address: str | None, external_id: str | None, walk: Walk) -> Page:
    if address is not None:
        return store.with_email(address, limit=walk.limit, after=walk.position)
    if external_id is None:
        return store.everybody(limit=walk.limit, after=walk.position)
    try:
        return Page([keyed.get(external_id)], None)
    except NotFoundError:
        return Page([], None)


customers.aws.cold_start.over()
