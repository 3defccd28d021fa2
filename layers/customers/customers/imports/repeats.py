"""Rows about customers that an earlier row of the same file is about, found in one pass and in constant memory."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final

from customers.imports.files.columns import EXTERNAL_ID, ID
from customers.imports.files.values import RowParser

if TYPE_CHECKING:
    from collections.abc import Iterable

    from customers.imports.files.rows import Layout, Row

_BYTES: Final = 8 * 1024 * 1024
_PROBES: Final = struct.Struct("<4I")
"""Places in the filter: after a million names, about one of 90,000 new ones is taken for a repeated one."""
_SHORTEST: Final = 12
"""Bytes of a row. A shorter one has no room for the fields that each customer has, so it is rejected."""


class Repeats:
    """Tells which rows of a file repeat an id or external id.

    A Bloom filter: it may be wrong about a row that repeats nothing, and never about one that does.

    Parameters
    ----------
    seen_all
        Whether it sees the file from its first row on. Otherwise, every row may repeat an earlier one.
    """

    def __init__(self, *, seen_all: bool) -> None:
        self._seen_all = seen_all
        self._bits = bytearray(_BYTES)

    def among(self, rows: Iterable[Row], layout: Layout) -> int:
        """Return a bit for each of the next rows, the first row's the lowest: 1 if it may repeat an earlier one."""
        if layout.format == "csv" and ID not in layout.columns and EXTERNAL_ID not in layout.columns:
            # A row that is known by its content changes nothing.
            return 0
        names, found = RowParser(layout).names, 0
        for index, row in enumerate(rows):
            if len(row.original) < _SHORTEST:
                continue
            seen = [self._seen(name) for name in names(row.original)]
            if any(seen) or (seen and not self._seen_all):
                found |= 1 << index
        return found

    def _seen(self, name: str) -> bool:
        """Note a name, and return whether it may have been there."""
        digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=_PROBES.size).digest()
        seen = True
        for probe in _PROBES.unpack(digest):
            place, bit = (probe >> 3) % _BYTES, 1 << (probe & 7)
            seen = seen and bool(self._bits[place] & bit)
            self._bits[place] |= bit
        return seen
