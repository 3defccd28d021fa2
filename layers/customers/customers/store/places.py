"""Where new customers go: the ids that they may have, one after the other, until one is free."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from customers.errors import KeyReusedError
from customers.store.external_ids import NEVER, pass_over, salt_of
from customers.store.identity import random_id
from customers.store.items import Creation, creation_of, customer, is_customer, new_item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from customers.customer import Customer, NewCustomer
    from customers.store.author import Author
    from customers.store.external_ids import SaltKeeper
    from customers.store.identity import RequestName
    from customers.store.items import Item
    from customers.store.table import Table


class Taken(NamedTuple):
    """What comes of a new customer whose external id another one has."""

    customer_id: int
    """The other one's."""


class Place:
    """Where a new customer goes.

    Parameters
    ----------
    index, new
        Which customer of the request, and its fields.
    token, request, author
        Of the operation, as in `CustomerStore.create`.
    salt
        Only asked if the customer has an external id.
    """

    def __init__(  # noqa: PLR0913 (what a place depends on)
        self,
        index: int,
        new: NewCustomer,
        token: str,
        request: RequestName | None,
        author: Author,
        *,
        salt: SaltKeeper,
    ) -> None:
        self.index = index
        self._new = new
        self._token = token
        self._request = request
        self._author = author
        self._draw = 0
        self._tombstone: Item = {}
        self._passed_over: AttributeValueTypeDef | None = None
        self._external_id = new.get("external_id")
        self._salt = None if self._external_id is None else salt.make()
        self._key_hash = None
        if self._salt is not None and self._external_id is not None:
            self._key_hash = self._salt.key_hash(self._external_id)
        self.id = self._next_id()
        """The id that it tries next."""
        self.item: dict[str, AttributeValueTypeDef] = {}

    def put(self, time: str) -> dict[str, Any]:
        """Return the write that creates the customer at its id; `item` is what it writes."""
        version = int(self._tombstone["version"]["N"]) + 1 if self._tombstone else 1
        passed_over = self._passed_over or self._tombstone.get("passed_over")
        creation = Creation(self.id, time, self._token, self._author, version, self._key_hash, passed_over)
        self.item = new_item(self._new, creation)
        if not self._tombstone:
            return {"Item": self.item, "ConditionExpression": "attribute_not_exists(id)"}
        return {
            "Item": self.item,
            "ConditionExpression": "attribute_exists(deleted_at) AND #version = :version",
            "ExpressionAttributeNames": {"#version": "version"},
            "ExpressionAttributeValues": {":version": self._tombstone["version"]},
        }

    def _next_id(self) -> int:
        if self._salt is not None and self._external_id is not None:
            return self._salt.id(self._external_id, self._draw)
        return random_id() if self._request is None else self._request.id(self.index, self._draw)

    def _draw_again(self) -> None:
        self._draw += 1
        self._tombstone = {}
        self.id = self._next_id()

    def yield_to(self, other: Place) -> None:
        """Pass over another place of the request, which has the same id."""
        self._draw_again()
        if self._key_hash is not None:
            other._passed_over = NEVER

    def meet(self, met: Item, table: Table) -> Customer | Taken | None:
        """Return what came of the customer, by the item in its place. None: try again.

        Raises
        ------
        KeyReusedError
            An earlier request with the same name asked for something else.
        """
        met_token, met_time = creation_of(met) if met else ("", "")
        if met_token == self._token:
            # Its own: a response was lost, or an earlier attempt died after writing it.
            return customer(met) if is_customer(met) else self._as_created(met, met_time)
        if self._request is not None and met_token.startswith(f"{self._request.name}:"):
            raise KeyReusedError
        if met and (self._key_hash is None or met.get("key_hash") != {"S": self._key_hash}):
            if self._key_hash is None or pass_over(table, met):
                self._draw_again()
        elif is_customer(met):
            return Taken(int(met["id"]["N"]))
        else:
            # Empty if the tombstone has gone in the meantime.
            self._tombstone = met
        return None

    def _as_created(self, tombstone: Item, time: str) -> Customer:
        """Return the customer as an earlier attempt created it, before someone deleted it."""
        version = int(tombstone.get("created_version", {"N": "1"})["N"])
        created = Creation(int(tombstone["id"]["N"]), time, self._token, self._author, version)
        return customer(new_item(self._new, created))


def places(new: Sequence[NewCustomer], request: RequestName | None, author: Author, table: Table) -> dict[int, Place]:
    """Return the places of a request's customers, by their index. For the parameters see `CustomerStore.create`."""
    token = secrets.token_urlsafe(12) if request is None else f"{request.name}:{request.payload}"
    salts = salt_of(table)
    return {index: Place(index, row, token, request, author, salt=salts) for index, row in enumerate(new)}


def tell_apart(places: Sequence[Place]) -> None:
    """Give each place of a request its own id, because a transaction cannot write one item twice."""
    taken: dict[int, Place] = {}
    for place in places:
        while place.id in taken:
            place.yield_to(taken[place.id])
        taken[place.id] = place
