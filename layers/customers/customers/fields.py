"""The customer's fields as data, for everything that works on all of them alike. Cheap to import.

They come from their declaration in `customer`. The layer's build has written them out to `_compiled`, so that no
deployed function imports pydantic; without that file (tests, laptop) they are derived when this module is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

try:
    from customers import _compiled as _derived  # type: ignore[attr-defined]  # only the layer's build writes it
except ImportError:
    from customers import derived as _derived

if TYPE_CHECKING:
    from collections.abc import Callable


class Field(NamedTuple):
    """One field that clients send."""

    name: str
    kind: Literal["str", "int", "dict"]
    """A `dict` has text keys and values, and is never null: without entries, it is empty."""
    required: bool
    """Whether a new customer must have it. An optional text or integer may also be null."""
    fixed: bool
    """Whether it is set at creation and never changed."""
    sorts: bool
    """Whether groups can be sorted by it."""
    on_request: bool
    """Whether listings leave it out unless the query parameter with its name is `true`."""
    maximum: int
    """Of an integer; 0 if it has none."""


FIELDS: Final = tuple(Field(*row) for row in _derived.FIELDS)
SORT_FIELDS: Final = ("id", *(field.name for field in FIELDS if field.sorts), "created_at")
rules: Final[Callable[[], Any]] = _derived.rules
"""Returns the rules for a customer to create, for `pydantic_core.SchemaValidator`."""
