"""The bytes of a file: read in blocks, decompressed, and buffered for a reader."""

from __future__ import annotations

import re
import zlib
from contextlib import suppress
from typing import Final, Protocol

from customers.imports.files.rows import MAX_ROW_BYTES, BrokenError

_BLOCK_BYTES: Final = 256 * 1024
_MAX_EXPANSION: Final = 250
"""How many times its size a gzip file may expand to, beyond `_EXPANSION_FREE_BYTES`. Customers compress to a tenth, a
zip bomb to a thousandth."""
_EXPANSION_FREE_BYTES: Final = 64 * 1024 * 1024
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WBITS: Final = 31
_NOT_SPACE: Final = re.compile(rb"[^ \t\r\n]")


class ByteStream(Protocol):
    """What a file is read from: an open file, or the body of an S3 object."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""


class Blocks:
    """A stream in blocks, decompressed if its content is gzip, whatever its name.

    Parameters
    ----------
    stream
        The file, from its start or from where reading continues.
    packed
        Whether it is a gzip file; None to find out.
    """

    def __init__(self, stream: ByteStream, packed: bool | None) -> None:  # noqa: FBT001 (Position's own field)
        self._stream = stream
        self._pending = b""
        self._decompressor = zlib.decompressobj(_GZIP_WBITS)
        self._bytes_in = 0
        self._bytes_out = 0
        self._known = packed is not None
        self._damaged = False
        self.packed = bool(packed)

    def read(self) -> bytes:
        """Return the next block; an empty one at the end of the file.

        Raises
        ------
        BrokenError
            It is a gzip file, and damaged here.
        """
        if not self._known:
            self._known = True
            while len(self._pending) < len(_GZIP_MAGIC) and (more := self._more()):
                self._pending += more
            self.packed = self._pending.startswith(_GZIP_MAGIC)
        if self.packed:
            return self._decompressed()
        block, self._pending = self._pending or self._more(), b""
        return block

    def _more(self) -> bytes:
        block = self._stream.read(_BLOCK_BYTES)
        self._bytes_in += len(block)
        return block

    def _decompressed(self) -> bytes:
        if self._damaged:
            raise _damaged()
        while True:
            if self._decompressor.eof:
                # Several gzip files in one are one file (RFC 1952, section 2.2). Some tools pad with zeros.
                self._pending = self._decompressor.unused_data.lstrip(b"\0") or self._more().lstrip(b"\0")
                if not self._pending:
                    return b""
                self._decompressor = zlib.decompressobj(_GZIP_WBITS)
            self._pending = self._pending or self._more()
            if not self._pending:
                raise BrokenError("gzip_cut_off", "The gzip file is cut off here.")
            before = self._decompressor.copy()
            try:
                block = self._decompressor.decompress(self._pending, _BLOCK_BYTES)
            except zlib.error:
                return self._before_damage(before)
            self._pending = self._decompressor.unconsumed_tail
            self._bytes_out += len(block)
            if self._bytes_out > max(_EXPANSION_FREE_BYTES, self._bytes_in * _MAX_EXPANSION):
                raise BrokenError(
                    "gzip_expands", f"The gzip file expands to more than {_MAX_EXPANSION} times its size."
                )
            if block:
                return block

    def _before_damage(self, decompressor: zlib._Decompress) -> bytes:
        """Return what a damaged block contains before the damage: at most a block, as the first try found no more."""
        good = bytearray()
        for at in range(len(self._pending)):
            try:
                good += decompressor.decompress(self._pending[at : at + 1])
            except zlib.error:
                break
        self._damaged = True
        if not good:
            raise _damaged()
        return bytes(good)


class Buffer:
    """The part of a file that its reader holds in memory: one or two blocks, and the row that it is reading.

    A reader looks at `data` from `at` on, and counts from there, because `fill` drops what comes before.

    Parameters
    ----------
    blocks
        The file.
    offset
        Bytes of the decompressed file that come before the first block.
    """

    def __init__(self, blocks: Blocks, offset: int) -> None:
        self._blocks = blocks
        self._dropped = offset
        self._damage: BrokenError | None = None
        self.data = b""
        self.at = 0

    @property
    def offset(self) -> int:
        """How many bytes of the decompressed file come before the reader's position."""
        return self._dropped + self.at

    def fill(self) -> bool:
        """Read at least as many bytes as the longest row has, if there are so many, and return whether there were any.

        So a search that restarts after each call takes time proportional to the bytes, whatever the blocks are.

        Raises
        ------
        BrokenError
            The file is damaged here. What came before the damage was read by earlier calls.
        """
        if self._damage is not None:
            raise self._damage
        blocks, size = [], 0
        try:
            while size < MAX_ROW_BYTES and (block := self._blocks.read()):
                blocks.append(block)
                size += len(block)
        except BrokenError as damage:
            self._damage = damage
            if not blocks:
                raise
        if not blocks:
            return False
        self._dropped += self.at
        self.data = b"".join([self.data[self.at :], *blocks])
        self.at = 0
        return True

    def fill_up_to(self, size: int) -> None:
        """Read until there are `size` unread bytes, or up to the end or the first damage."""
        with suppress(BrokenError):
            while len(self.data) - self.at < size and self.fill():
                pass

    def take(self, length: int) -> bytes:
        """Return some bytes, and move the position after them."""
        start = self.at
        self.at = end = start + length
        return self.data[start:end]

    def rest(self) -> bytes:
        """Return all that is held from the reader's position on."""
        return self.data[self.at :]

    def cut_off_unfinished_line(self) -> None:
        """Drop what is held after the last line end."""
        end = max(self.data.rfind(b"\n"), self.data.rfind(b"\r")) + 1
        self.data = self.data[: max(end, self.at)]

    def pass_space(self) -> bool:
        """Skip white space, and return whether anything follows it."""
        while (found := _NOT_SPACE.search(self.data, self.at)) is None:
            self.at = len(self.data)
            if not self.fill():
                return False
        self.at = found.start()
        return True

    def skip_to(self, offset: int) -> None:
        """Move the position after some bytes of the decompressed file."""
        while self._dropped + len(self.data) < offset:
            self.at = len(self.data)
            if not self.fill():
                raise BrokenError("cut_off", "The file is shorter than it was.")
        self.at = offset - self._dropped

    def check_at_end(self) -> None:
        """Raise RuntimeError unless everything was read, so that no reader's bug passes for the end of the file."""
        if self.at < len(self.data) or self.fill():
            raise RuntimeError("the reader stopped before the end of the file")


def _damaged() -> BrokenError:
    return BrokenError("gzip_damaged", "The gzip file is damaged here.")
