"""Runs one function in this process: what Lambda's runtime client does.

Started as `python -I -S bootstrap.py CONFIG`: only the standard library is on Python's path until CONFIG's paths are
added, so a function sees what it would see on Lambda. It must not import from `local`.

Talks to its parent over a socket, in frames: four bytes of length, one byte of kind, JSON. It sends `I` when the
handler is imported, then for each `{"request_id", "deadline_ms", "event"}` either `R` with the result or
`E` with the error.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from typing import Any, Final

_HEADER: Final = struct.Struct("!Ic")


class Context:
    """What Lambda passes as a handler's second argument."""

    client_context = None
    identity = None

    def __init__(self, request_id: str, deadline_ms: float) -> None:
        self.aws_request_id = request_id
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.invoked_function_arn: str = _CONFIG["arn"]
        self._deadline_ms = deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the function is killed."""
        return max(int(self._deadline_ms - time.time() * 1000), 0)


def _die_with_parent(lifeline: int) -> None:
    # The parent holds the other end and never writes, so this returns when the parent is gone, however it ended.
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


def _limit_memory(limit_mb: int) -> None:
    # Only Linux counts all memory that a process can write to under this limit. Elsewhere it would mean nothing.
    if sys.platform == "linux":
        import resource  # noqa: PLC0415 - not on every platform

        limit = limit_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _read(stream: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = stream.recv(size - len(data))
        if not chunk:
            # The parent has no more events.
            sys.exit(0)
        data += chunk
    return bytes(data)


def _send(stream: socket.socket, kind: bytes, value: object) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()
    stream.sendall(_HEADER.pack(len(body), kind) + body)


def _send_error(stream: socket.socket, error: BaseException) -> None:
    traceback.print_exception(error)
    sys.stderr.flush()
    _send(stream, b"E", {"errorType": type(error).__name__, "errorMessage": str(error)})


def main() -> None:
    """Import the handler, then handle events one at a time until the parent closes the socket."""
    threading.Thread(target=_die_with_parent, args=(_CONFIG["lifeline"],), daemon=True).start()
    _limit_memory(_CONFIG["memory_mb"])
    sys.path[:0] = _CONFIG["paths"]
    # As on Lambda, anything that a library logs at this level is logged, unless the function says otherwise.
    logging.basicConfig(level=os.environ["AWS_LAMBDA_LOG_LEVEL"], stream=sys.stdout)
    stream = socket.socket(fileno=_CONFIG["socket"])
    try:
        module, _, name = _CONFIG["handler"].rpartition(".")
        handler = getattr(importlib.import_module(module.replace("/", ".")), name)
    except BaseException as error:  # noqa: BLE001 - whatever stops the import is the function's init error
        _send_error(stream, error)
        return
    _send(stream, b"I", None)
    while True:
        size, _ = _HEADER.unpack(_read(stream, _HEADER.size))
        invocation = json.loads(_read(stream, size))
        try:
            context = Context(invocation["request_id"], invocation["deadline_ms"])
            result = handler(invocation["event"], context)
            sys.stdout.flush()
            _send(stream, b"R", result)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its error; the process goes on
            _send_error(stream, error)


if __name__ == "__main__":
    _CONFIG: Final[dict[str, Any]] = json.loads(sys.argv[1])
    # The function's own code must not find this file's arguments.
    del sys.argv[1:]
    main()
