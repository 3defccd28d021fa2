"""Runs a function as Lambda does: under Lambda's own runtime client, with only its package and its layer.

The other side of the client, Lambda's runtime API, is a loop over one socket here. Only the function's process is
measured, by its own CPU clock.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNTIME: Final = Path(sys.prefix) / "lambda-runtime"
"""Lambda's own packages (/var/runtime): `make bench` installs them there."""
_ARN: Final = "arn:aws:lambda:us-east-1:123456789012:function:benchmark"


@dataclass(frozen=True, slots=True)
class Package:
    """A built function."""

    name: str
    handler: str
    folder: Path
    layer: Path | None
    environment: Mapping[str, str]

    @property
    def megabytes(self) -> float:
        """Size on disk, including the layer."""
        files = (file for folder in (self.folder, self.layer) if folder for file in folder.rglob("*"))
        return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


class Runtime:
    """A process of a function. It ends with the block.

    Parameters
    ----------
    package
        The function.
    wrapper
        A command to put before Python's, such as a profiler's.
    """

    def __init__(self, package: Package, wrapper: tuple[str, ...] = ()) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(120)
        host, port = self._listener.getsockname()
        paths = [str(folder) for folder in (package.folder, package.layer, RUNTIME) if folder]
        self._started = time.perf_counter()
        self._process = subprocess.Popen(  # noqa: S603 (the functions measured)
            [*wrapper, sys.executable, "-S", "-m", "awslambdaric", package.handler],
            # Lambda's file system is read-only: bytecode that was not shipped is not saved.
            env={
                **package.environment,
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
                "AWS_LAMBDA_FUNCTION_NAME": package.name,
                "AWS_LAMBDA_RUNTIME_API": f"{host}:{port}",
                "AWS_REGION": "us-east-1",
                "AWS_SECRET_ACCESS_KEY": "local",
                "LAMBDA_TASK_ROOT": str(package.folder),
                "PATH": os.environ["PATH"],
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONHASHSEED": "0",
                "PYTHONPATH": os.pathsep.join(paths),
            },
            cwd=package.folder,
            stdout=subprocess.DEVNULL,
        )
        self._connection: socket.socket | None = None
        self._buffer = b""

    def __enter__(self) -> Self:
        """Return the running process."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process, and let a profiler write its results."""
        self._process.terminate()
        self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._listener.close()

    @property
    def cpu(self) -> float:
        """CPU time of the process so far, in milliseconds."""
        # The clock of another process, with the number that clock_getcpuclockid(3) would return.
        return time.clock_gettime((~self._process.pid << 3) | 2) * 1000

    @property
    def wall(self) -> float:
        """Time since the start of the process, in milliseconds."""
        return (time.perf_counter() - self._started) * 1000

    @property
    def peak_megabytes(self) -> float:
        """Peak memory of the process so far."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def invoke(self, event: bytes) -> Any:  # noqa: ANN401 (JSON)
        """Let the function handle an event, and return its answer.

        Raises
        ------
        RuntimeError
            If it failed.
        """
        head, _ = self._request()
        if not head.startswith("GET /2018-06-01/runtime/invocation/next "):
            raise RuntimeError(f"the function did not start: {head}")
        deadline = int(time.time() * 1000) + 30_000
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            "Lambda-Runtime-Deadline-Ms": deadline,
            "Lambda-Runtime-Invoked-Function-Arn": _ARN,
            "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
        }
        self._answer("\r\n".join(["200 OK", *(f"{name}: {value}" for name, value in headers.items())]), event)
        head, body = self._request()
        self._answer("202 Accepted", b"")
        if not head.split(" ")[1].endswith("/response"):
            raise RuntimeError(f"the function failed: {body.decode()}")
        return json.loads(body)

    def _request(self) -> tuple[str, bytes]:
        """Read the client's next request. The client may open a new connection for it."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if fields.get("expect"):
            self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        size = int(fields.get("content-length", 0))
        while len(self._buffer) < size:
            self._more()
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return lines[0], body

    def _more(self) -> None:
        data = b""
        if self._connection is not None:
            data = self._connection.recv(1 << 20)
        if not data:
            self._connection, _ = self._listener.accept()
            self._connection.settimeout(120)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer += data

    def _answer(self, head: str, body: bytes) -> None:
        self._send(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    def _send(self, data: bytes) -> None:
        assert self._connection is not None  # noqa: S101 (a request came before)
        self._connection.sendall(data)
