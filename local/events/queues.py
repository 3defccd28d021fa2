"""Hands the messages of queues to functions, as Lambda's pollers do.

Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from __future__ import annotations

import json
import threading
import time
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from local.errors import FunctionError, InvocationError
from local.events.poller import Poller
from local.runtime.functions import MAX_PROCESSES
from local.template.document import REGION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

    from local.runtime.functions import FunctionPool
    from local.template.event_resources import Consumer

_WAIT: Final = 1
"""Seconds that one call waits for messages. SQS allows 20, but stopping and template changes have to wait for it."""
_MAX_RECEIVED: Final = 10
"""Most messages that one call returns."""
_CONCURRENCY: Final = 5
"""Batches at a time without a MaximumConcurrency: what Lambda starts with, and enough for a laptop."""
_MAX_BATCH_BYTES: Final = 5 * 1024 * 1024
"""Bytes of bodies in one event. Well under 6 MB, because the event holds more about each message."""
_MAX_INVOCATION: Final = 960.0
"""Seconds: Lambda's longest Timeout, and time to wait for a free process."""
_DELETED_AT_ONCE: Final = 10


class QueuePoller(Poller):
    """Consumes one queue with one function.

    Parameters
    ----------
    consumer
        Which queue and function, and how.
    pool
        The function.
    sqs
        Client of the server with the queue.
    """

    def __init__(self, consumer: Consumer, pool: FunctionPool, sqs: SQSClient) -> None:
        super().__init__(consumer.queue.name, consumer.function)
        self._consumer = consumer
        self._pool = pool
        self._sqs = sqs
        # No more than the pool runs: a batch that waits for a process uses up its visibility timeout.
        self._free = threading.Semaphore(min(consumer.max_concurrency or _CONCURRENCY, MAX_PROCESSES))

    def _look(self) -> None:
        if not self._free.acquire(timeout=_WAIT):
            return
        batch: list[MessageTypeDef] = []
        try:
            batch = self._batch()
        finally:
            if batch:
                threading.Thread(target=self._handle, args=(batch,), daemon=True).start()
            else:
                self._free.release()

    def _batch(self) -> list[MessageTypeDef]:
        batch: list[MessageTypeDef] = []
        size = 0
        deadline = 0.0
        while len(batch) < self._consumer.batch_size and size < _MAX_BATCH_BYTES and not self._closing.is_set():
            wait = _WAIT if not batch else min(_WAIT, int(deadline - time.monotonic()))
            received = self._sqs.receive_message(
                QueueUrl=self._consumer.queue.url,
                MaxNumberOfMessages=min(_MAX_RECEIVED, self._consumer.batch_size - len(batch)),
                WaitTimeSeconds=max(wait, 0),
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            if received and not batch:
                deadline = time.monotonic() + self._consumer.batching_window
            batch += received
            size += sum(len(message["Body"]) for message in received)
            if not batch or time.monotonic() >= deadline:
                break
            if not received and wait <= 0:
                # Less than a second is left, and SQS waits only for whole seconds.
                self._closing.wait(min(0.1, max(deadline - time.monotonic(), 0)))
        return batch

    def _handle(self, batch: Sequence[MessageTypeDef]) -> None:
        try:
            failed = self._invoke(batch)
            handles = [message["ReceiptHandle"] for message in batch if message["MessageId"] not in failed]
            for start in range(0, len(handles), _DELETED_AT_ONCE):
                self._sqs.delete_message_batch(
                    QueueUrl=self._consumer.queue.url,
                    Entries=[
                        {"Id": str(index), "ReceiptHandle": handle}
                        for index, handle in enumerate(handles[start : start + _DELETED_AT_ONCE])
                    ],
                )
        except (BotoCoreError, ClientError) as error:
            self._complain(error)
        finally:
            self._free.release()

    def _invoke(self, batch: Sequence[MessageTypeDef]) -> set[str]:
        """Return the ids of the messages that failed. They stay in the queue, and become visible again later."""
        ids = {message["MessageId"] for message in batch}
        event = {"Records": [_record(message, self._consumer.queue.arn) for message in batch]}
        try:
            result = self._pool.invoke(json.dumps(event, ensure_ascii=False).encode(), _MAX_INVOCATION)
        except InvocationError as error:
            if not self._closing.is_set():
                # Not the error's text, which may quote a message. It is in the function's log.
                cause = error.error_type if isinstance(error, FunctionError) else type(error).__name__
                self._say(f"{cause}: {len(batch)} messages of {self._consumer.queue.name} stay in the queue")
            return ids
        failed = failed_messages(result, ids) if self._consumer.partial_failures else set()
        if failed is None:
            self._say("its batchItemFailures are malformed, so the whole batch stays in the queue")
            return ids
        return failed


def failed_messages(result: bytes, ids: set[str]) -> set[str] | None:
    """Read a function's report on a batch.

    Parameters
    ----------
    result
        The function's result, as JSON.
    ids
        The messages of the batch.

    Returns
    -------
    set[str] | None
        The messages that failed. None if the report is malformed: Lambda then treats all as failed.
    """
    report = json.loads(result)
    if report is None:
        return set()
    if not isinstance(report, dict):
        return None
    failures = report.get("batchItemFailures")
    if failures is None:
        return set()
    if not isinstance(failures, list):
        return None
    failed: set[str] = set()
    for failure in failures:
        message_id = failure.get("itemIdentifier") if isinstance(failure, dict) else None
        if not isinstance(message_id, str) or message_id not in ids:
            return None
        failed.add(message_id)
    return failed


def _record(message: MessageTypeDef, queue_arn: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {
            name: _attribute(attribute) for name, attribute in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": REGION,
    }


def _attribute(attribute: Mapping[str, Any]) -> dict[str, Any]:
    converted: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": attribute["DataType"]}
    if "StringValue" in attribute:
        converted["stringValue"] = attribute["StringValue"]
    if "BinaryValue" in attribute:
        converted["binaryValue"] = b64encode(attribute["BinaryValue"]).decode("ascii")
    return converted
