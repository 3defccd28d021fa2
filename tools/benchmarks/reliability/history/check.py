"""Find every answer in a history that the contract does not allow.

A pure function, and a sound one: it reports only what no order of the operations explains. An operation that was
answered with a 5xx, or not at all, may have been applied once, at any time after it was sent, or never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tools.benchmarks.reliability.history.explanation import Anomaly, explain
from tools.benchmarks.reliability.history.linearizability import UndecidedError, is_explained
from tools.benchmarks.reliability.history.model import (
    NEVER_CREATED,
    actions_by_customer,
    creations,
    customers_by_origin,
)
from tools.benchmarks.reliability.history.operations import origin_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.benchmarks.reliability.history.operations import History, Json

_STATUSES: Final = {
    "create": {201, 409, 429},
    "get": {200, 404, 429},
    "list": {200, 404, 429},
    "update": {200, 404, 412, 429},
    "delete": {200, 404, 412, 429},
}
"""By kind of operation, apart from 5xx. 409 is the answer while the first request with an Idempotency-Key runs."""


def check(history: History) -> list[Anomaly]:
    """Return every anomaly of a history."""
    return [
        *_answers(history),
        *_creations(history),
        *_customers(history),
        *_indexes(history),
    ]


def _answers(history: History) -> Iterator[Anomaly]:
    for operation in history.operations:
        allowed = operation.unknown or operation.status in _STATUSES[operation.kind]
        if operation.status == 412:
            allowed = operation.if_match is not None
        if operation.status == 409:
            allowed = operation.key != ""
        if operation.status == 201:
            allowed = len(operation.shown) == len(operation.rows)
        shown = [customer["id"] for customer in operation.shown]
        if not allowed or len(set(shown)) < len(shown):
            yield Anomaly("answer not allowed", f"{operation.kind} {operation.status}", (operation,))


def _creations(history: History) -> Iterator[Anomaly]:
    rows = creations(history)
    customers = customers_by_origin(history)
    for origin, ids in customers.items():
        sent = tuple(operation for operation, _ in rows[origin].requests) if origin in rows else ()
        if not sent:
            yield Anomaly("customer that nobody created", f"{sorted(ids)} from {origin}")
        elif len(ids) > 1:
            yield Anomaly("created more than once", f"customers {sorted(ids)} from one row", sent)
    for operation in history.operations:
        there = [origin in customers for origin in map(origin_of, operation.rows)]
        # A customer that nobody has seen cannot have been deleted, so it would be in the table at the end.
        if any(there) and not all(there):
            yield Anomaly("list created in part", f"{sum(there)} of {len(there)} rows", (operation,))


def _customers(history: History) -> Iterator[Anomaly]:
    for customer_id, actions in actions_by_customer(history).items():
        try:
            if not is_explained(actions, NEVER_CREATED):
                yield explain(customer_id, actions)
        except UndecidedError:
            yield Anomaly("undecided", f"customer {customer_id}: too many operations of unknown outcome")


def _indexes(history: History) -> Iterator[Anomaly]:
    for (group_id, sort), found in history.indexes.items():
        group = [customer for customer in history.table if customer["group_id"] == group_id]
        if found != sorted(group, key=lambda customer: _place(customer, sort)):
            yield Anomaly("index differs from the table", f"group {group_id} by {sort}")


def _place(customer: Json, sort: str) -> tuple[bool, object, int]:
    """Return what a group is sorted by: customers without a value come last, equal ones by id."""
    value = customer[sort]
    return value is None, value or 0, customer["id"]
