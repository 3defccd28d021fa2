"""Email addresses: which are valid, and how they are stored."""

from __future__ import annotations

import re
from typing import Final

MAX_LENGTH: Final = 254
"""Of an address, in characters (RFC 5321, section 4.5.3.1.3, without the angle brackets)."""

_ORDINARY: Final = re.compile(
    r"(?=[^@]{1,64}@)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?=.{1,253}\Z)(?:(?![^.]{64})(?!..--)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)
"""Addresses that need no closer check: a dot-atom at a domain name of ASCII letters and digits (RFC 5321)."""


def canonical(address: str) -> str:
    """Return an address in its stored form: the local part as sent, the domain in its one canonical form.

    That is lower case, and Unicode in NFC rather than Punycode (UTS 46, IDNA 2008). So each mailbox has one domain,
    however it was written.

    Raises
    ------
    PydanticCustomError
        The address is not valid; the type of the error is `invalid_email`.
    """
    local, _, domain = address.rpartition("@")
    domain = domain.lower() if _ORDINARY.fullmatch(address) else _checked_closely(address)
    return f"{local}@{domain}"


def _checked_closely(address: str) -> str:
    """Return the canonical domain of an address."""
    # Imported late, because few requests need it, and every cold start would pay for it.
    from pydantic_core import PydanticCustomError  # noqa: PLC0415

    if "@" not in address:
        raise PydanticCustomError("invalid_email", "not an address")
    import email_validator  # noqa: PLC0415

    # We do not judge whether mail reaches an address, so the names reserved for tests are valid (RFC 2606).
    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
    try:
        return email_validator.validate_email(address, check_deliverability=False, strict=True).domain
    except email_validator.EmailNotValidError:
        raise PydanticCustomError("invalid_email", "not an address") from None
