"""Customers as items: nothing is lost on the way, and a typical one fits into one unit of billing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customers.fields import FIELDS
from customers.ids import MAX_ID
from customers.store.author import Author
from customers.store.identity import digest
from customers.store.items import EMAIL_INDEX, ORDERS, Creation, customer, email_key, new_item, now
from tests.author import TESTER

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.mark.parametrize(("address", "key"), [
    ("Ann@example.com", "ann@example.com"),
    ("\u00c9\u00df@ex\u00e4mple.com", "\u00e9\u00df@ex\u00e4mple.com"),
    ("\u1e9e@example.com", "\u00df@example.com"),
    ("\ufb01@example.com", "\ufb01@example.com"),
    ("\u03a3\u03c2@example.com", "\u03c3\u03c3@example.com"),
])  # fmt: skip
def test_an_address_is_found_whatever_its_case_and_by_no_other(address: str, key: str) -> None:
    assert email_key(address) == email_key(key) == key


WRITE_UNIT: Final = 1024
"""Bytes.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
"""
TYPICAL: Final = {
    "first_name": "Alexandra",
    "last_name": "Featherstone",
    "email": "alexandra.featherstone@example.com",
    "group_id": 123456,
    "age": 42,
}
VALUES: Final = {
    "int": st.integers(0, MAX_ID),
    "str": st.text(max_size=9),
    "dict": st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=9)),
}
NEW: Final = st.fixed_dictionaries({field.name: VALUES[field.kind] for field in FIELDS})


def size(value: Mapping[str, Any]) -> int:
    """Return the bytes of an attribute's value.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    ((kind, content),) = value.items()
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + size(member) for name, member in content.items())
    return len(content.encode()) if kind == "S" else (len(content) + 1) // 2 + 1


@given(NEW, st.integers(1, MAX_ID))
def test_an_item_holds_the_customer(new: dict[str, Any], customer_id: int) -> None:
    time = now()
    record = {"created_at": time, "updated_at": time, "version": 1}
    assert customer(new_item(new, Creation(customer_id, time, "token", TESTER))) == {"id": customer_id, **new, **record}


@given(NEW)
def test_a_field_that_was_never_sent_is_null_or_empty(new: dict[str, Any]) -> None:
    optional = [field.name for field in FIELDS if not field.required]
    item = new_item(
        {name: value for name, value in new.items() if name not in optional}, Creation(1, now(), "token", TESTER)
    )
    nothing: dict[str, object] = {field.name: {} if field.kind == "dict" else None for field in FIELDS}
    assert [customer(item)[name] for name in optional] == [nothing[name] for name in optional]  # type: ignore[literal-required]
    assert not {name for name in optional if nothing[name] is None} & item["customer"]["M"].keys()


def test_the_order_of_the_fields_is_that_of_the_declaration() -> None:
    names = [field.name for field in FIELDS]
    assert list(customer(new_item(TYPICAL, Creation(1, now(), "token", TESTER)))) == [
        "id",
        *names,
        "created_at",
        "updated_at",
        "version",
    ]


def test_a_typical_customer_takes_one_write_unit_and_leaves_room() -> None:
    token = f"{digest('key')}-{'x' * 16}:{digest('payload')}"
    author = Author(token_id="x" * 16, request_id=str(uuid4()))
    item = new_item(TYPICAL, Creation(MAX_ID, now(), token, author=author))
    assert item.keys() >= {order.key for order in (*ORDERS.values(), EMAIL_INDEX)}
    item["write_token"] = {"S": "x" * 16}
    bytes_ = sum(len(name.encode()) + size(value) for name, value in item.items())
    # Leave room for a key of the client's own.
    assert bytes_ <= WRITE_UNIT - 100
