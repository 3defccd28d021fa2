"""The ids of customers: the service's own, and those of the caller's systems."""

from __future__ import annotations

from typing import Final

MAX_ID: Final = 2**53 - 1
"""The largest id: the largest integer that JavaScript holds exactly (ECMA-262, Number.MAX_SAFE_INTEGER)."""

EXTERNAL_ID: Final = "^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$"
"""What an `external_id` looks like. In a path, no character of it needs escaping (RFC 3986, section 2.3)."""
EXTERNAL_ID_RULE: Final = "1 to 128 characters from A-Z a-z 0-9 . _ ~ -, the first a letter or digit"
"""The same for people."""


def is_number(text: str) -> bool:
    """Whether a text is an integer of up to MAX_ID, in digits. Python refuses to read thousands of digits."""
    return len(text) <= len(str(MAX_ID)) and text.isascii() and text.isdecimal() and int(text) <= MAX_ID
