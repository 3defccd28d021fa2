"""Chunks: the rows that one function imports at a time, as a message of the chunk queue."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from customers.imports.files.rows import Layout, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_sqs import SQSClient

    from customers.imports.files.reader import RowReader

# Where chunks begin depends on these two, so a change renumbers the chunks of an import that is being cut. Wait until
# the queue of files is empty before you deploy it or roll it back (docs/runbook.md).
_ROWS: Final = 1000
_BYTES: Final = 100_000
"""Even with one more row of 64 KB, not compressible and in base 85, it fits into a message of 256 KB."""
_BATCH: Final = 10
_BATCH_BYTES: Final = 250_000
_LENGTH: Final = struct.Struct(">I")


class Chunk(NamedTuple):
    """Some rows of an import, one after the other."""

    import_id: str
    number: int
    """From 1."""
    layout: Layout
    started_at: str
    """When the import started, as in a customer's `created_at`."""
    rows: list[Row]
    """At least one, in order and without gaps."""

    def message(self) -> str:
        """Return it as a message: JSON around the rows, byte for byte as they came, compressed."""
        rows = b"".join(_LENGTH.pack(len(row.original)) + row.original for row in self.rows)
        return json.dumps(
            {
                "import_id": self.import_id,
                "chunk": self.number,
                "layout": self.layout,
                "started_at": self.started_at,
                "first_row": self.rows[0].number,
                "rows": base64.b85encode(zlib.compress(rows, 1)).decode(),
            }
        )

    @classmethod
    def of_message(cls, text: str) -> Chunk:
        """Read a message."""
        message: dict[str, Any] = json.loads(text)
        packed = zlib.decompress(base64.b85decode(message["rows"]))
        kind, columns, delimiter = message["layout"]
        rows: list[Row] = []
        at = 0
        while at < len(packed):
            (length,) = _LENGTH.unpack_from(packed, at)
            at += _LENGTH.size
            rows.append(Row(message["first_row"] + len(rows), packed[at : at + length]))
            at += length
        layout = Layout(kind, tuple(columns), delimiter)
        return cls(message["import_id"], message["chunk"], layout, message["started_at"], rows)


def chunks(reader: RowReader, import_id: str, started_at: str, after: int) -> Iterator[Chunk]:
    """Cut a file into chunks. Where they begin depends only on the file, so a repetition yields the same chunks.

    Parameters
    ----------
    reader
        The file. After each chunk its position is the chunk's end.
    import_id, started_at
        The import.
    after
        The number of the chunk before the first one.
    """
    number, rows, size = after, [], 0
    for row in reader:
        rows.append(row)
        size += len(row.original)
        if len(rows) == _ROWS or size >= _BYTES:
            number += 1
            assert reader.layout is not None  # noqa: S101 (for the type checker)
            yield Chunk(import_id, number, reader.layout, started_at, rows)
            rows, size = [], 0
    if rows:
        assert reader.layout is not None  # noqa: S101 (for the type checker)
        yield Chunk(import_id, number + 1, reader.layout, started_at, rows)


class ChunkSender:
    """Sends chunks to the chunk queue, up to ten in a call."""

    def __init__(self, client: SQSClient, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url
        self._messages: list[str] = []
        self._size = 0

    def add(self, chunk: Chunk) -> None:
        """Add a chunk, which is sent with others at the latest by `flush`."""
        message = chunk.message()
        if len(self._messages) == _BATCH or self._size + len(message) > _BATCH_BYTES:
            self.flush()
        self._messages.append(message)
        self._size += len(message)

    def flush(self) -> None:
        """Send the chunks that have not been sent."""
        waiting: Sequence[str] = self._messages
        self._messages, self._size = [], 0
        if not waiting:
            return
        answer = self._client.send_message_batch(
            QueueUrl=self._queue_url,
            Entries=[{"Id": str(index), "MessageBody": message} for index, message in enumerate(waiting)],
        )
        for failed in answer.get("Failed", []):
            # One by one, with the SDK's retries. If this fails, the whole invocation fails and is delivered again.
            self._client.send_message(QueueUrl=self._queue_url, MessageBody=waiting[int(failed["Id"])])
