"""What follows from the declaration of the customer, as plain data: its fields, and the rules as a core schema.

Only the tests, the laptop and the layer's build import this module, because it imports pydantic. See `fields`.
"""

from __future__ import annotations

from typing import Any, Final, get_args, get_type_hints

from pydantic import TypeAdapter

from customers.customer import Fixed, Listing, NewCustomer

_ONLY_FOR_PYDANTIC: Final = frozenset({"cls", "computed_fields", "metadata", "ref", "title"})
"""Members of a core schema that validation does without."""


def _plain(schema: Any, *, names: bool = False) -> Any:  # noqa: ANN401 (a part of a core schema)
    """Return a core schema without what only pydantic needs; keys that are `names` of fields all stay."""
    if isinstance(schema, dict):
        return {
            key: _plain(part, names=key == "fields")
            for key, part in schema.items()
            if names or key not in _ONLY_FOR_PYDANTIC
        }
    return schema


def rules() -> Any:  # noqa: ANN401 (a core schema)
    """Return the rules for a customer to create.

    https://docs.pydantic.dev/latest/api/pydantic_core_schema/
    """
    return _plain(TypeAdapter(NewCustomer).core_schema)


def _field(name: str, declared: Any) -> tuple[object, ...]:  # noqa: ANN401 (a core schema's field)
    value = declared["schema"]
    while value["type"] not in {"str", "int", "dict"}:
        value = value["schema"]
    extras = _extras(_HINTS[name])
    listing = next((extra for extra in extras if isinstance(extra, Listing)), Listing())
    fixed = any(isinstance(extra, Fixed) for extra in extras)
    if listing.sorts and value["type"] == "int" and not (value.get("ge", -1) >= 0 and "le" in value):
        raise TypeError(f"{name}: an integer that groups sort by needs a range from 0 or more, which gives it a width")
    return name, value["type"], declared["required"], fixed, listing.sorts, listing.on_request, value.get("le", 0)


def _extras(hint: Any) -> tuple[Any, ...]:  # noqa: ANN401 (a type, or what an annotation adds to one)
    """Return what the annotations of a type say, those inside of NotRequired included."""
    return tuple(getattr(hint, "__metadata__", ())) or tuple(
        extra for part in get_args(hint) for extra in _extras(part)
    )


_HINTS: Final = get_type_hints(NewCustomer, include_extras=True)
FIELDS: Final = tuple(_field(name, declared) for name, declared in rules()["fields"].items())
"""The arguments of `fields.Field` for each field, in the order of the declaration."""
