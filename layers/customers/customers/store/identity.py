"""Ids that a repeated operation repeats, so that it finds the rows that its first attempt wrote."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import NamedTuple

from customers.ids import MAX_ID


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
        return int.from_bytes(hashed[:16]) % MAX_ID + 1
