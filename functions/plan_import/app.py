"""A file in the import bucket: cut it into chunks of rows, and send them to the chunk queue."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

import customers.aws.cold_start
from customers.aws import clients
from customers.aws.queues import consumer, send_again
from customers.imports.bucket import RESTORE_DELETED, FileDelivery, FileGoneError
from customers.imports.chunks import Chunk, ChunkSender, cuts
from customers.imports.files.mapping import ColumnMapping, MappingError
from customers.imports.files.reader import RowReader
from customers.imports.files.rows import WRONG_MAPPING
from customers.imports.repeats import Repeats
from customers.imports.run import Imports

if TYPE_CHECKING:
    from customers.imports.store import Import

imports = Imports()
queues = clients.client("sqs")

CHUNK_QUEUE_URL: Final = os.environ["CHUNK_QUEUE_URL"]
PLAN_QUEUE_URL: Final = os.environ["PLAN_QUEUE_URL"]
ENOUGH_MILLISECONDS: Final = 300_000
"""For sending the last chunks and handing over. Each takes two minutes if SQS does not respond."""
BYTES_BETWEEN_POSITIONS: Final = 2_000_000
"""Of the file, decompressed: some twenty chunks."""


@consumer
def lambda_handler(message: dict[str, Any], context: Any) -> None:  # noqa: ANN401 (Lambda's own)
    """Plan the files of one message. S3's test message, the very first one, names none."""
    for record in imports.records_in(json.loads(message["body"])):
        file = FileDelivery.of_record(record)
        known = imports.begin_file(file)
        if known.finished:
            continue
        if known.planned is None and not _cut(file, known, context):
            # Time is running out: send the same record again, to continue from the saved position.
            send_again(queues, PLAN_QUEUE_URL, record)
        else:
            imports.finish_if_done(file.import_id)


def _cut(file: FileDelivery, known: Import, context: Any) -> bool:  # noqa: ANN401 (Lambda's own)
    """Send the file's chunks from the saved position, and return whether all are sent."""
    start = 0 if known.position is None or known.position.packed else known.position.offset
    try:
        opened = imports.bucket.open(file.key, file.etag, start)
        mapping = ColumnMapping.of_metadata(opened.metadata)
    except FileGoneError:
        imports.stop(known, "gone", "The file was deleted or replaced before it was read.")
        return True
    except MappingError as error:
        imports.stop(known, WRONG_MAPPING, error.detail)
        return True
    restore = opened.metadata.get(RESTORE_DELETED) == "true"
    reader = RowReader(opened.stream, known.position, mapping)
    sender = ChunkSender(queues, CHUNK_QUEUE_URL)
    sent, kept = known.sent, 0 if known.position is None else known.position.offset
    repeats = Repeats(seen_all=known.position is None)
    for rows, position in cuts(reader):
        if rows:
            sent += 1
            repeated = repeats.among(rows, position.layout)
            sender.add(Chunk(file.import_id, sent, position.layout, file.put_at, restore, rows, repeated))
        low = context.get_remaining_time_in_millis() < ENOUGH_MILLISECONDS
        if low or position.offset - kept >= BYTES_BETWEEN_POSITIONS:
            sender.flush()
            imports.store.keep_position(known, position, sent)
            kept = position.offset
        if low:
            return False
    sender.flush()
    imports.store.plan(known, sent, reader.broken)
    return True


customers.aws.cold_start.over()
