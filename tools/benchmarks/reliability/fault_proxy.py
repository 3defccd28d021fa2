"""A proxy between the functions and the services they call, which can spoil calls as networks do."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import socket
import threading
from collections import Counter
from contextlib import closing
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

_HOP_BY_HOP: Final = frozenset({"connection", "date", "keep-alive", "server", "transfer-encoding"})
_SLOW: Final = 0.5
"""Seconds, less than the clients' time limits."""
_HANG: Final = 60.0
"""Seconds, more than all of them."""


class Fault(StrEnum):
    """What happens to a call."""

    THROTTLED = "throttled"
    """Refused for now, and not executed."""
    ERROR = "error 500"
    """Answered with an internal error, and not executed."""
    CUT = "cut off"
    """The connection breaks before the service gets the call."""
    HANGING = "no answer"
    """Nothing happens until the client gives up."""
    LOST = "answer cut off"
    """Executed, but the connection breaks before the answer."""
    LATE = "answer too late"
    """Executed, but no answer comes before the client gives up."""
    SLOW = "slow"
    """Executed, half a second late."""


class Call(NamedTuple):
    """A call of an AWS service."""

    operation: str
    """Such as `PutItem`. For S3, the method."""
    body: bytes


class Answer(NamedTuple):
    """An answer that the proxy itself sends."""

    status: int
    body: bytes


class FaultProxy:
    """Passes calls on to one service, except those that it spoils.

    Parameters
    ----------
    upstream
        Returns the service's address. Asked for each call.
    """

    def __init__(self, upstream: Callable[[], str]) -> None:
        self.upstream = upstream
        self.spoilt: Counter[str] = Counter()
        """Spoilt calls by operation."""
        self.passed: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._decide: Callable[[Call], Fault | None] = _never
        self._random = random.Random(1)
        self.answer: Callable[[Call, Callable[[bytes], Answer]], Answer] | None = None
        """Answers in place of the service, which it may call."""
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spoil(self, fault: Fault, *, one_in: int = 1) -> None:
        """Spoil every call from now on, or one in `one_in`: the first, and others chosen at random."""
        calls = itertools.count()

        def decide(_: Call) -> Fault | None:
            with self._lock:
                return fault if next(calls) == 0 or self._random.randrange(one_in) == 0 else None

        self._decide = decide

    def heal(self) -> None:
        """Pass all calls on again."""
        self._decide = _never

    def fault_for(self, call: Call) -> Fault | None:
        """Decide what happens to a call."""
        fault = self._decide(call)
        with self._lock:
            (self.passed if fault is None else self.spoilt)[call.operation] += 1
        return fault


def _never(_: Call) -> None:
    return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Say nothing: broken connections are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultProxy
    protocol_version = "HTTP/1.1"
    # A small answer must not wait for the client's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        operation = (self.headers.get("X-Amz-Target") or self.command).rpartition(".")[2]
        call = Call(operation, body)
        fault = self.proxy.fault_for(call)
        match fault:
            case Fault.THROTTLED:
                self._answer(self._refusal(throttled=True))
            case Fault.ERROR:
                self._answer(self._refusal(throttled=False))
            case Fault.CUT:
                self._break_off()
            case Fault.HANGING:
                self._hang()
            case Fault.LOST:
                self._pass_on(body)
                self._break_off()
            case Fault.LATE:
                self._pass_on(body)
                self._hang()
            case _:
                if fault is Fault.SLOW:
                    threading.Event().wait(_SLOW)
                if self.proxy.answer is not None:
                    self._answer(self.proxy.answer(call, self._ask))
                else:
                    self._relay(*self._pass_on(body))

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815 (the base class's names)

    def _ask(self, body: bytes) -> Answer:
        response, content = self._pass_on(body)
        return Answer(response.status, content)

    def _pass_on(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        headers["Content-Length"] = str(len(body))
        # A new connection for each call: one that is kept open could break by itself.
        with closing(http.client.HTTPConnection(urlsplit(self.proxy.upstream()).netloc, timeout=_HANG)) as upstream:
            upstream.request(self.command, self.path, body, headers)
            response = upstream.getresponse()
            return response, response.read()

    def _relay(self, response: http.client.HTTPResponse, content: bytes) -> None:
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        length = response.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, answer: Answer) -> None:
        kind = "application/x-amz-json-1.0" if self.headers.get("X-Amz-Target") else "application/xml"
        self.send_response(answer.status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _refusal(self, *, throttled: bool) -> Answer:
        target = self.headers.get("X-Amz-Target") or ""
        if not target:
            code = "SlowDown" if throttled else "InternalError"
            return Answer(503 if throttled else 500, f"<Error><Code>{code}</Code></Error>".encode())
        throttle = {
            "DynamoDB_20120810": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
            "AmazonSQS": "com.amazonaws.sqs#RequestThrottled",
        }.get(target.partition(".")[0], "ThrottlingException")
        return _problem(400, throttle) if throttled else _problem(500, "InternalServerError")

    def _break_off(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _hang(self) -> None:
        self.connection.settimeout(_HANG)
        # Returns when the client has gone.
        self.connection.recv(1)
        self._break_off()

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 (the base class's)
        """Say nothing."""


def _problem(status: int, code: str) -> Answer:
    return Answer(status, json.dumps({"__type": code, "message": "as the test wants it"}).encode())
