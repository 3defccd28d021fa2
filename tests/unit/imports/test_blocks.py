"""A file's bytes come in blocks, decompressed, in constant memory and linear time."""

from __future__ import annotations

import gzip
import io
import random
import tracemalloc
import zlib

import pytest

from customers.imports.files import blocks
from customers.imports.files.blocks import Blocks, Buffer
from customers.imports.files.reader import RowReader
from customers.imports.files.rows import MAX_ROW_BYTES, BrokenError
from tests.unit.imports.samples import GOOD, HEAD, Slow


@pytest.mark.parametrize("line", [b"", b"A" * 200 + GOOD], ids=["one line", "rows"])
def test_a_zip_bomb_is_cut_off_in_constant_memory(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_EXPANSION_FREE_BYTES", 4_000_000)
    packer = zlib.compressobj(9, wbits=31)
    data = packer.compress(HEAD) + b"".join(packer.compress(line * 1_000 or b"x" * 1_000_000) for _ in range(100))
    data += packer.flush()
    tracemalloc.start()
    reader = RowReader(io.BytesIO(data))
    rows = sum(1 for _ in reader)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reader.broken is not None
    assert reader.broken.code == "gzip_expands"
    assert rows == reader.broken.row - 1
    assert peak < 4_000_000


class TestExpansion:
    """A file may expand to three blocks, or to twice its size. The limit counts the whole file, however it comes."""

    @pytest.fixture(autouse=True)
    def limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(blocks, "_BLOCK_BYTES", 1000)
        monkeypatch.setattr(blocks, "_EXPANSION_FREE_BYTES", 3000)
        monkeypatch.setattr(blocks, "_MAX_EXPANSION", 2)

    @staticmethod
    def read(data: bytes, most: int = 1000) -> bytes:
        reader, read = Blocks(Slow(data, most), packed=None), bytearray()
        while block := reader.read():
            assert len(block) <= 1000
            read += block
        return bytes(read)

    @pytest.mark.parametrize("files", [1, 3])
    def test_a_file_that_expands_up_to_the_limit_is_read(self, files: int) -> None:
        data = bytes(3000 // files)
        assert self.read(gzip.compress(data) * files) == bytes(3000)

    @pytest.mark.parametrize("files", [1, 3])
    def test_a_file_that_expands_further_is_cut_off_after_the_blocks_within_the_limit(self, files: int) -> None:
        reader = Blocks(io.BytesIO(gzip.compress(bytes(1000)) * (files - 1) + gzip.compress(bytes(5000))), packed=None)
        for _ in range(3):
            assert reader.read() == bytes(1000)
        with pytest.raises(BrokenError) as caught:
            reader.read()
        assert caught.value.code == "gzip_expands"

    @pytest.mark.parametrize("most", [100, 1000])
    def test_a_file_that_expands_little_may_be_of_any_size(self, most: int) -> None:
        data = random.randbytes(50_000)
        assert self.read(gzip.compress(data), most) == data


def test_a_buffer_holds_a_row_more_after_each_filling_however_little_the_stream_gives() -> None:
    data = bytes(range(256)) * 1024
    buffer = Buffer(Blocks(Slow(data, 2), packed=False), 0)
    for read in (MAX_ROW_BYTES, 2 * MAX_ROW_BYTES):
        assert buffer.fill()
        assert len(buffer.data) == read
    buffer.at = 1000
    assert buffer.fill()
    assert (buffer.offset, buffer.at) == (1000, 0), "what was read is dropped"
    assert buffer.data == data[1000 : 1000 + len(buffer.data)]


def test_a_file_is_at_its_end_when_every_byte_is_read() -> None:
    buffer = Buffer(Blocks(io.BytesIO(b"ab"), packed=False), 0)
    for taken in (b"a", b"b"):
        with pytest.raises(RuntimeError):
            buffer.check_at_end()
        assert buffer.take(1) == taken
    buffer.check_at_end()
