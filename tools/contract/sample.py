"""The customers of the examples: a store that holds one, and returns fixed ids and times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from customers.errors import ExternalIdTakenError, NotFoundError, VersionMismatchError
from customers.fields import FIELDS
from customers.metadata import merged
from customers.store.history import HistoryPage
from customers.store.pages import Page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from customers.customer import Changes, Customer, NewCustomer
    from customers.store.author import Author
    from customers.store.identity import RequestName

CUSTOMER_ID: Final = 5181459237011563
GROUP_ID: Final = 1
EXTERNAL_ID: Final = "shop-42"
_TAKEN: Final = "shop-7"
_OTHER_ID: Final = 2204718365904417
_CREATED: Final = "2026-11-23T10:33:09.784Z"
_CHANGED: Final = "2026-11-24T08:15:30.120Z"
_JOHN: Final[NewCustomer] = {
    "first_name": "John",
    "last_name": "Doe",
    "email": "john.doe@example.com",
    "group_id": GROUP_ID,
    "age": None,
    "external_id": EXTERNAL_ID,
    "metadata": {"tier": "gold"},
}
_ELODIE: Final[NewCustomer] = {
    "first_name": "Élodie",
    "last_name": "Durand",
    "email": "elodie@example.com",
    "group_id": GROUP_ID,
    "age": 41,
}


class SampleStore:
    """Stands in for all stores while the endpoints answer the examples' requests."""

    def get(self, id_: int | str) -> Customer:
        """Return the sample customer."""
        if id_ not in {CUSTOMER_ID, EXTERNAL_ID}:
            raise NotFoundError("There is no such customer.")
        return _stored(_JOHN, CUSTOMER_ID)

    def create(self, new: Sequence[NewCustomer], _request: RequestName | None, _author: Author) -> list[Customer]:
        """Return what the store would write."""
        if new[0].get("external_id") == _TAKEN:
            raise ExternalIdTakenError({0: _OTHER_ID})
        return [_stored(row, id_) for row, id_ in zip(new, (CUSTOMER_ID, _OTHER_ID), strict=False)]

    create_free = create

    def put(
        self,
        external_id: str,
        new: NewCustomer,
        *,
        versions: Sequence[int] | None,
        exists: bool | None,
        author: Author,  # noqa: ARG002 - the store's own
    ) -> tuple[Customer, bool]:
        """Return the sample customer with other fields, or a new one."""
        if external_id != EXTERNAL_ID:
            if exists:
                raise VersionMismatchError(None)
            return _stored(new, _OTHER_ID), True
        if exists is False:
            raise VersionMismatchError(1)
        _expect(versions)
        return {**_stored(new, CUSTOMER_ID), "updated_at": _CHANGED, "version": 2}, False

    def update(self, customer_id: int, changes: Changes, versions: Sequence[int] | None, _author: Author) -> Customer:
        """Return the sample customer, which has version 1, with the changes."""
        _expect(versions)
        entries: Any = changes.get("metadata", {})
        stored = _stored({**_JOHN, **changes, "metadata": merged(_JOHN["metadata"], entries)}, customer_id)
        return {**stored, "updated_at": _CHANGED, "version": 2}

    def delete(self, _customer_id: int, versions: Sequence[int] | None, _author: Author) -> None:
        """Delete nothing."""
        _expect(versions)

    def newest_first(self, customer_id: int, *, limit: int, after: str | None) -> HistoryPage:  # noqa: ARG002 - the store's own
        """Return the history of the sample customer, and of nobody else."""
        if customer_id != CUSTOMER_ID:
            return HistoryPage([], None)
        entries: list[dict[str, Any]] = [
            {
                "version": 2,
                "at": _CHANGED,
                "action": "updated",
                "by": {"token_id": "8c1f2b7a90d3e645"},
                "request_id": "2f8b3c6e-8f0a-4b7e-9d53-0a1c5f3f7e21",
                "changes": {"last_name": {"from": "Doe", "to": "Miller"}},
            },
            {
                "version": 1,
                "at": _stored(_JOHN, CUSTOMER_ID)["created_at"],
                "action": "created",
                "by": {"import_id": "4be1a1a2f9d84f6c0b5f3d8f5a7c9e10", "row": 7},
                "request_id": None,
                "changes": {name: {"from": None, "to": value} for name, value in _JOHN.items() if name != "metadata"},
            },
        ]
        return HistoryPage(entries[:limit], "1" if limit < len(entries) else None)

    def with_email(self, _address: str, *, limit: int, after: str | None) -> Page:  # noqa: ARG002 - the store's own
        """Return the sample customer."""
        return Page([_stored(_JOHN, CUSTOMER_ID)], None)

    def everybody(self, *, limit: int, after: str | None) -> Page:
        """Return the first of two pages, or everybody if the limit is high."""
        return self.group(GROUP_ID, "id", descending=False, limit=limit, after=after)

    def group(
        self,
        group_id: int,
        _sort: str,
        *,
        descending: bool,  # noqa: ARG002 - the store's own parameter
        limit: int,
        after: str | None,
        prefix: str | None = None,
    ) -> Page:
        """Return the first of two pages, or the whole group if the limit is high, and nothing of other groups."""
        if group_id != GROUP_ID:
            return Page([], None)
        if prefix is not None:
            return Page([_stored(_ELODIE, _OTHER_ID)], None)
        both = [_stored(_ELODIE, _OTHER_ID), _stored(_JOHN, CUSTOMER_ID)]
        whole = limit >= len(both) or after is not None
        return Page(both if whole else both[:limit], None if whole else "elodie")


def _stored(new: Mapping[str, object], customer_id: int) -> Customer:
    fields = {field.name: new.get(field.name, {} if field.kind == "dict" else None) for field in FIELDS}
    record = {"created_at": _CREATED, "updated_at": _CREATED, "version": 1}
    return cast("Customer", {"id": customer_id, **fields, **record})


def _expect(versions: Sequence[int] | None) -> None:
    if versions is not None and 1 not in versions:
        raise VersionMismatchError(1)
