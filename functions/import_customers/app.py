"""A chunk of a file, or a message of the import queue: write its customers."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any, Final

import customers.aws.cold_start
from customers.aws import clients
from customers.aws.queues import consumer, return_at_once
from customers.imports.chunks import Chunk
from customers.imports.messages import UnreadableMessageError
from customers.imports.run import Imports
from customers.store.items import timestamp
from customers.store.rows import RowStore

imports = Imports()
store = RowStore(imports.dynamodb, os.environ["CUSTOMERS_TABLE"])

queues = clients.client("sqs")

CHUNK_QUEUE_ARN: Final = os.environ["CHUNK_QUEUE_ARN"]
IMPORT_QUEUE_URL: Final = os.environ["IMPORT_QUEUE_URL"]


@consumer
def lambda_handler(message: dict[str, Any], _context: object) -> None:
    """Import one message. If it cannot be read, it fails, and moves unchanged to the dead-letter queue."""
    imports.write_customers(_chunk_in(message), store)


def _chunk_in(message: dict[str, Any]) -> Chunk:
    if message["eventSourceARN"] == CHUNK_QUEUE_ARN:
        return Chunk.of_message(message["body"])
    try:
        # The same in each delivery.
        sent_at = datetime.fromtimestamp(int(message["attributes"]["SentTimestamp"]) / 1000, UTC)
        return imports.message_chunk(message["messageId"], message["body"], timestamp(sent_at))
    except UnreadableMessageError:
        # It will not become readable.
        return_at_once(queues, IMPORT_QUEUE_URL, message)
        raise


customers.aws.cold_start.over()
