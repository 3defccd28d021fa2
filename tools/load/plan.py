"""What a load test will do, and what it refuses to do."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

MOST_CALLS_A_SECOND: Final = 500
MOST_SECONDS: Final = 3_600
MOST_CONNECTIONS: Final = 100
MOST_CALLS: Final = 300_000
"""In one run. On AWS, they cost a few dollars."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_TOKEN: Final = re.compile(r"cust_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}")


class RefusedError(Exception):
    """The plan is absurd, or a mistake. The text tells the person who typed it why."""


class Plan(NamedTuple):
    """A load test."""

    url: str
    """The API's address, without a slash at its end."""
    token: str
    rate: float
    """Calls a second, over all connections."""
    seconds: int
    connections: int

    @property
    def calls(self) -> int:
        """Return the most calls that are sent, apart from cleaning up at the end."""
        return int(self.rate * self.seconds)

    @property
    def calls_to_clean_up(self) -> int:
        """Return the most calls needed to delete what the connections leave at the end: two customers each.

        It takes one call to find a customer whose creation was not answered, and one to delete it.
        """
        return 4 * self.connections

    @property
    def rate_of_a_connection(self) -> float:
        """Return the calls a second that each connection sends."""
        return self.rate / self.connections

    def announcement(self) -> str:
        """Return what people should know before it starts."""
        return (
            f"{self.url}\n"
            f"{self.calls:,} calls at most: {self.rate:g} a second for {self.seconds} s, "
            f"over {self.connections} connections,\n"
            f"and then at most {self.calls_to_clean_up} calls to delete the customers that are left.\n"
            "Two calls in thirteen create a customer, one changes one, and two delete one. "
            "Each change is an event to your consumers."
        )


def plan(url: str, token: str, rate: float, seconds: int, connections: int) -> Plan:
    """Check what was typed.

    Parameters
    ----------
    url
        Where the API is, with the stage if it has one.
    token
        With the scopes to read, write and delete.
    rate
        Calls a second.
    seconds
        How long.
    connections
        The most connections at once. Fewer are used if the rate is low, so that none idles.

    Raises
    ------
    RefusedError
        The plan is refused.
    """
    _check_address(url)
    if not _TOKEN.fullmatch(token):
        raise RefusedError("TOKEN is not a token of this API: these begin with cust_. See ./customers token create.")
    for name, value, most in (
        ("RATE", rate, MOST_CALLS_A_SECOND),
        ("SECONDS", seconds, MOST_SECONDS),
        ("CONNECTIONS", connections, MOST_CONNECTIONS),
    ):
        if not 1 <= value <= most:
            raise RefusedError(f"{name}={value:g}: it must be from 1 to {most:,}.")
    checked = Plan(url.rstrip("/"), token, rate, seconds, min(connections, int(rate)))
    if checked.calls > MOST_CALLS:
        raise RefusedError(f"RATE × SECONDS is {checked.calls:,} calls. One run can send at most {MOST_CALLS:,}.")
    return checked


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if host is None or parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        raise RefusedError(f"URL={url} is not an address like https://example.com/prod.")
    if parts.username is not None:
        raise RefusedError("URL must not contain a password.")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise RefusedError(f"URL={url} is not encrypted: anyone on the way could read the token. Use https.")
    if "/api/customers" in parts.path:
        raise RefusedError(f"URL={url} is a path of the API. Leave out /api/customers and what follows.")
