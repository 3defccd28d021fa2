"""What a customer is, once stored: the shape that every answer shows. No AWS, no validation, cheap to import."""

from __future__ import annotations

from typing import Final, Literal, NotRequired, TypedDict, get_args

MAX_ID: Final = 2**53 - 1
"""The largest id: the largest integer that JavaScript holds exactly (ECMA-262, Number.MAX_SAFE_INTEGER)."""

SortField = Literal["id", "first_name", "last_name", "email", "age", "created_at"]
SORT_FIELDS: Final[tuple[SortField, ...]] = get_args(SortField)


class Customer(TypedDict):
    """A stored customer, in the order in which its fields are shown."""

    id: int
    first_name: str
    last_name: str
    email: str
    group_id: int
    age: NotRequired[int | None]
    created_at: str
    updated_at: str
    version: int
