"""`python -m local`: serves the template in the current folder."""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import shlex
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.cloud import Cloud
from local.errors import LocalError
from local.reference import Reference, write_reference
from local.server import HOST, Server, bind

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_PORT: Final = 65_535
_SWITCH_INTERVAL: Final = 0.0005
"""Seconds that a request waits for each thread that computes: the pollers share this process with the gateway."""
_M_ARENA_MAX: Final = -8
"""From malloc.h of glibc."""
_PACKAGES: Final = Path("node_modules")
# A call that succeeds on an empty table and leaves nothing behind.
_EXAMPLE: Final = (
    """curl -s -X POST -H "Authorization: Bearer $(cat {token})" -H 'Content-Type: application/json' """
    """-d '{{"first_name":"John","last_name":"Doe","email":"john.doe@example.com","group_id":1}}' """
    """'{url}/api/customers/?size=one&dry_run=true'"""
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM.

    Returns
    -------
    int
        The exit code: 0 after a signal, 1 if it cannot start.
    """
    parser = argparse.ArgumentParser(prog="local", description="Serves template.yaml on this machine.")
    parser.add_argument("--template", type=Path, default=Path("template.yaml"))
    parser.add_argument("--parameter", action="append", default=[], metavar="KEY=VALUE", help="repeatable")
    parser.add_argument("--in-memory", action="store_true", help="keep no tables on disk")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    ready = threading.Event()

    def end(*_: object) -> None:
        # Whatever start-up waits for (pip, the engine) must not hold up the end; a second signal must not disturb it.
        if not stop.is_set():
            stop.set()
            if not ready.is_set():
                sys.exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    _forget_accounts()
    _keep_memory_together()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    logging.basicConfig(format="%(message)s")
    # Waiting requests are no news: they wait for a function's process.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    try:
        _serve(options.template, _pairs(options.parameter), ready, stop, in_memory=options.in_memory)
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201 - to the terminal
        return 1
    return 0


def _serve(
    template: Path, parameters: dict[str, str], ready: threading.Event, stop: threading.Event, *, in_memory: bool
) -> None:
    data = Path(os.environ.get("DATA_DIR") or ".local")
    with bind(_port()) as listening:
        cloud = Cloud(template, parameters, data, _PACKAGES, in_memory=in_memory)
        ready.set()
        docs = template.parent / "docs"
        # Only the project's own template has a reference.
        has_reference = (docs / "openapi.yaml").exists()
        server = Server(cloud, _with_reference(cloud, docs) if has_reference else cloud, listening)
        try:
            url = f"http://{HOST}:{listening.getsockname()[1]}"
            print(f"address  {url}")  # noqa: T201 - to the terminal
            if cloud.token is not None:
                print(f"token    {cloud.token}")  # noqa: T201
                print(f"try      {_EXAMPLE.format(token=shlex.quote(str(cloud.token)), url=url)}")  # noqa: T201
            if has_reference:
                print(f"docs     {url}/docs")  # noqa: T201
            print(f"ready    {url}", flush=True)  # noqa: T201
            stop.wait()
        finally:
            server.close()
            cloud.close()


def _with_reference(cloud: Cloud, docs: Path) -> Reference:
    folder = cloud.data / "reference"
    write_reference(docs, folder, _PACKAGES)
    return Reference(cloud, folder)


def _port() -> int:
    text = os.environ.get("PORT") or "3000"
    if not text.isdecimal() or int(text) > _MAX_PORT:
        raise LocalError(f"PORT is {text}, which is no port")
    return int(text)


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if wrong := [key for key, separator, _ in pairs if not separator]:
        raise LocalError(f"--parameter {wrong[0]} is not KEY=VALUE")
    return {key: value for key, _, value in pairs}


def _forget_accounts() -> None:
    """Keep a person's own AWS settings out: nothing here may reach, or depend on, a real account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def _keep_memory_together() -> None:
    """Have all threads allocate in one place: many would each keep what the large bodies that they read have left."""
    # Other systems than Linux have no such setting, and no such habit.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


if __name__ == "__main__":
    sys.exit(main())
