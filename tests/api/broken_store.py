"""A store of customers that goes wrong when a test tells it to: the history check must notice.

The test puts this file into a copy of the layer, where it replaces the store.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

from customers.errors import NotFoundError, VersionMismatchError
from customers.store.customers import CustomerStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from customers.customer import Changes, Customer, NewCustomer
    from customers.store.author import Author
    from customers.store.identity import RequestName

SWITCH = Path("/path/of/the/switch")
"""A file with the name of the fault. The test puts its own path here."""

FIRST_READ: dict[int, Customer] = {}
"""Each customer as this process first read it."""


def goes_wrong(fault: str) -> bool:
    """Whether it is time for a fault: now and then, while the switch names that fault."""
    return SWITCH.read_text() == fault and random.randrange(3) == 0


class BrokenStore(CustomerStore):
    def get(self, customer_id: int) -> Customer:
        current = super().get(customer_id)
        first = FIRST_READ.setdefault(customer_id, current)
        return first if goes_wrong("stale read") else current

    def create(self, new: Sequence[NewCustomer], author: Author, request: RequestName | None = None) -> list[Customer]:
        if goes_wrong("created more than once"):
            super().create(new, author)
        return super().create(new, author, request)

    def update(self, customer_id: int, changes: Changes, versions: Sequence[int] | None, author: Author) -> Customer:
        if versions is None and goes_wrong("acknowledged change lost"):
            current = super().get(customer_id)
            return {**current, **changes, "version": current["version"] + 1}  # type: ignore[typeddict-item]
        if versions is None and goes_wrong("applied twice"):
            super().update(customer_id, changes, versions, author)
        updated = super().update(customer_id, changes, versions, author)
        if versions is not None and goes_wrong("412 though applied"):
            raise VersionMismatchError(updated["version"])
        return updated

    def delete(self, customer_id: int, versions: Sequence[int] | None, author: Author) -> None:
        before = self._table.read(customer_id)
        try:
            super().delete(customer_id, versions, author)
        except NotFoundError:
            if not goes_wrong("two deletes acknowledged"):
                raise
        if before and goes_wrong("deleted customer came back"):
            self._table.client.put_item(TableName=self._table.name, Item=before)
