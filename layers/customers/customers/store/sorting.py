"""The order of a group: a text for each sort field, whose code points sort like the field's values."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from customers.ids import MAX_ID

if TYPE_CHECKING:
    from customers.fields import Field

_SEPARATOR: Final = "\x1f"
"""Sorts before every character of a value (values have no control characters), so that "Ann" precedes "Anna"."""

_ID_DIGITS: Final = 16
"""Digits of the largest id, 2^53 - 1."""

_MAX_KEY_BYTES: Final = 1024
"""DynamoDB's limit for a sort key.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

_MAX_BYTES: Final = _MAX_KEY_BYTES - _ID_DIGITS - len(_SEPARATOR)
"""What that leaves for the value."""

_MISSING: Final = "\U0010ffff"
"""Sorts after every value, because it is the last code point."""


_LETTERS: Final = {
    "i": "ı", "j": "ȷ", "d": "ð", "n": "ŋ", "o": "ɵ", "q": "ĸ", "u": "ʉ", "ae": "æ", "oe": "œ", "th": "þ",  # noqa: RUF001 (what looks alike is the point)
    "'": "‘’‚‛“”„‟«»‹›ʻʼʽ",  # noqa: RUF001 (likewise)
}  # fmt: skip
"""Letters of Latin alphabets that Unicode does not decompose, by what people type for them where their keyboard lacks
them; likewise the apostrophes and quotes that phones and word processors write. `_WITH` knows the other letters."""

_BASE_LETTERS: Final = {letter: base for base, letters in _LETTERS.items() for letter in letters}

_WITH: Final = re.compile(r"LATIN SMALL LETTER ([A-Z]{1,2}) WITH ")
"""The Unicode name of a base letter with something, such as LATIN SMALL LETTER L WITH STROKE."""


def fold(text: str) -> str:
    """Return a text as it is compared: in base letters, without accents and case.

    That is NFKD without combining marks, case folded, and Latin letters that have no decomposition as base letters.
    """
    if text.isascii():
        return text.lower()
    folded = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
    return folded if folded.isascii() else "".join(map(_base_letter, folded))


@lru_cache(4096)
def _base_letter(letter: str) -> str:
    if letter in _BASE_LETTERS:
        return _BASE_LETTERS[letter]
    named = _WITH.match(unicodedata.name(letter, ""))
    return letter if named is None else named[1].lower()


def sort_text(field: Field, value: object) -> str:
    """Return what the sort text of a field's value begins with; `sort_end` follows. None sorts last.

    Only the first 1,007 bytes of a folded text count. Names and addresses get that long only with ligatures that fold
    to many letters each (U+FDFA folds to 18), never in a living language.
    """
    if value is None:
        return _MISSING
    if field.kind == "int":
        return str(value).zfill(len(str(field.maximum)))
    return prefix_text(str(value))


def prefix_text(prefix: str) -> str:
    """Return what the sort texts begin with of all values that begin with a text, apart from case and accents."""
    folded = fold(prefix)
    # A code point takes at most four bytes, so a short text need not be encoded to measure it.
    if len(folded) * 4 > _MAX_BYTES:
        folded = folded.encode()[:_MAX_BYTES].decode(errors="ignore")
    return folded


def sort_end(customer_id: int) -> str:
    """Return what all of a customer's sort texts end with, so that equal values have an order, and a page an end."""
    return _SEPARATOR + str(customer_id).zfill(_ID_DIGITS)


_SORT_TEXT: Final = re.compile(rf".*{_SEPARATOR}([0-9]{{{_ID_DIGITS}}})", re.DOTALL)
_ID: Final = re.compile(rf"([0-9]{{1,{_ID_DIGITS}}})")


def is_position(text: str, sort: str, prefix: str = "") -> bool:
    """Whether a page in some order, of the values with a prefix, can start after a text. DynamoDB refuses others."""
    match = (_ID if sort == "id" else _SORT_TEXT).fullmatch(text)
    fits = match is not None and 1 <= int(match[1]) <= MAX_ID and len(text.encode()) <= _MAX_KEY_BYTES
    return fits and text.startswith(prefix_text(prefix))


def id_of(text: str) -> int:
    """Return the id that a sort text ends with."""
    return int(text[-_ID_DIGITS:])
