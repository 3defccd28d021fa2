"""Access tokens: their form, their checksum, their hash and their scopes.

A token is `cust_` + 256 random bits + `_` + a checksum, in base 62. It is GitHub's format: garbage is refused without a
look-up, and secret scanners find leaks.
https://github.blog/engineering/behind-githubs-new-authentication-token-formats/
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from typing import Final, Literal, get_args

Scope = Literal["customers:read", "customers:write", "customers:delete", "customers:export"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_LENGTH: Final = 43
_CHECKSUM_LENGTH: Final = 6
_HEADER: Final = re.compile(r"(?:bearer +)?(cust_[0-9A-Za-z]{43})_([0-9A-Za-z]{6})", re.IGNORECASE | re.ASCII)


def new_token() -> str:
    """Return a new token."""
    body = "cust_" + _base62(secrets.randbits(256), _SECRET_LENGTH)
    return f"{body}_{_checksum(body)}"


def token_in(authorization: str) -> str | None:
    """Return the token in an Authorization header, with or without the scheme `Bearer`; None for a malformed one.

    This checks format and checksum only. The store knows whether the token was ever issued.
    """
    match = _HEADER.fullmatch(authorization)
    if match is None or not match[1].startswith("cust_") or _checksum(match[1]) != match[2]:
        return None
    return f"{match[1]}_{match[2]}"


def token_hash(token: str) -> str:
    """Return what the store keeps of a token: SHA-256, in hexadecimal. 256 random bits need no slow hash or salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_id(hashed: str) -> str:
    """Return the id of a token, from its hash. It is safe to log and show, and useless as a token."""
    return hashed[:16]


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return digits
