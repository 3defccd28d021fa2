"""Serves S3, SQS and EventBridge from memory: moto's server, corrected where it differs from AWS.

Started as `python -I aws_server.py HOST PORT EVENTS`: each event that is put on a bus becomes a line in the file
EVENTS. It must not import from `local`.
"""

from __future__ import annotations

import ctypes
import json
import logging
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from moto.events.models import EventsBackend
from moto.moto_server import werkzeug_app
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3 import notifications
from moto.s3.models import S3Backend
from moto.s3.responses import S3Response
from moto.sqs.models import Queue, SQSBackend
from werkzeug.serving import run_simple

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_AGAIN: Final = 0.2
"""Seconds after which a waiting receiver looks for messages that have become visible with time."""
_PUT_AT: Final = "x-amz-meta-put-at"
_ONE_AT_A_TIME: Final = (
    (Queue, "add_message"),
    (Queue, "delete_message"),
    (SQSBackend, "change_message_visibility"),
    (S3Response, "put_object"),
    (S3Backend, "complete_multipart_upload"),
)
"""What changes queues, and what puts objects."""
_M_ARENA_MAX: Final = -8
"""From glibc's malloc.h."""


def make_queues_safe() -> None:
    """Let only one thread at a time change queues, or put objects, which sends messages.

    To delete a message, moto rebuilds the queue's list, and loses what another thread adds meanwhile. And it sends an
    object's event before the object has its metadata, and those of two objects with one key in any order. A receiver
    waits without the lock.
    """
    changed = threading.Condition(threading.RLock())
    receive = SQSBackend.receive_message

    def locked(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*arguments: Any, **named: Any) -> object:  # noqa: ANN401 - passed on as they are
            with changed:
                result = method(*arguments, **named)
                changed.notify_all()
                return result

        return call

    @wraps(receive)
    def receive_message(  # noqa: PLR0913, PLR0917 - moto's own
        backend: SQSBackend,
        queue_name: str,
        count: int,
        wait_seconds_timeout: int,
        visibility_timeout: int,
        message_attribute_names: list[str] | None = None,
    ) -> object:
        deadline = time.monotonic() + wait_seconds_timeout
        with changed:
            while True:
                found = receive(backend, queue_name, count, 0, visibility_timeout, message_attribute_names)
                remaining = deadline - time.monotonic()
                if found or remaining <= 0:
                    return found
                changed.wait(min(remaining, _LOOK_AGAIN))

    for owner, name in _ONE_AT_A_TIME:
        setattr(owner, name, locked(getattr(owner, name)))
    setattr(SQSBackend, receive.__name__, receive_message)


def send_events_as_s3_does() -> None:
    """Send one event for an upload in parts, not a second one for a PUT, and add the sequencer to every event.

    If an object's metadata says when its file was put there, its event has that time.
    """
    send, describe = notifications.send_event, notifications._get_s3_event  # noqa: SLF001 - nothing public is as small

    @wraps(send)
    def send_event(account_id: str, event_name: notifications.S3NotificationEvent, bucket: Any, key: Any) -> None:  # noqa: ANN401 - moto's own
        put = notifications.S3NotificationEvent.OBJECT_CREATED_PUT_EVENT
        if event_name != put or key.multipart is None:
            send(account_id, event_name, bucket, key)

    @wraps(describe)
    def describe_event(event_name: Any, bucket: Any, key: Any, id_: Any) -> dict[str, list[dict[str, Any]]]:  # noqa: ANN401 - moto's own
        event = describe(event_name, bucket, key, id_)
        put_at = int(key.metadata.get(_PUT_AT, time.time_ns()))
        for record in event["Records"]:
            record["eventTime"] = f"{datetime.fromtimestamp(put_at / 1e9, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
            record["s3"]["object"]["sequencer"] = f"{time.time_ns():018X}"
        return event

    setattr(notifications, send.__name__, send_event)
    setattr(notifications, describe.__name__, describe_event)


def _write_events_down(path: str) -> None:
    put = EventsBackend.put_events

    @wraps(put)
    def put_events(backend: EventsBackend, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        results = put(backend, events)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        lines = [
            {
                "id": result["EventId"],
                "time": now,
                "source": event["Source"],
                "detail-type": event["DetailType"],
                "detail": json.loads(event["Detail"]),
            }
            for event, result in zip(events, results, strict=True)
            if "EventId" in result
        ]
        with open(path, "a", encoding="utf-8") as log:  # noqa: PTH123 - one write, so that no two calls mix their lines
            log.write("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))
        return results

    setattr(EventsBackend, put.__name__, put_events)


def main() -> None:
    """Serve until killed."""
    host, port, events = sys.argv[1:]
    # Each connection has a thread, which would keep the memory of the messages it has read. Only Linux needs this.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    # A line for each poll of each queue would be of no use.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # Otherwise any web page in the user's browser could read the data here.
    werkzeug_app.DISABLE_GLOBAL_CORS = True  # type: ignore[attr-defined] # imported there, and looked up at each start
    make_queues_safe()
    send_events_as_s3_does()
    _write_events_down(events)
    application = DomainDispatcherApplication(create_backend_app)
    run_simple(host, int(port), application, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main()
