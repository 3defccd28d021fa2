"""A history: what clients sent, which answers they got, and when.

Every name that a client writes is new, so a customer's content tells which writes made it. The local part of an email
address is `origin.writer`: the origin names the row of the POST that created the customer, and no change replaces it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

type Json = dict[str, Any]

_SERVER_ERROR: Final = 500


@dataclass(frozen=True, eq=False, slots=True)
class Operation:
    """One request, and what its client knows about it. Times are readings of one monotonic clock, in seconds."""

    kind: str
    """create, get, update, delete or list."""
    start: float
    """When it was sent."""
    end: float
    """When the client got the answer, or gave up."""
    status: int | None
    """None if no answer came."""
    answer: Json
    """The answer's body."""
    customer_id: int = 0
    rows: tuple[Json, ...] = ()
    """The customers that a create sent."""
    changes: Json | None = None
    """The fields that an update sent."""
    key: str = ""
    """The Idempotency-Key."""
    if_match: int | None = None
    """The version in `If-Match`. None for `*`, and for no header: both match any version."""
    version: int | None = None
    """The version in the answer's `ETag`."""

    @property
    def unknown(self) -> bool:
        """Whether the client cannot tell if the operation was applied."""
        return self.status is None or self.status >= _SERVER_ERROR

    @property
    def shown(self) -> list[Json]:
        """The customers in a successful answer, in its order."""
        if self.status not in {200, 201}:
            return []
        if "customers" in self.answer:
            return list(self.answer["customers"])
        return [self.answer] if "version" in self.answer else []

    def describe(self, customer_id: int = 0) -> str:
        """Return one line about it, with what it showed about one customer."""
        sent = {
            "customer": self.customer_id,
            "changes": self.changes,
            "if_match": self.if_match,
            "rows": len(self.rows),
            "key": self.key,
        }
        told = [f'"{self.version}"'] if self.version is not None else []
        told += [json.dumps(one) for one in self.shown if one["id"] == customer_id]
        words = [f"{name}={value}" for name, value in sent.items() if value]
        return f"{self.start:.4f}-{self.end:.4f} {self.kind} {' '.join(words)} -> {self.status} {' '.join(told)}"


class History(NamedTuple):
    """What a run recorded."""

    operations: list[Operation]
    table: list[Json]
    """Every customer in the table at the end, when nothing was running any more."""
    indexes: dict[tuple[int, str], list[Json]]
    """By group and sort order, the customers that a walk through all pages showed at the end."""


def origin_of(customer: Json) -> str:
    """Return the name of the row that a customer was created from."""
    return str(customer["email"]).partition(".")[0]
