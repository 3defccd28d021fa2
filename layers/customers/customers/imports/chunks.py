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
    from customers.imports.files.rows import Position

# Where chunks begin depends on these three, so a change renumbers the chunks of an import that is being cut. Wait until
# the queue of files is empty before you deploy it or roll it back (docs/runbook.md).
_ROWS: Final = 1000
_BYTES: Final = 75_000
"""With one more row of 64 KB, not compressible and in base 64, and the widest layout, it fits into a message of 256 KB.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
"""
_SPAN: Final = 8 * 1024 * 1024
"""Of the file, from the end of a chunk's first row to the end of its last one: blank lines are not read for ever."""
_BATCH: Final = 10
_BATCH_BYTES: Final = 250_000
_LENGTH: Final = struct.Struct(">I")


class Chunk(NamedTuple):
    """Some rows of an import, one after the other."""

    import_id: str
    number: int
    """From 1."""
    layout: Layout
    put_at: str
    """When its file or message was put there, as in a customer's `created_at`."""
    restore: bool
    """Whether its rows create customers again that were deleted."""
    rows: list[Row]
    """At least one, in order and without gaps."""
    repeats: int = 0
    """A bit for each row, the first one's the lowest: whether an earlier row may be about the same customer."""

    def message(self) -> str:
        """Return it as a message: JSON around the rows, byte for byte as they came, compressed."""
        rows = b"".join(_LENGTH.pack(len(row.original)) + row.original for row in self.rows)
        return json.dumps(
            {
                **({"repeats": f"{self.repeats:x}"} if self.repeats else {}),
                "import_id": self.import_id,
                "chunk": self.number,
                "layout": self.layout,
                "put_at": self.put_at,
                "restore": self.restore,
                "first_row": self.rows[0].number,
                "rows": base64.b64encode(zlib.compress(rows, 1)).decode(),
            }
        )

    @classmethod
    def of_message(cls, text: str) -> Chunk:
        """Read a message."""
        message: dict[str, Any] = json.loads(text)
        packed = zlib.decompress(base64.b64decode(message["rows"]))
        rows: list[Row] = []
        at = 0
        while at < len(packed):
            (length,) = _LENGTH.unpack_from(packed, at)
            at += _LENGTH.size
            rows.append(Row(message["first_row"] + len(rows), packed[at : at + length]))
            at += length
        layout, repeats = Layout.of_json(message["layout"]), int(message.get("repeats", "0"), 16)
        return cls(message["import_id"], message["chunk"], layout, message["put_at"], message["restore"], rows, repeats)


class Cut(NamedTuple):
    """A step through a file: the rows of the next chunk, or none if the file has no row for a while."""

    rows: list[Row]
    position: Position
    """Where the next step begins."""


def cuts(reader: RowReader) -> Iterator[Cut]:
    """Cut a file into chunks. Where they begin depends only on the file, so a repetition yields the same chunks.

    A step takes a bounded time, whatever the file is, so that after each one the caller can look at the clock.

    Parameters
    ----------
    reader
        The file.
    """
    rows: list[Row] = []
    size = first_end = end = 0
    reached = reader.offset
    for row in reader.steps():
        offset = reader.offset
        if rows and offset - first_end > _SPAN:
            # Whatever comes next is too far from the chunk's first row to belong to it.
            yield Cut(rows, reader.position_at(end, rows[-1].number))
            rows, size = [], 0
        if row is not None:
            first_end = first_end if rows else offset
            end = offset
            rows.append(row)
            size += len(row.original)
        if len(rows) == _ROWS or size >= _BYTES or (not rows and offset > reached):
            reached = offset
            yield Cut(rows, reader.position_at(offset, reader.rows))
            rows, size = [], 0
    if rows:
        yield Cut(rows, reader.position_at(end, reader.rows))


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
