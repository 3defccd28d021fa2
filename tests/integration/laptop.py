"""The laptop cloud, started as `make run` starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

APP = Path(__file__).with_name("local_app")
SMALL = ("--quiet", "--template", str(APP / "template.yaml"))
PATIENCE = 120
NEW: dict[str, Any] = {
    "first_name": "Johanna",
    "last_name": "Doerr",
    "email": "johanna.doerr@example.com",
    "group_id": 1,
}


class Run(NamedTuple):
    """A running service."""

    process: subprocess.Popen[bytes]
    url: str
    out: Path
    errors: Path

    def printed(self) -> dict[str, str]:
        return dict(line.split(maxsplit=1) for line in self.out.read_text().splitlines() if " " in line)

    def client(self) -> httpx.Client:
        token = Path(self.printed()["token"]).read_text().strip()
        return httpx.Client(base_url=self.url, timeout=40, headers={"Authorization": f"Bearer {token}"})


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def running(folder: Path, data: Path, *arguments: str, umask: int = 0o022) -> Iterator[Run]:
    """Run the service, its output in files of a folder, until the block ends."""
    out, errors = folder / "out", folder / "errors"
    with out.open("wb") as output, errors.open("wb") as error_output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", *arguments],
            cwd=ROOT,
            env={**os.environ, "DATA_DIR": str(data), "PORT": "0"},
            stdout=output,
            stderr=error_output,
            umask=umask,
        )
    try:
        until(lambda: "ready" in out.read_text() or process.poll() is not None)
        assert process.poll() is None, errors.read_text()
        yield Run(process, re.findall(r"^ready +(\S+)$", out.read_text(), re.MULTILINE)[0], out, errors)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()


def refused(data: Path, *arguments: str) -> str:
    """Start a service that cannot start. Return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "local", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(data), "PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "DATA_DIR=" in done.stderr
    return done.stderr
