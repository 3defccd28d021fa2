"""Addresses that responses lead to: of the next page, and of a customer that was created.

They say nothing that a proxy claims about the client's request (`X-Forwarded-Host` and the like), because anybody can
claim that.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from customers.http.request import IN_A_PATH

if TYPE_CHECKING:
    from customers.http.request import Request

_PUBLIC_URL: Final = os.environ.get("PUBLIC_URL", "").rstrip("/")
"""Where clients reach the API, without the stage; empty for the gateway's own address."""


def location(request: Request, customer_id: int, *, below: int = 0) -> dict[str, str]:
    """Return the header with the address of a customer that was created (RFC 9110, section 10.2.2).

    Parameters
    ----------
    request, customer_id
        The request that created it, and its id.
    below
        How many segments the request's path has below that of all customers.
    """
    path = request.path_without_stage if _PUBLIC_URL else request.path
    return {"Location": f"{_PUBLIC_URL}{path.rstrip('/').rsplit('/', below)[0]}/{customer_id}"}


def next_page(request: Request, cursor: str) -> dict[str, str]:
    """Return the header that leads to the next page (RFC 8288), with an absolute URL."""
    query = urlencode({**{name: values[-1] for name, values in request.query.items()}, "cursor": cursor})
    return {"Link": f'<{_address(request)}?{query}>; rel="next"'}


def _address(request: Request) -> str:
    if _PUBLIC_URL:
        return _PUBLIC_URL + quote(request.path_without_stage, safe=IN_A_PATH)
    if request.domain is None:
        # API Gateway always names it, emulators of it do not. A relative link is right there too (RFC 8288).
        return request.instance
    # Only a gateway on a laptop listens on a port of its own, and it has no certificate.
    scheme = "http" if ":" in request.domain else "https"
    return f"{scheme}://{request.domain}{request.instance}"
