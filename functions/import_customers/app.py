"""A chunk of a file, or a message of the import queue: write its customers."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, Final

from botocore.exceptions import ClientError

from customers import aws
from customers.import_chunks import Chunk
from customers.imports import Imports, UnreadableMessageError
from customers.queues import consumer
from customers.store import CustomerStore

imports = Imports()
store = CustomerStore(imports.dynamodb, os.environ["CUSTOMERS_TABLE"])

queues = aws.client("sqs")

CHUNK_QUEUE_ARN: Final = os.environ["CHUNK_QUEUE_ARN"]
IMPORT_QUEUE_URL: Final = os.environ["IMPORT_QUEUE_URL"]


@consumer
def lambda_handler(message: dict[str, Any], _context: object) -> None:
    """Import one message. One that cannot be read fails, and so ends whole in the dead-letter queue."""
    imports.write_customers(_chunk_in(message), store)


def _chunk_in(message: dict[str, Any]) -> Chunk:
    if message["eventSourceARN"] == CHUNK_QUEUE_ARN:
        return Chunk.of_message(message["body"])
    try:
        return imports.message_chunk(message["messageId"], message["body"])
    except UnreadableMessageError:
        # It will not become readable: let it come again at once, until it has come often enough for the dead letters.
        # If that fails, it comes again all the same, later.
        with suppress(ClientError):
            queues.change_message_visibility(
                QueueUrl=IMPORT_QUEUE_URL, ReceiptHandle=message["receiptHandle"], VisibilityTimeout=0
            )
        raise
