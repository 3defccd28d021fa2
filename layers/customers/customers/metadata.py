"""The entries that clients add to a customer for themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from customers.errors import FieldError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY: Final = "^[A-Za-z0-9._-]{1,40}$"
"""What the key of an entry looks like."""
MAX_ENTRIES: Final = 20
MAX_BYTES: Final = 2048
"""Of all keys and values together, in UTF-8."""
MAX_PATCH_ENTRIES: Final = 2 * MAX_ENTRIES
"""In one patch, which may replace all entries: remove as many as there can be, and add as many."""


def within_limit(entries: dict[str, str]) -> dict[str, str]:
    """Return the entries.

    Raises
    ------
    PydanticCustomError
        They have too many bytes; the type of the error is `metadata_too_large`.
    """
    if too_large(entries):
        from pydantic_core import PydanticCustomError  # noqa: PLC0415 (only needed to refuse)

        raise PydanticCustomError("metadata_too_large", "too many bytes")
    return entries


def wrong_together(entries: object, most: int, *, any_size: bool) -> set[str]:
    """Return what is wrong with entries, valid or not, taken together: the core's types of the errors."""
    if not isinstance(entries, dict):
        return set()
    texts = {key: text for key, text in entries.items() if isinstance(text, str)}
    wrong = {"too_long": len(entries) > most, "metadata_too_large": not any_size and too_large(texts)}
    return {kind for kind, is_so in wrong.items() if is_so}


def too_large(entries: Mapping[str, str]) -> bool:
    """Whether the keys and values have more than `MAX_BYTES` bytes."""
    return sum(len(key) + len(value.encode(errors="surrogatepass")) for key, value in entries.items()) > MAX_BYTES


def merged(entries: Mapping[str, str], patch: Mapping[str, str | None]) -> dict[str, str]:
    """Return the entries after a merge patch: None removes an entry (RFC 7396).

    Raises
    ------
    InvalidError
        They would be too many, or too large.
    """
    together = {key: value for key, value in {**entries, **patch}.items() if value is not None}
    errors = []
    if len(together) > MAX_ENTRIES:
        detail = f"The customer would have {len(together)} entries. At most {MAX_ENTRIES} are possible."
        errors.append(FieldError(pointer="#/metadata", code="too_many_entries", detail=detail))
    if too_large(together):
        detail = f"The customer's entries would have more than {MAX_BYTES} bytes in all."
        errors.append(FieldError(pointer="#/metadata", code="metadata_too_large", detail=detail))
    if errors:
        raise InvalidError(errors)
    return together
