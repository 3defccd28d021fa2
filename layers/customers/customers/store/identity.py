"""Ids that a repeated operation repeats, so that it finds the rows that its first attempt wrote."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from customers.ids import MAX_ID
from customers.store.author import Author

if TYPE_CHECKING:
    from customers.customer import NewCustomer
    from customers.store.items import Item

HALF: Final = (MAX_ID + 1) // 2
"""Ids from here on belong to external ids, and those below it to customers without one."""


def random_id() -> int:
    """Return an id for a customer without an external id."""
    return secrets.randbelow(HALF - 1) + 1


def digest(*parts: str) -> str:
    """Return 128 bits that identify some texts, in 22 characters (base64url)."""
    return base64.urlsafe_b64encode(hashlib.sha256(json.dumps(parts).encode()).digest()[:16])[:22].decode()


class RequestName(NamedTuple):
    """Identifies a request that may be repeated. A repetition derives the same ids, and finds its own rows."""

    name: str
    """Identifies this request, and no other at any time: ids are never reused."""
    payload: str
    """A digest of what it asks for."""

    def id(self, index: int, draw: int) -> int:
        """Derive a customer's id.

        Parameters
        ----------
        index
            Which customer of the request.
        draw
            How many ids before this one were taken by others.
        """
        hashed = hashlib.sha256(f"{self.name} {index} {draw}".encode()).digest()
        return int.from_bytes(hashed[:16]) % (HALF - 1) + 1


class ImportRow(NamedTuple):
    """A valid row of an import, and who it says it is."""

    customer: NewCustomer
    id: int | None = None
    """The customer that it says it is; one that does not exist does not count."""
    version: int | None = None
    """The only version of the customer that it may replace; None for any."""
    repeats: bool = False
    """Whether an earlier row of the same source may be about the same customer, and may come later."""


class Source(NamedTuple):
    """Where rows come from."""

    name: str
    """Identifies the import."""
    put_at: str
    """When its file or message was put there, as `now` returns it. It does not replace what was written later."""
    restore: bool = False
    """Whether it creates customers again that were deleted."""

    def token(self, number: int) -> str:
        """Return what identifies a row among all writes."""
        return f"{self.name}:{number}"

    def wrote(self, item: Item) -> bool:
        """Whether one of the rows was the last to write an item."""
        return str(item.get("write_token", {}).get("S", "")).startswith(f"{self.name}:")

    def author(self, number: int) -> Author:
        """Return a row as the author of a change."""
        return Author(import_id=self.name, row=number)

    def order(self, number: int) -> str:
        """Return what decides which of two writes is the later one."""
        return f"{self.put_at} {number:010}"


class Salt(NamedTuple):
    """Derives ids from external ids. Without the salt, nobody can compute or reverse them."""

    value: str

    def id(self, external_id: str, draw: int) -> int:
        """Derive a customer's id, in the upper half.

        Parameters
        ----------
        external_id
            The external id.
        draw
            How many ids before this one are those of other external ids.
        """
        return HALF + int.from_bytes(self._hash(f"id {draw}", external_id)[:16]) % HALF

    def key_hash(self, external_id: str) -> str:
        """Return what tells an external id from others with the same id: 128 bits, in 22 characters (base64url)."""
        return base64.urlsafe_b64encode(self._hash("key", external_id)[:16])[:22].decode()

    def content_id(self, content: str, draw: int) -> int:
        """Derive the id of a customer that is known by its content, in the lower half; as `id`."""
        return int.from_bytes(self._hash(f"content {draw}", content)[:16]) % (HALF - 1) + 1

    def content_hash(self, content: str) -> str:
        """Return what tells a content from others with the same id; as `key_hash`."""
        return base64.urlsafe_b64encode(self._hash("content", content)[:16])[:22].decode()

    def _hash(self, purpose: str, external_id: str) -> bytes:
        hashed = _keyed(self.value).copy()
        hashed.update(f"{purpose} {external_id}".encode())
        return hashed.digest()


@lru_cache(maxsize=1)
def _keyed(salt: str) -> hmac.HMAC:
    """Return the start of each hash with a salt: a copy of it takes half as long as a new one."""
    return hmac.new(salt.encode(), digestmod="sha256")
