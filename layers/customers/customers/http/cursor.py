"""Page cursors: where the next page starts, sealed.

A cursor contains the last sort text of a page, and so a name or an email address. It travels in URLs, which end up in
logs and histories, so it is encrypted, not only signed. The construction is SIV (RFC 5297) with HMAC-SHA-256 as the
pseudorandom function and SHAKE-256 as the key stream. It is deterministic and needs no nonce and no library.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

_TAG_BYTES: Final = 16


class CursorSealer:
    """Seals and opens cursors.

    Parameters
    ----------
    key
        Any text that clients do not know. Changing it invalidates all cursors.
    """

    def __init__(self, key: str) -> None:
        self._tag_key = hashlib.sha256(b"tag:" + key.encode()).digest()
        self._stream_key = hashlib.sha256(b"stream:" + key.encode()).digest()

    def seal(self, position: str, bound_to: str) -> str:
        """Return the cursor for a position. It opens only with the same `bound_to`."""
        plain = position.encode()
        tag = self._tag(plain, bound_to)
        return base64.urlsafe_b64encode(tag + self._mask(plain, tag)).rstrip(b"=").decode()

    def open(self, cursor: str, bound_to: str) -> str | None:
        """Return the position in a cursor; None if it was not sealed here for `bound_to`."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        tag, masked = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        plain = self._mask(masked, tag)
        # The last comparison, because base64 has spare bits, and only one spelling of a cursor is ours.
        if not hmac.compare_digest(tag, self._tag(plain, bound_to)) or self.seal(plain.decode(), bound_to) != cursor:
            return None
        return plain.decode()

    def _tag(self, plain: bytes, bound_to: str) -> bytes:
        # The length separates the two parts.
        message = len(bound_to.encode()).to_bytes(4) + bound_to.encode() + plain
        return hmac.digest(self._tag_key, message, "sha256")[:_TAG_BYTES]

    def _mask(self, data: bytes, tag: bytes) -> bytes:
        stream = hashlib.shake_256(self._stream_key + tag).digest(len(data))
        return bytes(a ^ b for a, b in zip(data, stream, strict=True))
