"""What queues, streams and the import folder have in common: a thread that looks for work until it is stopped."""

from __future__ import annotations

import sys
import threading
from abc import ABC, abstractmethod
from typing import Final

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

_RETRY_PAUSE: Final = 1.0
"""Seconds to wait after a failure."""
FAILURES: Final = (OSError, Boto3Error, BotoCoreError, ClientError)
"""Temporary failures: a server that is restarting, a full disk."""


class Poller(ABC):
    """Looks for work repeatedly, until it is stopped.

    Parameters
    ----------
    source
        Where it looks, as messages name it.
    speaker
        The name that messages begin with.
    """

    def __init__(self, source: str, speaker: str) -> None:
        self._source = source
        self._speaker = speaker
        self._complaint: str | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"poll {source}", daemon=True)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more work. Work in progress continues."""
        self._closing.set()

    def join(self, timeout: float) -> None:
        """Wait until no more work is taken, for at most `timeout` seconds."""
        self._thread.join(timeout)

    @abstractmethod
    def _look(self) -> None:
        """Look once, and handle what is found. Wait a little if there is nothing."""

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._look()
            except FAILURES as error:
                self._complain(error)
            else:
                self._complaint = None

    def _complain(self, error: Exception) -> None:
        """Say once what failed, until it works again, and wait. Say nothing at the end, when the servers stop first."""
        text = f"{self._source} does not answer: {error}"
        if not self._closing.is_set() and text != self._complaint:
            self._complaint = text
            self._say(text)
        self._closing.wait(_RETRY_PAUSE)

    def _say(self, text: str) -> None:
        print(f"{self._speaker}: {text}", file=sys.stderr, flush=True)  # noqa: T201 - to the terminal
