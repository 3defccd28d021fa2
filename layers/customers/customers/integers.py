"""Integers: `30.0` is one, as in JSON Schema, whose integers are all numbers without a fraction."""

from __future__ import annotations


def whole(value: object) -> object:
    """Return a number without a fraction as an integer, and any other value as it is.

    https://json-schema.org/draft/2020-12/json-schema-core#section-4.2.3
    """
    return int(value) if isinstance(value, float) and value.is_integer() else value
