"""Functions that take messages from SQS: each message on its own, and those that fail are delivered again."""

from __future__ import annotations

import functools
import traceback
from typing import TYPE_CHECKING, Any

from customers.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable


def consumer(
    handle: Callable[[dict[str, Any], Any], None],
) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """Make a function of a message and Lambda's context the handler of a batch.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
    """

    @functools.wraps(handle)
    def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401 (Lambda's own)
        failures = []
        for record in event["Records"]:
            try:
                handle(record, context)
            except Exception as error:  # noqa: BLE001 (whatever it is, the other messages go on, and this one again)
                _log(error, record)
                failures.append({"itemIdentifier": record["messageId"]})
        return {"batchItemFailures": failures}

    return lambda_handler


def _log(error: Exception, record: dict[str, Any]) -> None:
    # Places and types only: an error's text may quote what it is about.
    frames = traceback.extract_tb(error.__traceback__)
    logger.error(
        "message failed",
        message_id=record["messageId"],
        receive_count=record.get("attributes", {}).get("ApproximateReceiveCount"),
        error=type(error).__name__,
        cause=type(error.__cause__).__name__ if error.__cause__ else None,
        places=[f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames[-5:]],
    )
