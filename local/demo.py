"""Made-up customers, so that there is something to see at first: `make run ARGS=--demo`."""

from __future__ import annotations

import json
from itertools import batched, product
from typing import TYPE_CHECKING, Any, Final
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GROUPS: Final = 5
_FIRST_NAMES: Final = """
    Amina Björn Chloé Diego Elif Farah Goran Hana Ines Jakub Kofi Lena Mateo Naomi Oskar Priya Quinn Rosa Søren Thanh
"""
_LAST_NAMES: Final = """
    Abebe Álvarez Becker Costa Dubois Eriksen Fofana García Haddad Ito Jansen Kowalski Larsen Mbeki Novák Okafor Petrov
    Quispe Rossi Sato Tanaka Ünal Varga Weber Zhang
"""
_ROWS: Final = 100
"""In a request: as many as the API allows."""


def create_demo(url: str, token: Path) -> int:
    """Create 500 customers in five groups, unless they exist.

    Parameters
    ----------
    url
        The address of the API.
    token
        The file with a token that may write.

    Returns
    -------
    int
        How many were created.
    """
    return sum(_created(url, token, list(rows)) for rows in batched(_customers(), _ROWS, strict=True))


def _customers() -> Iterator[dict[str, Any]]:
    for number, (last, first) in enumerate(product(_LAST_NAMES.split(), _FIRST_NAMES.split())):
        yield {
            # A second start recognizes them by this.
            "external_id": f"demo-{number + 1}",
            "first_name": first,
            "last_name": last,
            "email": f"{first}.{last}@example.com",
            "group_id": number % GROUPS + 1,
            # Unknown for every seventh customer.
            "age": None if number % 7 == 0 else 18 + number * 37 % 70,
            "metadata": {"plan": ("free", "team", "business")[number % 3]},
        }


def _created(url: str, token: Path, rows: list[dict[str, Any]]) -> int:
    request = Request(  # noqa: S310 - the laptop's own
        f"{url}/api/customers?size=list&on_error=keep",
        json.dumps({"customers": rows}).encode(),
        {"Authorization": f"Bearer {token.read_text(encoding='ascii').strip()}", "Content-Type": "application/json"},
    )
    with urlopen(request) as answer:  # noqa: S310 - as above
        body = json.load(answer)
    if "customers" in body:
        return len(body["customers"])
    return sum(result["status"] == 201 for result in body["results"])  # noqa: PLR2004 - created
