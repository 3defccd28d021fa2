"""Trimming of texts: what nobody can see at either end is not part of a name or an address."""

from __future__ import annotations

import re
from typing import Final

# Unicode's properties White_Space and Default_Ignorable_Code_Point: https://www.unicode.org/reports/tr44/
_WHITE_SPACE: Final = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_DEFAULT_IGNORABLE: Final = (
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_ASCII: Final = "\t\n\v\f\r "
_ALL: Final = _WHITE_SPACE + _DEFAULT_IGNORABLE
_ENDS: Final = re.compile(rf"[{_ALL}]*(.*[^{_ALL}])?[{_ALL}]*", re.DOTALL)


def trimmed(value: object) -> object:
    """Return a text without invisible characters at its ends, and any other value as it is."""
    if not isinstance(value, str):
        return value
    if value.isascii():
        return value.strip(_ASCII)
    return _ENDS.sub(r"\1", value, count=1)
