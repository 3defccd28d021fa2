"""Pages as responses: the walk through them that a cursor continues, and the link to the next page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from customers.http.addresses import next_page
from customers.http.request import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from customers.http.cursor import CursorSealer
    from customers.http.request import Request


class Walk(NamedTuple):
    """A walk through pages, as a request asks for it."""

    bound_to: str
    """What every request of the walk has in common."""
    limit: int
    """The most that the page may have."""
    position: str | None
    """Where the page starts; None for the first page."""


def read_walk(
    request: Request, cursors: CursorSealer, bound_to: Mapping[str, str | None], is_position: Callable[[str], bool]
) -> Walk:
    """Read the parameters `limit` and `cursor`.

    Parameters
    ----------
    request, cursors
        The request, and what opens its cursor.
    bound_to
        What every request of the walk has in common.
    is_position
        Whether a page can start at a text. Whoever has the key of cursors can seal anything.
    """
    bound = json.dumps(bound_to)
    limit = request.integer("limit", 1, 1000, default=100)
    # Empty is how forms and some clients send a parameter without a value.
    cursor = request.text("cursor") or None
    position = None if cursor is None else cursors.open(cursor, bound)
    if cursor is not None and (position is None or not is_position(position)):
        detail = "Must be the next_cursor of a page with otherwise the same parameters."
        request.refuse("cursor", "invalid_cursor", detail)
    return Walk(bound, limit, position)


def listing(
    request: Request, cursors: CursorSealer, walk: Walk, found: Mapping[str, object], next_position: str | None
) -> Response:
    """Return a page, and the link to the next one if there is one (RFC 8288).

    Parameters
    ----------
    request, cursors, walk
        As for `read_walk`, and what it returned.
    found
        What is on the page, by its name in the response.
    next_position
        Where the next page starts; None on the last page.
    """
    if next_position is None:
        return Response(200, {**found, "next_cursor": None})
    next_cursor = cursors.seal(next_position, walk.bound_to)
    return Response(200, {**found, "next_cursor": next_cursor}, next_page(request, next_cursor))
