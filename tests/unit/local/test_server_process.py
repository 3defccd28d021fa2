"""A server that the laptop cloud keeps running."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from local.errors import LocalError
from local.services.server_process import HOST, ServerProcess, free_port
from tests.integration.laptop import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LISTEN = "import os, socket, sys; open(sys.argv[2], 'w').write(str(os.getpid())); "
LISTEN += "s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); [s.accept() for _ in iter(int, 1)]"


def has_started(server: ServerProcess, times: int) -> bool:
    return server.starts == times


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def server(tmp_path: Path, log: Path) -> Iterator[ServerProcess]:
    port = free_port()
    server = ServerProcess("test server", (sys.executable, "-c", LISTEN, str(port), str(tmp_path / "pid")), port, log)
    yield server
    server.close()


def test_a_server_that_has_died_often_and_came_up_again_is_ready(server: ServerProcess, tmp_path: Path) -> None:
    for times in range(1, 6):
        until(partial(has_started, server, times))
        server.wait_until_ready()
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    until(partial(has_started, server, 6))
    server.wait_until_ready()
    assert server.endpoint.startswith(f"http://{HOST}:")


def test_a_server_that_never_comes_up_is_given_up_with_its_last_words(log: Path) -> None:
    server = ServerProcess("test server", (sys.executable, "-c", "raise SystemExit('no luck')"), free_port(), log)
    try:
        with pytest.raises(LocalError, match=r"the test server does not start: no luck \(see .*log\)"):
            server.wait_until_ready()
        assert server.starts <= 10
    finally:
        server.close()
