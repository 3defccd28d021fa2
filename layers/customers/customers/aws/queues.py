"""Functions that receive messages from SQS. Each message is handled on its own; those that fail are delivered again."""

from __future__ import annotations

import functools
import json
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from customers.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_sqs import SQSClient


def consumer(
    handle: Callable[[dict[str, Any], Any], None],
) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """Turn a function of a message and Lambda's context into the handler of a batch.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
    """

    @functools.wraps(handle)
    def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401 (Lambda's own)
        failures = []
        for record in event["Records"]:
            try:
                handle(record, context)
            except Exception as error:  # noqa: BLE001 (the other messages continue, and this one is delivered again)
                _log(error, record)
                failures.append({"itemIdentifier": record["messageId"]})
        return {"batchItemFailures": failures}

    return lambda_handler


def send_again(client: SQSClient, queue_url: str, record: dict[str, Any]) -> None:
    """Send a record of S3's message again as a separate message."""
    client.send_message(QueueUrl=queue_url, MessageBody=json.dumps({"Records": [record]}))


def return_at_once(client: SQSClient, queue_url: str, message: dict[str, Any]) -> None:
    """Make a message visible again at once, so that it soon reaches the dead-letter queue.

    If this fails, it is delivered again later.
    """
    with suppress(ClientError):
        client.change_message_visibility(
            QueueUrl=queue_url, ReceiptHandle=message["receiptHandle"], VisibilityTimeout=0
        )


def _log(error: Exception, record: dict[str, Any]) -> None:
    # Places and types only, because an error's text may quote data.
    frames = traceback.extract_tb(error.__traceback__)
    logger.error(
        "message failed",
        message_id=record["messageId"],
        receive_count=record.get("attributes", {}).get("ApproximateReceiveCount"),
        error=type(error).__name__,
        cause=type(error.__cause__).__name__ if error.__cause__ else None,
        places=[f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames[-5:]],
    )
