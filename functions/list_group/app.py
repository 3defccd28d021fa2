"""GET /api/customers/group/{group_id}/: one page of a group, in any of six orders."""

from __future__ import annotations

import os
import re
from itertools import product
from typing import TYPE_CHECKING, Final

import customers.aws.cold_start
from customers.aws import dynamodb
from customers.errors import NotFoundError
from customers.fields import FIELDS, SORT_FIELDS
from customers.http.cursor import CursorSealer
from customers.http.endpoint import endpoint
from customers.http.listing import listing, read_walk
from customers.store.cursor_keys import CursorKeys
from customers.store.pages import PageStore
from customers.store.sorting import is_position, prefix_text

if TYPE_CHECKING:
    from customers.http.request import Request, Response

client = dynamodb.client()
store = PageStore(client, os.environ["CUSTOMERS_TABLE"])
cursors = CursorSealer(CursorKeys(client, os.environ["ANSWERS_TABLE"]).read)

CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""No value contains one, but what follows a value in an index does."""
TEXTS: Final = tuple(field.name for field in FIELDS if field.sorts and field.kind == "str")


@endpoint
def lambda_handler(request: Request) -> Response:
    """Return the page, and the link to the next one if there is one."""
    sort = request.choice("sort", SORT_FIELDS)
    order = request.choice("order", ("asc", "desc"))
    left_out = [field.name for field in FIELDS if field.on_request and not request.flag(field.name)]
    prefix = _prefix(request, sort)
    group = request.text_in_path("group_id")
    bound = {"group": group, "sort": sort, "order": order, "prefix": prefix}
    walk = read_walk(request, cursors, bound, lambda position: is_position(position, sort, prefix or ""))
    request.check()
    group_id = request.id_in_path("group_id")

    page = store.group(group_id, sort, descending=order == "desc", limit=walk.limit, after=walk.position, prefix=prefix)
    if not page.customers and walk.position is None and prefix is None:
        raise NotFoundError("The group has no customers.")
    for customer, name in product(page.customers, left_out):
        del customer[name]  # type: ignore[misc]  # a field's name is data here
    return listing(request, cursors, walk, {"customers": page.customers}, page.next_position)


def _prefix(request: Request, sort: str) -> str | None:
    prefix = request.text("prefix")
    if prefix is None:
        return None
    if sort not in TEXTS:
        request.refuse("prefix", "not_together", f"Is only possible with sort {', '.join(TEXTS)}.")
    elif not prefix_text(prefix):
        request.refuse("prefix", "too_short", "Must contain a character that counts when sorting.")
    elif CONTROLS.search(prefix):
        request.refuse("prefix", "control_character", "Must not contain control characters.")
    return prefix


customers.aws.cold_start.over()
