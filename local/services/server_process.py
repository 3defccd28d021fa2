"""A server on the loopback in its own process, which ends with this one and is started again when it dies."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from local.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST: Final = "127.0.0.1"
_START_TIMEOUT: Final = 60.0
_STOP_TIMEOUT: Final = 0.5
"""Seconds for an orderly end. A server that is killed after that loses nothing that it has acknowledged."""
_KILL_TIMEOUT: Final = 2.0
"""Seconds for a killed server to be gone. On a busy machine, giving back its memory takes a while."""
_RETRY_PAUSE: Final = 0.02
_MAX_STARTS: Final = 3
"""Attempts to start a server before it is given up."""
_TIED_PROCESS: Final = Path(__file__).with_name("tied_process.py")


class ServerProcess:
    """Keeps a server running until it is closed.

    Parameters
    ----------
    what
        Its name in errors.
    command
        What to run, listening on the port.
    port
        From `free_port`.
    log
        File for its output.
    """

    def __init__(self, what: str, command: Sequence[str], port: int, log: Path) -> None:
        self.starts = 0
        """How often it was started."""
        self._what = what
        self._port = port
        self._command = [sys.executable, "-I", "-S", str(_TIED_PROCESS), *command]
        self._log = log
        self._closing = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        # Linux ties a child to the thread that started it, so this thread lives as long as the server.
        self._keeper = threading.Thread(target=self._keep_running, name=what, daemon=True)
        self._keeper.start()

    @property
    def endpoint(self) -> str:
        """The server's URL, the same for its whole life."""
        return f"http://{HOST}:{self._port}"

    def wait_until_ready(self) -> None:
        """Wait until it listens.

        Raises
        ------
        LocalError
            If it does not start.
        """
        deadline = time.monotonic() + _START_TIMEOUT
        # Counted from here on: it may have died, and come up again, before.
        last = self.starts + _MAX_STARTS
        while time.monotonic() < deadline and self.starts <= last:
            try:
                socket.create_connection((HOST, self._port), timeout=1).close()
            except OSError:
                time.sleep(_RETRY_PAUSE)
            else:
                return
        raise LocalError(f"the {self._what} does not start: {_last_line(self._log)} (see {self._log})")

    def close(self) -> None:
        """Stop the server."""
        self._closing.set()
        if self._process is not None:
            self._process.terminate()
        self._keeper.join(_STOP_TIMEOUT)
        if self._keeper.is_alive() and self._process is not None:
            self._process.kill()
            self._keeper.join(_KILL_TIMEOUT)

    def _keep_running(self) -> None:
        while not self._closing.is_set():
            with _opened(self._log) as output:
                self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    # Ctrl-C must reach only the laptop cloud, which ends its servers last.
                    start_new_session=True,
                )
            self.starts += 1
            with self._process:
                # `close` may have missed a process that was only just starting.
                if self._closing.is_set():
                    self._process.terminate()
                self._process.wait()
            # A pause, so that a server that cannot start does not take the whole processor.
            self._closing.wait(0.1)


def _opened(log: Path) -> BinaryIO:
    try:
        return log.open("ab")
    except OSError:
        # The folder was removed. `Cloud.look_after_data` says so. Until then the server is needed.
        return Path(os.devnull).open("ab")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "its log is empty")


def free_port() -> int:
    """Return a free port of the loopback."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
