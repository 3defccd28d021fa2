"""JSON as clients and files have it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, NoReturn

from pydantic_core import from_json

from customers.errors import FieldError, InvalidError


def parse_json(body: bytes) -> Any:  # noqa: ANN401 (JSON may be anything)
    r"""Parse a JSON text (RFC 8259): UTF-8, no NaN or Infinity, at most 200 levels deep.

    Lone surrogates, as in `"\ud800"`, pass: they are not valid Unicode, and the rules report the field.

    Raises
    ------
    InvalidError
        The text is not valid JSON.
    """
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        if b"\\u" in body:
            with suppress(ValueError, RecursionError):
                value = json.loads(body.decode(), parse_constant=_refuse_constant)
                if has_lone_surrogates(value):
                    return value
        raise InvalidError(
            [FieldError(pointer="#", code="invalid_json", detail=f"Must be valid JSON in UTF-8: {error}.")]
        ) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def has_lone_surrogates(value: object) -> bool:
    """Whether a text in a JSON value is not valid Unicode."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
