"""The order of a group: for each sort field a text whose code points sort as its values do."""

from __future__ import annotations

import unicodedata
from typing import Final

_SEPARATOR: Final = "\x1f"
"""Sorts below every character of a value (values hold no control characters), so that "Ann" precedes "Anna"."""

_ID_DIGITS: Final = 16
"""Digits of the largest id, 2^53 - 1."""

_MAX_BYTES: Final = 1024 - _ID_DIGITS - len(_SEPARATOR)
"""What DynamoDB's limit of 1,024 bytes for a sort key leaves for the value.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

_NO_AGE: Final = "999"
"""Sorts behind every age, 0 to 150."""


def fold(text: str) -> str:
    """Give the form in which a text is compared: without accents and case (NFKD, combining marks dropped, folded)."""
    if text.isascii():
        return text.lower()
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()


def by_text(text: str, customer_id: int) -> str:
    """Give the sort text of a name or an email.

    Only the first 1,007 bytes of the folded text count. A name or an address reaches that only with ligatures that
    fold to many letters each (U+FDFA folds to 18), never in a living language.
    """
    folded = fold(text)
    # A code point takes at most four bytes: what is short enough in code points need not be encoded to see it.
    if len(folded) * 4 > _MAX_BYTES:
        folded = folded.encode()[:_MAX_BYTES].decode(errors="ignore")
    return _with_id(folded, customer_id)


def by_age(age: int | None, customer_id: int) -> str:
    """Give the sort text of an age in years; none sorts last."""
    return _with_id(_NO_AGE if age is None else str(age).zfill(len(_NO_AGE)), customer_id)


def by_time(timestamp: str, customer_id: int) -> str:
    """Give the sort text of an RFC 3339 UTC timestamp of fixed width."""
    return _with_id(timestamp, customer_id)


def _with_id(value: str, customer_id: int) -> str:
    return value + _SEPARATOR + str(customer_id).zfill(_ID_DIGITS)


def id_of(sort_text: str) -> int:
    """Give the id that a sort text ends with."""
    return int(sort_text[-_ID_DIGITS:])
