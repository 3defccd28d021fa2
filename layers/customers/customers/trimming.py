"""Trimming of texts: what nobody can see at either end is not part of a name or an address."""

from __future__ import annotations

import functools
from typing import Final

_ASCII: Final = "\t\n\v\f\r "
WHITE_SPACE: Final = (
    f"{_ASCII}\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's property White_Space. Python counts four separators as white space too, which are control characters.

https://www.unicode.org/reports/tr44/
"""
_IGNORABLE: Final = (
    # Its property Default_Ignorable_Code_Point.
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)


def trimmed(value: object) -> object:
    """Return a text without invisible characters at its ends, and any other value as it is."""
    if not isinstance(value, str):
        return value
    return value.strip(_ASCII if value.isascii() else _invisible())


@functools.cache
def _invisible() -> str:
    # Cached rather than made at import, because few texts need it.
    return WHITE_SPACE + "".join(chr(code) for first, last in _IGNORABLE for code in range(first, last + 1))
