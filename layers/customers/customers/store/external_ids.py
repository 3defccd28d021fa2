"""Customers by their external ids.

An external id determines the customer's id: a salted hash of it. So the table's own key makes it unique, strongly
consistent and without a second table. If two external ids have the same hash, the second one takes the next draw, and
the customer that it passes over is marked: its tombstone never expires, so that a search never stops too early.
"""

from __future__ import annotations

import functools
import secrets
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from customers.aws.dynamodb import call
from customers.errors import VersionMismatchError
from customers.store.identity import Salt
from customers.store.items import all_key_attributes, customer, is_customer, key, now, number, stored_fields
from customers.store.sorting import sort_end
from customers.store.table import RefusedError, Table, Update, live_at, no_customer, refused_item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from customers.customer import Customer, NewCustomer
    from customers.store.author import Author
    from customers.store.items import Item

_SALT_ID: Final = 0
"""Ids that clients send start at 1, so that no request reaches the salt."""
NEVER: Final[AttributeValueTypeDef] = {"N": "253402300799"}
"""When the tombstone of a customer that was passed over expires: at the end of the year 9999."""


class SaltKeeper:
    """The salt of external ids, kept with the customers, so that a restored table has its own.

    Parameters
    ----------
    table
        The table of customers.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._salt: Salt | None = None

    def find(self) -> Salt | None:
        """Return the salt; None if no external id was ever used."""
        if self._salt is None and (item := self._table.read(_SALT_ID)):
            self._salt = Salt(item["salt"]["S"])
        return self._salt

    def make(self) -> Salt:
        """Return the salt, and create it on first use."""
        salt = self.find()
        if salt is None:
            item: dict[str, AttributeValueTypeDef] = {**key(_SALT_ID), "salt": {"S": secrets.token_urlsafe(32)}}
            try:
                call(
                    lambda: self._table.client.put_item(
                        TableName=self._table.name, Item=item, ConditionExpression="attribute_not_exists(id)"
                    )
                )
            except ClientError as error:
                refused_item(error)
            salt = self.find()
            assert salt is not None  # noqa: S101 (for the type checker)
        return salt


@functools.cache
def salt_of(table: Table) -> SaltKeeper:
    """Return the keeper of a table's salt, which reads it once."""
    return SaltKeeper(table)


def pass_over(table: Table, met: Item) -> bool:
    """Mark an item whose id another external id would have had; return whether it is still what was met."""
    sets, values = "SET passed_over = :never", {":never": NEVER}
    condition = "attribute_exists(customer)"
    if not is_customer(met):
        sets += ", expires_at = :never"
        condition = "attribute_exists(deleted_at)"
    if "key_hash" in met:
        condition += " AND key_hash = :key_hash"
        values[":key_hash"] = met["key_hash"]
    else:
        condition += " AND attribute_not_exists(key_hash)"
    return table.mark(met, Update(sets, condition, {}, values))


class ExternalIdStore:
    """Customers by their external ids.

    Each method raises StoreUnavailableError if the table refuses or does not respond in time.
    """

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._table = Table(client, table)
        self._salt = salt_of(self._table)

    def get(self, external_id: str) -> Customer:
        """Read a customer, strongly consistent.

        Raises
        ------
        NotFoundError
            No customer has this external id.
        """
        salt = self._salt.find()
        if salt is None:
            raise no_customer()
        draw = 0
        while item := self._table.read(salt.id(external_id, draw)):
            if item["key_hash"]["S"] != salt.key_hash(external_id):
                draw += 1
            elif is_customer(item):
                return customer(item)
            else:
                break
        raise no_customer()

    def put(
        self,
        external_id: str,
        new: NewCustomer,
        *,
        versions: Sequence[int] | None,
        exists: bool | None,
        author: Author,
    ) -> tuple[Customer, bool]:
        """Create the customer with an external id, or replace its fields, in one conditional write.

        Parameters
        ----------
        external_id
            The external id.
        new
            All of the customer's fields.
        versions
            The versions that may be replaced, at most 90; None for any.
        exists
            Whether there must be a customer with this external id (True) or must not be (False); None: either.
        author
            Who writes.

        Returns
        -------
        tuple[Customer, bool]
            The customer, and whether it was created. If it has these fields already, nothing is written.

        Raises
        ------
        VersionMismatchError
            The customer has another version, or its existence is not as required.
        OutcomeUnknownError
            The write may have been applied, and the table does not show it.
        """
        salt = self._salt.make()
        key_hash, fields, draw = salt.key_hash(external_id), stored_fields(new), 0
        condition, condition_values = _condition(versions, exists=exists)
        while True:
            customer_id = salt.id(external_id, draw)
            update = replacement(new, fields, customer_id, key_hash, author)
            values = {**update.values, **condition_values}
            try:
                item = self._table.update(customer_id, update._replace(condition=condition, values=values))
            except RefusedError as refused:
                met = refused.item
                if met and met["key_hash"]["S"] != key_hash:
                    draw += pass_over(self._table, met)
                    continue
                if not is_customer(met):
                    raise VersionMismatchError(None) from None
                if met["customer"] == fields and exists is not False:
                    return customer(met), False
                raise VersionMismatchError(int(met["version"]["N"])) from None
            return customer(item), item["create_token"] == item["write_token"]


def _condition(versions: Sequence[int] | None, *, exists: bool | None) -> tuple[str, dict[str, AttributeValueTypeDef]]:
    """Return the condition under which an item may become the customer with an external id, with its values."""
    free = "attribute_not_exists(id) OR (key_hash = :key_hash AND attribute_exists(deleted_at))"
    if exists is False:
        return free, {}
    live, values = live_at(versions)
    changes = f"key_hash = :key_hash AND customer <> :customer AND {live}"
    return (changes if exists or versions is not None else f"{free} OR ({changes})"), values


def replacement(  # noqa: PLR0913, PLR0917 (what an item says)
    new: NewCustomer,
    fields: AttributeValueTypeDef,
    customer_id: int,
    key_hash: str | None,
    author: Author,
    order: str | None = None,
    replaced: int | None = None,
) -> Update:
    """Return the update that makes an item, whatever it is, the customer with these fields; its condition is open.

    Parameters
    ----------
    new, fields
        The customer, and the same as it is stored.
    customer_id
        Its id.
    key_hash
        Of what it is known by besides its id; None: as it is.
    author
        Who writes.
    order
        What decides which of two writes is the later one; None: now.
    replaced
        The version that rows of the same import replace; None for a request.
    """
    time = now()
    own = all_key_attributes(new, customer_id)
    if key_hash is not None:
        own["key_hash"] = {"S": key_hash}
    if replaced is not None:
        own["replaced"] = number(replaced)
    sets = [f"{name} = :{name}" for name in own]
    sets += [
        "customer = :customer",
        "updated_at = :now",
        "#order = :order",
        "write_token = :write_token",
        "author = :author",
        # A tombstone lacks these three, but not the version.
        "created_at = if_not_exists(created_at, :now)",
        "created_at_sort = if_not_exists(created_at_sort, :now_sort)",
        "create_token = if_not_exists(create_token, :write_token)",
        "#version = if_not_exists(#version, :zero) + :one",
    ]
    values: dict[str, Any] = {f":{name}": value for name, value in own.items()}
    values |= {
        ":customer": fields,
        ":author": author.attribute(),
        ":now": {"S": time},
        ":order": {"S": order or time},
        ":now_sort": {"S": time + sort_end(customer_id)},
        ":zero": number(0),
        ":one": number(1),
    }
    expression = f"SET {', '.join(sets)} REMOVE deleted_at, expires_at, old_create_token, old_created_at"
    return Update(expression, "", {"#version": "version", "#order": "order"}, values)
