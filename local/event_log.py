"""Writes what is put on the event buses to a file, for whoever wants to see it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_sqs import SQSClient

QUEUE: Final = "local-event-log"
"""Gets every event of every bus; no template's queue has such a name, which is a logical id there."""
_WAIT: Final = 1
"""Seconds that one call waits: the end waits for it."""


class EventLog:
    """Appends each event, one JSON object a line, until it is closed.

    Parameters
    ----------
    sqs
        Where the queue is.
    url
        The queue's URL.
    file
        The file.
    """

    def __init__(self, sqs: SQSClient, url: str, file: Path) -> None:
        self._sqs = sqs
        self._url = url
        self._file = file
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="event log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write no more."""
        self._closing.set()

    def join(self, timeout: float) -> None:
        """Wait until nothing more is written, at most so many seconds."""
        self._thread.join(timeout)

    def _write(self) -> None:
        while not self._closing.is_set():
            try:
                messages = self._sqs.receive_message(
                    QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=_WAIT
                ).get("Messages", [])
                with self._file.open("a", encoding="utf-8") as log:
                    log.writelines(f"{message['Body']}\n" for message in messages)
                for message in messages:
                    self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
            except (BotoCoreError, ClientError):
                # The server ends, or is started anew: what it held is lost with it.
                self._closing.wait(_WAIT)
