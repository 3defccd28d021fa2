"""The messages of the import queue: a body is one customer, or a list of customers."""

from __future__ import annotations

from customers.errors import CustomersError, InvalidError
from customers.json_text import parse_json


class UnreadableMessageError(CustomersError):
    """The message is neither a customer nor a list of customers."""


def customers_in(body: str) -> list[object]:
    """Return the rows of a message: its body is one customer, or `{"customers": [...]}`.

    Raises
    ------
    UnreadableMessageError
        It is neither.
    """
    try:
        value = parse_json(body.encode(errors="surrogatepass"))
    except InvalidError:
        raise UnreadableMessageError from None
    if not isinstance(value, dict):
        raise UnreadableMessageError
    if "customers" not in value:
        return [value]
    if len(value) > 1 or not isinstance(value["customers"], list):
        raise UnreadableMessageError
    return value["customers"]
