"""Customers as items of their table: attributes, indexes, and conversion in both directions.

What a client sends is one attribute, the map `customer`, without nulls. Everything else about a customer is an
attribute of its own, so that the indexes, which include the map, never change when a field is added.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from customers.fields import FIELDS, SORT_FIELDS
from customers.store.sorting import sort_text, time_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from customers.customer import Customer

type Item = Mapping[str, AttributeValueTypeDef]

_NO_FIELDS: Final[dict[str, object]] = dict.fromkeys(field.name for field in FIELDS)
_SORTED: Final = {field.name: field for field in FIELDS if field.sorts}
_READERS: Final = tuple((field.name, field.kind == "int") for field in FIELDS)


class Order(NamedTuple):
    """An order of groups: the index that keeps it."""

    name: str
    key: str
    """The attribute that the index sorts by."""


ORDERS: Final = {
    "id": Order("group-index", "id"),
    **{name: Order(f"group-by-{name.replace('_', '-')}", f"{name}_sort") for name in SORT_FIELDS if name != "id"},
}
"""By sort field."""


def now() -> str:
    """Return the time as customers show it: RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def number(value: int) -> AttributeValueTypeDef:
    """Return an integer as DynamoDB writes it."""
    return {"N": str(value)}


def key(customer_id: int) -> dict[str, AttributeValueTypeDef]:
    """Return the key of a customer's item."""
    return {"id": number(customer_id)}


def attributes(fields: Mapping[str, object]) -> dict[str, AttributeValueTypeDef]:
    """Return the values of fields, without nulls, as DynamoDB writes them."""
    return {
        name: {"N": str(value)} if isinstance(value, int) else {"S": str(value)}
        for name, value in fields.items()
        if value is not None
    }


def key_attributes(fields: Mapping[str, object], customer_id: int) -> dict[str, AttributeValueTypeDef]:
    """Return the index keys that follow from some fields.

    Each depends on its own field alone, so that an update needs no read.
    """
    keys: dict[str, AttributeValueTypeDef] = {
        ORDERS[name].key: {"S": sort_text(field, fields[name], customer_id)}
        for name, field in _SORTED.items()
        if name in fields
    }
    if "group_id" in fields:
        keys["group_id"] = {"N": str(fields["group_id"])}
    return keys


def new_item(fields: Mapping[str, object], customer_id: int, time: str, token: str) -> dict[str, AttributeValueTypeDef]:
    """Return the item of a new customer.

    Parameters
    ----------
    fields
        A valid new customer.
    customer_id
        Its id.
    time
        Now, as `now` returns it.
    token
        Identifies the operation that creates it.
    """
    return {
        **key(customer_id),
        "customer": {"M": attributes(fields)},
        **key_attributes({**_NO_FIELDS, **fields}, customer_id),
        "created_at": {"S": time},
        "created_at_sort": {"S": time_text(time, customer_id)},
        "updated_at": {"S": time},
        "version": {"N": "1"},
        "create_token": {"S": token},
    }


def customer(item: Item) -> Customer:
    """Return the customer that an item holds."""
    fields = item["customer"]["M"]
    return cast(
        "Customer",
        {
            "id": int(item["id"]["N"]),
            **{
                name: None if (value := fields.get(name)) is None else int(value["N"]) if is_integer else value["S"]
                for name, is_integer in _READERS
            },
            "created_at": item["created_at"]["S"],
            "updated_at": item["updated_at"]["S"],
            "version": int(item["version"]["N"]),
        },
    )


class Change(NamedTuple):
    """A change of the table: a customer before it (None at its creation) and after it (None at its deletion)."""

    before: Customer | None
    after: Customer | None

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Change:
        """Read a record of the table's stream, which has both images.

        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html
        """
        before, after = (record["dynamodb"].get(image) for image in ("OldImage", "NewImage"))
        return cls(before and customer(before), after and customer(after))
