"""Entity tags: a customer's version in quotes (RFC 9110, section 8.8.3)."""

from __future__ import annotations

import re
from typing import Final

_ELEMENT: Final = re.compile(r'[ \t]*(?:(?:W/)?"([^\x00-\x20"\x7f]*)"[ \t]*)?(,|\Z)')
"""One element of a list, which may be empty (RFC 9110, section 5.6.1), and what ends it. A tag may contain commas."""

_VERSION: Final = re.compile(r"([1-9][0-9]{0,15})(?:-(?:gzip|br|deflate|zstd))?")
"""Intermediaries mark a tag while they compress, as Apache's mod_deflate does. The number names the state all the same,
and so does a weakened tag (`W/"3"`, as nginx sends it): the comparison is by number."""


def etag(version: int) -> dict[str, str]:
    """Return the header that names a customer's version."""
    return {"ETag": f'"{version}"'}


def versions(field: str) -> set[int] | None:
    """Return the versions that a list of tags names; None if the list is malformed or empty.

    A tag that no version has, such as `"x"`, is well-formed and names none.
    """
    found: set[int] = set()
    tags = position = 0
    while True:
        element = _ELEMENT.match(field, position)
        if element is None:
            return None
        if element[1] is not None:
            tags += 1
            if version := _VERSION.fullmatch(element[1]):
                found.add(int(version[1]))
        if not element[2]:
            return found if tags else None
        position = element.end()
