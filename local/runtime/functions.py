"""Runs Lambda functions, each in its own processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.errors import (
    FunctionCrashedError,
    FunctionError,
    FunctionTimeoutError,
    IntegrationTimeoutError,
    LocalError,
    PayloadTooLargeError,
)
from local.runtime.environment import function_environment
from local.runtime.layer_packages import installed_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.template.stack import Function

MAX_PAYLOAD: Final = 6 * 1024 * 1024
"""Bytes of an event or a result (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""
MAX_PROCESSES: Final = 8
"""For each function. Further calls wait until one is free."""
_INIT_TIMEOUT: Final = 10.0
"""Seconds that Lambda gives a function to import its code."""
_WATCH_INTERVAL: Final = 0.5
"""Seconds between two checks of the source files."""
_BOOTSTRAP: Final = Path(__file__).with_name("bootstrap.py")
_HEADER: Final = struct.Struct("!Ic")


class _Process:
    """One process of a function, which handles one event at a time."""

    def __init__(self, function: Function, environment: Mapping[str, str], paths: list[str], log: Path) -> None:
        self._function = function
        self._log = log
        self._closing = threading.Lock()
        self._imported = False
        self._socket, child_socket = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        config = {
            "arn": function.arn,
            "handler": function.handler,
            "lifeline": lifeline,
            "memory_mb": function.memory_mb,
            "paths": paths,
            "socket": child_socket.fileno(),
        }
        try:
            with child_socket, log.open("ab") as output:
                self._process = subprocess.Popen(  # noqa: S603 - our own code
                    [sys.executable, "-I", "-S", str(_BOOTSTRAP), json.dumps(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=dict(environment),
                    cwd=function.code,
                    pass_fds=(child_socket.fileno(), lifeline),
                    # Ctrl-C must reach only the laptop cloud, which ends its functions in order.
                    start_new_session=True,
                )
        finally:
            os.close(lifeline)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def wait_until_imported(self) -> None:
        """Wait until the function's code is imported. Kill the process if that fails."""
        if self._imported:
            return
        try:
            self._receive(time.monotonic() + _INIT_TIMEOUT)
            self._imported = True
        except TimeoutError as error:
            raise FunctionTimeoutError(f"{self._function.name}: not imported within {_INIT_TIMEOUT:.0f} s") from error
        except OSError as error:
            raise FunctionCrashedError(self._function.name) from error
        finally:
            if not self._imported:
                self.close()

    def invoke(self, event: bytes, deadline: float) -> bytes:
        """Let the function handle an event, and kill it if it takes too long.

        Parameters
        ----------
        event
            JSON.
        deadline
            When the gateway gives up, on the monotonic clock.

        Returns
        -------
        bytes
            The result, as JSON.
        """
        now = time.monotonic()
        own_deadline = now + self._function.timeout
        last = min(deadline, own_deadline)
        deadline_ms = int((time.time() + self._function.timeout) * 1000)
        prefix = f'{{"request_id":"{uuid.uuid4()}","deadline_ms":{deadline_ms},"event":'.encode()
        try:
            self._socket.settimeout(max(last - now, 0.001))
            self._socket.sendall(_HEADER.pack(len(prefix) + len(event) + 1, b"V") + prefix + event + b"}")
            return self._receive(last)
        except TimeoutError as error:
            self.close()
            if own_deadline <= deadline:
                # If it cannot be logged, the answer must be enough.
                with contextlib.suppress(OSError), self._log.open("a", encoding="utf-8") as log:
                    log.write(f"Task timed out after {self._function.timeout:.2f} seconds\n")
                raise FunctionTimeoutError(self._function.name) from error
            raise IntegrationTimeoutError(self._function.name) from error
        except (FunctionCrashedError, OSError) as error:
            self.close()
            raise FunctionCrashedError(self._function.name) from error

    def close(self) -> None:
        """Kill the process and everything that it started, and wait for its end."""
        # When the laptop cloud ends, both it and the thread whose invocation that breaks off come here.
        with self._closing:
            if self._lifeline < 0:
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._socket.close()
            os.close(self._lifeline)
            self._lifeline = -1

    def _receive(self, deadline: float) -> bytes:
        data = bytearray()
        needed = _HEADER.size
        kind = b""
        while len(data) < needed:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            chunk = self._socket.recv(1 << 16)
            if not chunk:
                raise FunctionCrashedError(self._function.name)
            data += chunk
            if not kind and len(data) >= _HEADER.size:
                size, kind = _HEADER.unpack_from(data)
                needed += size
        body = bytes(data[_HEADER.size :])
        if kind == b"E":
            error = json.loads(body)
            raise FunctionError(error["errorType"], error["errorMessage"])
        return body


class FunctionPool:
    """The processes of one function: started when needed, replaced when its code changes.

    Parameters
    ----------
    function
        What to run.
    endpoints
        Values of the endpoint variables. Each is passed on if the template declares it for this function: as on AWS, a
        function has no other environment.
    logs
        Folder for its output.
    """

    def __init__(self, function: Function, endpoints: Mapping[str, str], logs: Path) -> None:
        self._function = function
        self._log = logs / f"{function.name}.log"
        self.environment = function_environment(function, endpoints)
        self._changed = threading.Condition()
        self._idle: deque[_Process] = deque()
        self._processes: set[_Process] = set()
        self._starting = 0
        self._closed = False
        self._version = 0
        self._next_look = 0.0
        self._sources: frozenset[tuple[str, int, int]] = frozenset()

    @property
    def paths(self) -> list[str]:
        """The folders on the function's Python path, besides the standard library.

        Raises
        ------
        LocalError
            If what its layers require cannot be installed.
        """
        folders = [self._function.code]
        for layer in self._function.layers:
            folders.append(layer)
            packages = installed_packages(layer)
            if packages is not None:
                folders.append(packages)
        return [str(folder) for folder in folders]

    def invoke(self, event: bytes, timeout: float, starting: Callable[[], None] | None = None) -> bytes:
        """Invoke the function.

        Parameters
        ----------
        event
            JSON.
        timeout
            Seconds that the caller waits, whatever the function's own Timeout.
        starting
            Called if a process has to be started for this event: a cold start.

        Returns
        -------
        bytes
            The result, as JSON.

        Raises
        ------
        FunctionError
            If it raised an exception.
        FunctionCrashedError
            If its process ended or could not be started.
        FunctionTimeoutError
            If it took longer than its Timeout.
        IntegrationTimeoutError
            If it took longer than the caller waits.
        PayloadTooLargeError
            If the event or the result is over 6 MB.
        """
        self._check_size(event, "an event")
        deadline = time.monotonic() + timeout
        process, version = self._acquire(deadline, starting)
        try:
            process.wait_until_imported()
            result = process.invoke(event, deadline)
        finally:
            self._release(process, version)
        self._check_size(result, "a result")
        return result

    def _check_size(self, payload: bytes, what: str) -> None:
        if len(payload) > MAX_PAYLOAD:
            raise PayloadTooLargeError(f"{self._function.name}: {what} of {len(payload)} bytes")

    def close(self) -> None:
        """Kill all processes, busy ones too."""
        with self._changed:
            self._closed = True
            self._idle.clear()
            processes = list(self._processes)
            self._changed.notify_all()
        for process in processes:
            process.close()

    def _acquire(self, deadline: float, starting: Callable[[], None] | None) -> tuple[_Process, int]:
        with self._changed:
            self._look_for_changes()
            while True:
                if self._closed:
                    raise FunctionCrashedError(self._function.name)
                while self._idle:
                    # The one used last: its memory is the most likely to be in the processor's cache.
                    process = self._idle.pop()
                    if process.alive:
                        return process, self._version
                    self._discard(process)
                if len(self._processes) + self._starting < MAX_PROCESSES:
                    self._starting += 1
                    version = self._version
                    break
                if not self._changed.wait(deadline - time.monotonic()):
                    raise IntegrationTimeoutError(self._function.name)
        if starting is not None:
            starting()
        try:
            # Without the lock: pip may have to install them.
            paths = self.paths
            with self._changed:
                if self._closed:
                    raise FunctionCrashedError(self._function.name)
                # `close` has to find it from its first moment on.
                process = _Process(self._function, self.environment, paths, self._log)
                self._processes.add(process)
        except (LocalError, OSError) as error:
            raise FunctionCrashedError(f"{self._function.name}: {error}") from error
        finally:
            with self._changed:
                self._starting -= 1
                self._changed.notify()
        return process, version

    def _release(self, process: _Process, version: int) -> None:
        with self._changed:
            if self._closed or version != self._version or not process.alive:
                self._discard(process)
            else:
                self._idle.append(process)
            self._changed.notify()

    def _discard(self, process: _Process) -> None:
        self._processes.discard(process)
        process.close()

    def _look_for_changes(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _WATCH_INTERVAL
        sources = frozenset(
            source for folder in (self._function.code, *self._function.layers) for source in _sources(folder)
        )
        if sources != self._sources:
            self._sources = sources
            self._version += 1
            while self._idle:
                self._discard(self._idle.pop())


def _sources(folder: Path) -> list[tuple[str, int, int]]:
    found: list[tuple[str, int, int]] = []
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name != "__pycache__":
                    found += _sources(Path(entry.path))
            else:
                # An editor may remove a file between the listing and this line.
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    found.append((entry.path, status.st_mtime_ns, status.st_size))
    return found
