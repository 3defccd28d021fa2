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
import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TAG_BYTES: Final = 16
_KEEP_SECONDS: Final = 300
"""How long keys are used without reading them again, and so how long a key may outlive its replacement."""
_DOUBT_SECONDS: Final = 1
"""How old the keys must be to be read again for a cursor that does not open: it may be sealed with a newer key."""


class CursorSealer:
    """Seals and opens cursors. Reads its keys when it first needs them.

    Parameters
    ----------
    read_keys
        Returns the current key and then older ones that still open cursors: texts that clients do not know.
    """

    def __init__(self, read_keys: Callable[[], Sequence[str]]) -> None:
        self._read_keys = read_keys
        self._ciphers: list[_Cipher] = []
        self._read_at = -math.inf

    def seal(self, position: str, bound_to: str) -> str:
        """Return the cursor for a position. It opens only with the same `bound_to`."""
        sealed = self._known(_KEEP_SECONDS)[0].seal(position.encode(), bound_to)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, cursor: str, bound_to: str) -> str | None:
        """Return the position in a cursor; None if it was not sealed here for `bound_to`."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        # Base64 has spare bits, and only one spelling of a cursor is ours.
        if len(raw) < _TAG_BYTES or base64.urlsafe_b64encode(raw).rstrip(b"=") != cursor.encode():
            return None
        for seconds in (_KEEP_SECONDS, _DOUBT_SECONDS):
            for cipher in self._known(seconds):
                plain = cipher.open(raw, bound_to)
                if plain is not None:
                    return _text(plain)
        return None

    def _known(self, seconds: float) -> list[_Cipher]:
        """Return a cipher for each key, the current one first, from keys read at most some seconds ago."""
        if time.monotonic() - self._read_at > seconds:
            self._ciphers = [_Cipher(key) for key in self._read_keys()]
            self._read_at = time.monotonic()
        return self._ciphers


class _Cipher:
    def __init__(self, key: str) -> None:
        self._tag_key = hashlib.sha256(b"tag:" + key.encode()).digest()
        self._stream_key = hashlib.sha256(b"stream:" + key.encode()).digest()

    def seal(self, plain: bytes, bound_to: str) -> bytes:
        tag = self._tag(plain, bound_to)
        return tag + self._mask(plain, tag)

    def open(self, sealed: bytes, bound_to: str) -> bytes | None:
        tag, masked = sealed[:_TAG_BYTES], sealed[_TAG_BYTES:]
        plain = self._mask(masked, tag)
        return plain if hmac.compare_digest(tag, self._tag(plain, bound_to)) else None

    def _tag(self, plain: bytes, bound_to: str) -> bytes:
        # The length separates the two parts.
        message = len(bound_to.encode()).to_bytes(4) + bound_to.encode() + plain
        return hmac.digest(self._tag_key, message, "sha256")[:_TAG_BYTES]

    def _mask(self, data: bytes, tag: bytes) -> bytes:
        stream = hashlib.shake_256(self._stream_key + tag).digest(len(data))
        return bytes(a ^ b for a, b in zip(data, stream, strict=True))


def _text(plain: bytes) -> str | None:
    try:
        return plain.decode()
    except UnicodeDecodeError:
        # Only someone who has the key can have sealed this.
        return None
