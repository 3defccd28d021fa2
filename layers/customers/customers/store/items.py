"""Customers as items of their table: attributes, indexes, and conversion in both directions.

What a client sends is one attribute, the map `customer`, without nulls. Everything else about a customer is an
attribute of its own, so that the indexes, which include the map, never change when a field is added.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from customers.fields import FIELDS, SORT_FIELDS
from customers.store.sorting import sort_end, sort_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from customers.customer import Customer
    from customers.store.author import Author

type Item = Mapping[str, AttributeValueTypeDef]

_NO_FIELDS: Final[dict[str, object]] = dict.fromkeys(field.name for field in FIELDS)
_SORTED: Final = {field.name: field for field in FIELDS if field.sorts}
_READERS: Final = tuple((field.name, field.kind) for field in FIELDS)
_ENTRIES: Final[dict[str, object]] = {field.name: {} for field in FIELDS if field.kind == "dict"}
"""Fields that always have a value."""


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

EMAIL_INDEX: Final = Order("by-email", "email_key")
"""The index that finds customers by their address. Its partitions are addresses, each in the order of ids."""


def now() -> str:
    """Return the time as customers show it: RFC 3339, UTC, milliseconds."""
    return timestamp(datetime.now(UTC))


def timestamp(time: datetime) -> str:
    """Return a time as customers show it."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def number(value: int) -> AttributeValueTypeDef:
    """Return an integer as DynamoDB writes it."""
    return {"N": str(value)}


def key(customer_id: int) -> dict[str, AttributeValueTypeDef]:
    """Return the key of a customer's item."""
    return {"id": number(customer_id)}


def email_key(address: str) -> str:
    """Return what an address is found by: addresses that differ only in case have the same.

    Unicode's simple case folding: one letter stays one, so ß is not ss.
    """
    if address.isascii():
        return address.lower()
    return "".join(folded if len(folded := letter.casefold()) == 1 else letter.lower() for letter in address)


def attributes(fields: Mapping[str, object]) -> dict[str, AttributeValueTypeDef]:
    """Return the values of fields, without nulls, as DynamoDB writes them."""
    return {name: _attribute(value) for name, value in fields.items() if value is not None}


def _attribute(value: object) -> AttributeValueTypeDef:
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, dict):
        return {"M": {key: {"S": text} for key, text in value.items()}}
    return {"N": str(value)}


def stored_fields(new: Mapping[str, object]) -> AttributeValueTypeDef:
    """Return the fields of a new customer as the attribute that keeps them."""
    return {"M": attributes({**_ENTRIES, **new})}


def key_attributes(fields: Mapping[str, object], customer_id: int) -> dict[str, AttributeValueTypeDef]:
    """Return the index keys that follow from some fields.

    Each depends on its own field alone, so that an update needs no read.
    """
    end = sort_end(customer_id)
    keys: dict[str, AttributeValueTypeDef] = {
        ORDERS[name].key: {"S": sort_text(field, fields[name]) + end}
        for name, field in _SORTED.items()
        if name in fields
    }
    if "group_id" in fields:
        keys["group_id"] = {"N": str(fields["group_id"])}
    if "email" in fields:
        keys[EMAIL_INDEX.key] = {"S": email_key(str(fields["email"]))}
    return keys


def all_key_attributes(new: Mapping[str, object], customer_id: int) -> dict[str, AttributeValueTypeDef]:
    """Return the index keys of a new customer."""
    return key_attributes({**_NO_FIELDS, **new}, customer_id)


class Creation(NamedTuple):
    """What a new customer's item says besides its fields."""

    id: int
    time: str
    """As `now` returns it."""
    token: str
    """Identifies the operation that creates it."""
    author: Author
    version: int = 1
    """More than 1 if it replaces the tombstone of a customer with the same external id."""
    key_hash: str | None = None
    """Of its external id."""
    passed_over: AttributeValueTypeDef | None = None
    """As in the tombstone that it replaces."""


def new_item(
    fields: Mapping[str, object], creation: Creation, order: str | None = None
) -> dict[str, AttributeValueTypeDef]:
    """Return the item of a new customer.

    Parameters
    ----------
    fields
        Valid ones.
    creation
        What else it says.
    order
        What decides which of two writes is the later one; None: the time of its creation.
    """
    item: dict[str, AttributeValueTypeDef] = {
        **key(creation.id),
        "customer": stored_fields(fields),
        **all_key_attributes(fields, creation.id),
        "created_at": {"S": creation.time},
        "created_at_sort": {"S": creation.time + sort_end(creation.id)},
        "updated_at": {"S": creation.time},
        "order": {"S": order or creation.time},
        "version": number(creation.version),
        "create_token": {"S": creation.token},
        "author": creation.author.attribute(),
    }
    if creation.key_hash is not None:
        item["key_hash"] = {"S": creation.key_hash}
    if creation.version > 1:
        item["created_version"] = number(creation.version)
    if creation.passed_over is not None:
        item["passed_over"] = creation.passed_over
    return item


def customer(item: Item) -> Customer:
    """Return the customer that an item holds."""
    fields: Any = item["customer"]["M"]
    return cast(
        "Customer",
        {
            "id": int(item["id"]["N"]),
            **{name: _value(kind, fields.get(name)) for name, kind in _READERS},
            "created_at": item["created_at"]["S"],
            "updated_at": item["updated_at"]["S"],
            "version": int(item["version"]["N"]),
        },
    )


def _value(kind: str, value: Any) -> object:  # noqa: ANN401 (an attribute value)
    if value is None:
        return None
    if kind == "dict":
        # DynamoDB keeps no order, and equal versions have equal bytes.
        return {key: text["S"] for key, text in sorted(value["M"].items())}
    return int(value["N"]) if kind == "int" else value["S"]


def is_customer(item: Item) -> bool:
    """Whether an item is a customer, not a tombstone, the salt, or nothing."""
    return "customer" in item


def creation_of(item: Item) -> tuple[str, str]:
    """Return the token of the operation that created a customer, and when; also if only its tombstone is left."""
    prefix = "" if "create_token" in item else "old_"
    return item[f"{prefix}create_token"]["S"], item[f"{prefix}created_at"]["S"]


class Change(NamedTuple):
    """A change of the table: a customer before it (None at its creation) and after it (None at its deletion).

    Both are None if the change is not one of a customer: that of the salt, or of a tombstone.
    """

    before: Customer | None
    after: Customer | None
    version: int
    """After the change. A deletion increments it too."""

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Change:
        """Read a record of the table's stream, which has both images.

        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html
        """
        images = [record["dynamodb"].get(image) or {} for image in ("OldImage", "NewImage")]
        before, after = (customer(image) if is_customer(image) else None for image in images)
        number_ = (images[1] or images[0]).get("version", {"N": "0"})
        return cls(before, after, int(number_["N"]))

    @property
    def kind(self) -> Literal["created", "updated", "deleted"] | None:
        """What happened to the customer; None if nothing that clients can see did."""
        if self.before and self.after:
            return None if self.before["version"] == self.after["version"] else "updated"
        if self.after:
            return "created"
        return "deleted" if self.before else None
